"""Native code kept on disk between runs, in the user's cache folder.

The folder is IOSIM_CACHE_DIR, else `iosim` in XDG_CACHE_HOME, else ~/.cache/iosim. A file's name is a hash of all that
its content depends on: the sources of the model and of the compiler, the versions of Python and LLVM, the processor.
It is written beside and renamed; who finds that another process is compiling the same waits for it.
"""

import atexit
import contextlib
import fcntl
import hashlib
import os
import pickle
import platform
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import llvmlite
import llvmlite.binding as llvm

from iosim.compiled.catalogue import Catalogue
from iosim.model.errors import reason

KEPT = 8
"""Number of files that are kept: those used last."""

_ROOT = Path(__file__).parents[1]
SOURCES = ("compiled", "disk", "guest", "host", "kvm", "model", "qemu", "results")
"""The packages that the native code depends on, and the modules below."""
SOURCE_MODULES = ("cpu_vmx.py", "lifecycle.py", "machine.py", "port_feed.py", "run.py")
_AROUND = ("builder.py", "cache.py", "engine.py", "execution.py", "hand_over.py", "image.py", "logs.py")
"""Modules of the compiled engine that do not change the code."""

Say = Callable[[str], None]
Build = Callable[[Say], tuple[Catalogue, bytes]]
"""Makes what is kept; it is given a function that it tells what it is doing."""


def folder() -> Path:
    """Return the folder of the cache."""
    chosen = os.environ.get("IOSIM_CACHE_DIR")
    if chosen:
        return Path(chosen)
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "iosim"


def sources() -> list[Path]:
    """Return the source files that the native code depends on."""
    found = [path for package in SOURCES for path in sorted((_ROOT / package).rglob("*.py"))]
    around = {_ROOT / "compiled" / name for name in _AROUND}
    return [path for path in found if path not in around] + [_ROOT / name for name in SOURCE_MODULES]


def key(optimize: int, checks: bool) -> str:
    """Return the hash of all that the native code depends on."""
    digest = hashlib.sha256()
    versions = (platform.python_version(), llvmlite.__version__, str(llvm.llvm_version_info), llvm.get_default_triple())
    processor = (llvm.get_host_cpu_name(), llvm.get_host_cpu_features().flatten())
    digest.update(repr((versions, processor, optimize, checks)).encode())
    for path in sources():
        content = path.read_bytes()
        digest.update(f"\n{path.relative_to(_ROOT)} {len(content)}\n".encode())
        digest.update(content)
    return digest.hexdigest()


def load(path: Path) -> tuple[Catalogue, bytes] | None:
    """Return the catalogue and code in a file; None if there is none, or if it is damaged."""
    try:
        content = path.read_bytes()
    except OSError:
        return None
    if hashlib.sha256(content[32:]).digest() != content[:32]:
        return None
    with contextlib.suppress(OSError):
        os.utime(path)
    catalogue, code = pickle.loads(content[32:])
    return catalogue, code


def store(path: Path, catalogue: Catalogue, code: bytes) -> None:
    """Write a file, and remove those that have not been used for the longest time."""
    content = pickle.dumps((catalogue, code), protocol=pickle.HIGHEST_PROTOCOL)
    handle, beside = tempfile.mkstemp(dir=path.parent, prefix=".new-")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(hashlib.sha256(content).digest() + content)
        Path(beside).replace(path)
    except OSError:
        Path(beside).unlink(missing_ok=True)
        raise
    for old in sorted(path.parent.glob("engine-*.bin"), key=lambda each: each.stat().st_mtime)[:-KEPT]:
        old.unlink(missing_ok=True)


def get(build: Build, optimize: int, checks: bool, say: Say | None = None) -> tuple[Catalogue, bytes]:
    """Return the catalogue and code from the cache; if they are not there, those of *build*, which go there.

    *say* is told what is being done, if that takes long; without it, or where standard error is no terminal, a line on
    standard error says so.
    """
    path = _path(optimize, checks)
    found = load(path)
    if found is not None:
        return found
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with _lock(path.with_suffix(".lock"), say):
            found = load(path)
            if found is None:
                found = _build(build, say)
                store(path, *found)
    except OSError as error:
        _write(f"{path.parent}: {reason(error)}; the compiled engine is not kept for the next run")
    return _build(build, say) if found is None else found


def share(found: tuple[Catalogue, bytes], optimize: int = 2, checks: bool = False) -> None:
    """See to it that processes which this one starts find what `get` has returned, also if the folder cannot be used.

    Then a temporary folder takes its place until this process ends.
    """
    if _path(optimize, checks).exists():
        return
    try:
        place = tempfile.mkdtemp(prefix="iosim-")
        atexit.register(shutil.rmtree, place, ignore_errors=True)
        os.environ["IOSIM_CACHE_DIR"] = place
        store(_path(optimize, checks), *found)
    except OSError as error:
        _write(f"{tempfile.gettempdir()}: {reason(error)}; each process compiles the model for itself")


def _path(optimize: int, checks: bool) -> Path:
    return folder() / f"engine-{key(optimize, checks)[:32]}.bin"


def _build(build: Build, say: Say | None) -> tuple[Catalogue, bytes]:
    _tell("compiling the model for this processor; this is done once and takes about half a minute", say)
    return build(lambda what: say(f"compiling the model, once: {what}") if say is not None else None)


@contextlib.contextmanager
def _lock(path: Path, say: Say | None) -> Iterator[None]:
    """Hold a file that only one process can hold."""
    with path.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            _tell("waiting for another process that is compiling the model", say)
            fcntl.flock(file, fcntl.LOCK_EX)
        try:
            yield
        finally:
            path.unlink(missing_ok=True)


def _tell(text: str, say: Say | None) -> None:
    if say is None or not sys.stderr.isatty():
        _write(text)
    else:
        say(text)


def _write(text: str) -> None:
    sys.stderr.write(f"iosim: {text}\n")
    sys.stderr.flush()
