"""Native code that reads memory which is not there, as where the model takes None for an object: the run fails.

A check of every object before each use would cost more than the processor's own, which is free.
"""

import ctypes
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

Stop = Callable[[str], None]

_LIBC = ctypes.CDLL(None)
_LIBC.signal.argtypes = (ctypes.c_int, ctypes.c_void_p)
_LIBC.signal.restype = ctypes.c_void_p
_LIBC.sigaction.argtypes = (ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p)
_BEFORE = ctypes.create_string_buffer(1024)
"""What was done about the signal before: a struct sigaction, which has less than this everywhere."""
_LOCK = threading.Lock()
_STOPS: dict[int, Stop] = {}
"""What ends the run of a thread, by the thread's identifier."""


@contextmanager
def reported(stop: Stop) -> Iterator[None]:
    """Have *stop* called when this thread reads memory that is not there; it must not return."""
    with _LOCK:
        if not _STOPS:
            _LIBC.sigaction(signal.SIGSEGV, None, _BEFORE)
            _LIBC.signal(signal.SIGSEGV, _HANDLER)
        _STOPS[threading.get_ident()] = stop
    try:
        yield
    finally:
        _forget()


def _forget() -> Stop | None:
    with _LOCK:
        stop = _STOPS.pop(threading.get_ident(), None)
        if not _STOPS:
            _LIBC.sigaction(signal.SIGSEGV, _BEFORE, None)
    return stop


def _met(number: int) -> None:
    """The signal has come in the thread that has made it. What is not native code's meets it again, as before."""
    stop = _forget()
    if stop is None:
        _LIBC.sigaction(number, _BEFORE, None)
    else:
        stop("what should be an object is none")


_FUNCTION = ctypes.CFUNCTYPE(None, ctypes.c_int)(_met)
_HANDLER = ctypes.cast(_FUNCTION, ctypes.c_void_p)
