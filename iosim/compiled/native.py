"""What only compiled code can do; the compiler has its own code for each of these functions."""

from typing import Any, TypeVar

from iosim.model.errors import FaultError

T = TypeVar("T")

_ELSEWHERE = "iosim.compiled.native: called by Python, and not by compiled code"


def takes(function: T) -> T:
    """Decorator: the method takes steps of the class of its parameter, for the one class that `take_steps` is given."""
    return function


def is_process(callback: Any) -> bool:
    """Tell whether *callback* is a process (a generator) rather than a function."""
    raise FaultError(_ELSEWHERE)


def resume(process: Any) -> Any:
    """Go on with a process; return what it yields, None at its end."""
    raise FaultError(_ELSEWHERE)


def take_steps(steps: Any, taker: Any) -> None:
    """Have *taker* take the steps that *steps* and what they call yield, if a method of its class `takes` them.

    They go on at once with what that method returns; if it is the taker itself, they wait.
    """
    raise FaultError(_ELSEWHERE)


def collect_garbage() -> None:
    """Between two events: free what nobody has any more, if there is enough of it."""
    raise FaultError(_ELSEWHERE)


def put(block: Any, at: int, value: int) -> None:
    """Store an integer in an array of raw integers."""
    raise FaultError(_ELSEWHERE)


def get(block: Any, at: int) -> int:
    """Return an integer of an array of raw integers."""
    raise FaultError(_ELSEWHERE)


def put_all(block: Any, at: int, values: list[int]) -> None:
    """Store a list of integers in an array of raw integers, from *at* on."""
    raise FaultError(_ELSEWHERE)


def ask(what: int, number: int) -> int:
    """Have Python do *what* (`iosim.compiled.execution`), which moves no object; return its answer."""
    raise FaultError(_ELSEWHERE)


def is_below(identity: int, what: int, limit: int) -> bool:
    """Tell whether *identity* ^ *what* < *limit*, with unsigned numbers of 64 bits."""
    raise FaultError(_ELSEWHERE)
