"""The compiled engine's cache on disk, and what is known about the native code without the compiler."""

import os
import subprocess
import sys
import types
from collections.abc import Callable
from pathlib import Path

import pytest

from iosim.compiled import build, cache
from iosim.compiled.catalogue import Catalogue, ClassEntry, Constant, find
from iosim.compiled.engine import Engine

SMALL = Catalogue(
    classes=[ClassEntry(64, "decimal", "Decimal", 3, {"whole": 1, "part": 2}, {}, False, False)],
    functions=[],
    constants=[Constant("literal", (1, "two")), Constant("object", "math", "pi")],
    traps=["a trap"],
    twins={("fractions", "Fraction"): ("decimal", "Decimal")},
    n_class_ids=65,
    bound_class=14,
    checks=False,
)
Step = Callable[[str], None]


@pytest.fixture(scope="session")
def engine() -> Engine:
    return Engine()


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("IOSIM_CACHE_DIR", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_what_is_built_is_found_the_next_time(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    built: list[str] = []

    def once(step: Step) -> tuple[Catalogue, bytes]:
        built.append("built")
        return SMALL, b"\x7fELF code"

    cache.get(once, 2, False)
    assert "compiling the model" in capsys.readouterr().err
    catalogue, code = cache.get(once, 2, False)
    assert built == ["built"]
    assert capsys.readouterr().err == ""
    assert code == b"\x7fELF code"
    assert [catalogue.constant(n) for n in range(2)] == [(1, "two"), find("math", "pi")]
    from decimal import Decimal
    from fractions import Fraction

    for kind in (Decimal, Fraction):
        entry = catalogue.class_of(kind)
        assert entry is not None
        assert entry.attributes == {"whole": 1, "part": 2}
    assert catalogue.class_of(int) is None
    assert [path.suffix for path in folder.iterdir()] == [".bin"]


def test_a_damaged_file_is_built_anew(folder: Path) -> None:
    codes = [b"first", b"second"]
    cache.get(lambda step: (SMALL, codes.pop(0)), 2, False)
    (file,) = folder.iterdir()
    content = bytearray(file.read_bytes())
    content[-3] ^= 1
    file.write_bytes(content)
    assert cache.get(lambda step: (SMALL, codes.pop(0)), 2, False)[1] == b"second"
    assert cache.get(lambda step: (SMALL, codes.pop(0)), 2, False)[1] == b"second"


def test_without_a_folder_it_runs_and_says_so_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("IOSIM_CACHE_DIR", str(tmp_path / "file" / "cache"))
    assert cache.get(lambda step: (SMALL, b"code"), 2, False)[1] == b"code"
    lines = capsys.readouterr().err.splitlines()
    assert [("is not kept" in line, "compiling" in line) for line in lines] == [(True, False), (False, True)]


def test_the_folder_follows_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("IOSIM_CACHE_DIR", raising=False)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    assert cache.folder() == tmp_path / ".cache" / "iosim"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache.folder() == tmp_path / "xdg" / "iosim"
    monkeypatch.setenv("IOSIM_CACHE_DIR", str(tmp_path / "own"))
    assert cache.folder() == tmp_path / "own"


def test_the_key_changes_with_any_source_and_option(monkeypatch: pytest.MonkeyPatch) -> None:
    first = cache.key(2, False)
    assert cache.key(2, False) == first
    assert len({first, cache.key(1, False), cache.key(2, True)}) == 3
    paths = cache.sources()
    monkeypatch.setattr(cache, "sources", lambda: paths[1:])
    assert cache.key(2, False) != first


def test_only_so_many_files_are_kept(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder.mkdir()
    for number in range(cache.KEPT + 3):
        path = folder / f"engine-{number:02}.bin"
        cache.store(path, SMALL, b"")
        os.utime(path, (number, number))
    cache.store(folder / "engine-new.bin", SMALL, b"")
    kept = sorted(path.name for path in folder.iterdir())
    assert kept == [*(f"engine-{number:02}.bin" for number in range(4, cache.KEPT + 3)), "engine-new.bin"]


_BUILDER = """
import sys, time
from iosim.compiled import cache
from tests.test_compiled_cache import SMALL

def build(step):
    with open(sys.argv[1], "a") as file:
        file.write("built\\n")
    time.sleep(1)
    return SMALL, b"code"

print(cache.get(build, 2, False)[1])
"""


def test_two_processes_build_once(folder: Path, tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
    log = tmp_path / "log"
    command = [sys.executable, "-c", _BUILDER, str(log)]
    running = [
        subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE) for _ in range(2)
    ]
    for each in running:
        out, _ = each.communicate(timeout=60)
        assert (each.returncode, out) == (0, b"b'code'\n")
    assert log.read_text() == "built\n"


def test_a_warm_start_has_no_need_of_the_compiler(engine: Engine) -> None:
    program = """
import sys
from iosim.compiled.engine import Engine
engine = Engine()
assert engine.globals("globals", 1)[0] == 0
print(sorted(name for name in sys.modules if name.startswith("iosim.compiled.compiler")))
"""
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
    found = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True)
    assert (found.stdout, found.stderr) == ("[]\n", "")


def test_the_key_covers_all_that_compiled_modules_use() -> None:
    covered = set(cache.sources())
    root = Path(cache.__file__).parents[1]
    for module in build.modules():
        for value in vars(module).values():
            if isinstance(value, types.ModuleType):
                name = value.__name__
            elif isinstance(value, type | types.FunctionType):
                name = value.__module__
            else:
                continue
            used = sys.modules.get(name)
            if used is not None and name.startswith("iosim.") and used.__file__ is not None:
                path = Path(used.__file__)
                assert path in covered or path.name == "__init__.py" or path.parent == root / "compiled", path


def test_constants_are_found_by_name(engine: Engine) -> None:
    from iosim.model.records import STATUSES

    catalogue = engine.catalogue
    kinds = {constant.kind for constant in catalogue.constants}
    assert kinds <= {"literal", "function", "object"}
    values = [catalogue.constant(number) for number in range(len(catalogue.constants))]
    assert any(value is STATUSES for value in values)


def test_functions_are_found_by_what_lives(engine: Engine) -> None:
    from iosim.compiled.twins import environment as twins
    from iosim.host import environment
    from iosim.host.thread import HostThread

    catalogue = engine.catalogue
    run = catalogue.method_of(environment.Host, "run")
    assert run is not None
    assert run is catalogue.method_of(twins.Host, "run")
    assert (run.module, run.owner, run.name) == ("iosim.compiled.twins.environment", "Host", "run")
    method = next(value for value in vars(HostThread).values() if isinstance(value, types.FunctionType))
    entry = catalogue.function_of(method)
    assert entry is not None
    assert (entry.owner, entry.name) == ("HostThread", method.__name__)
