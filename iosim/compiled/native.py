"""What only compiled code can do; the compiler has its own code for each of these functions."""

from typing import Any


def is_process(callback: Any) -> bool:
    """Tell whether *callback* is a process (a generator) rather than a function."""
    raise NotImplementedError


def resume(process: Any) -> Any:
    """Go on with a process; return what it yields, None at its end."""
    raise NotImplementedError


def collect_garbage() -> None:
    """Between two events: free what nobody has any more, if there is enough of it."""
    raise NotImplementedError


def is_below(identity: int, what: int, limit: int) -> bool:
    """Tell whether *identity* ^ *what* < *limit*, with unsigned numbers of 64 bits."""
    raise NotImplementedError
