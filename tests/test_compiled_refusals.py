"""What the compiler of the model cannot do as Python does is refused, with the line, and never done in another way."""

import importlib.util

import pytest

from iosim.compiled.build import library
from iosim.compiled.compiler.program import Program
from iosim.compiled.compiler.world import World

REFUSED = {
    "sorted(items, reverse=True)": "reverse of a sort",
    "items.sort(reverse=True)": "reverse of a sort",
    "table.popitem()": "popitem of the last item",
    "table.popitem(last=True)": "popitem of the last item",
    "function(items, n=1)": "keywords for a value that is called",
    "held.function(n=1)": "keywords for a value that is called",
    "held.named(n=1)": "keywords for a value that is called",
    "deque(items, 5)": "deque with maxlen",
    "int('12', 8)": "int with a base",
    "1 << 63": "a shift by 63",
    "items[::2]": "slice with a step",
    "range(0, 9, 0)": "range with a step of 0",
}
TAKEN = ("sorted(items)", "table.popitem(last=False)", "function(items)", "held.function(1)", "1 << 61", "~n")
HEAD = """
from collections import OrderedDict, deque
from collections.abc import Callable

class Held:
    def __init__(self, function: Callable[..., int]) -> None:
        self.function = function

    @property
    def named(self) -> Callable[..., int]:
        return self.function
"""
FUNCTION = """
def f{number}(items: list[int], table: OrderedDict[int, int], function: Callable[..., int], held: Held, n):
    return {expression}
"""


@pytest.fixture(scope="module")
def problems(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What is said of each expression, "" if it is compiled."""
    expressions = [*REFUSED, *TAKEN]
    path = tmp_path_factory.mktemp("model") / "refused.py"
    path.write_text(HEAD + "".join(FUNCTION.format(number=k, expression=e) for k, e in enumerate(expressions)))
    spec = importlib.util.spec_from_file_location("refused", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    program = Program(World([module], {}), library())
    infos = [program.world.named("refused", "", f"f{k}") for k in range(len(expressions))]
    for info in infos:
        program.function(info)
    program.compile()
    return {expression: info.problem for expression, info in zip(expressions, infos, strict=True)}


@pytest.mark.parametrize("expression", REFUSED)
def test_it_is_refused(problems: dict[str, str], expression: str) -> None:
    assert REFUSED[expression] in problems[expression]
    assert problems[expression].startswith("line ")


@pytest.mark.parametrize("expression", TAKEN)
def test_it_is_taken(problems: dict[str, str], expression: str) -> None:
    assert not problems[expression]
