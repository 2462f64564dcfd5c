"""The compiler in a process of its own: Ctrl-C ends it at once, and the memory it takes goes with it."""

import os
import pickle
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable

from iosim.compiled.catalogue import Catalogue
from iosim.model.errors import FaultError

_PROGRAM = "from iosim.compiled.builder import serve; serve()"


def build(optimize: int, checks: bool, step: Callable[[str], None]) -> tuple[Catalogue, bytes]:
    """Return what `iosim.compiled.build.build` does, in a process that ends with this one.

    *step* is told what is being done. Raises FaultError, with the last line that the compiler has said, if it fails.
    """
    path = os.pathsep.join(part or os.getcwd() for part in sys.path)
    command = [sys.executable, "-c", _PROGRAM, str(optimize), str(int(checks))]
    with (
        tempfile.TemporaryFile() as said,
        subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=said,
            env={**os.environ, "PYTHONPATH": path},
            start_new_session=True,
        ) as process,
    ):
        assert process.stdout is not None
        try:
            while isinstance(got := pickle.load(process.stdout), str):
                step(got)
            catalogue, code = got
            return catalogue, code
        except EOFError:
            process.wait()
            said.seek(0)
            lines = said.read().decode(errors="replace").split("\n")
            last = next((line for line in reversed(lines) if line.strip()), f"exit status {process.returncode}")
            raise FaultError(f"the compiled engine cannot be built: {last}") from None
        finally:
            process.kill()


def serve() -> None:
    """Be the process: what is done, and then what was built, goes to standard output."""
    threading.Thread(target=_end_with_the_caller, daemon=True).start()
    answers = sys.stdout.buffer
    sys.stdout = sys.stderr

    def step(what: str) -> None:
        pickle.dump(what, answers)
        answers.flush()

    from iosim.compiled.build import build

    built = build(int(sys.argv[1]), bool(int(sys.argv[2])), step)
    pickle.dump(tuple(built), answers, protocol=pickle.HIGHEST_PROTOCOL)
    answers.flush()


def _end_with_the_caller() -> None:
    """Wait for the end of standard input, to which nobody writes."""
    sys.stdin.buffer.read()
    os._exit(1)
