"""What the model says of the native code that is made of it; Python itself makes nothing of it."""

from collections.abc import Callable
from typing import Any, TypeVar

T = TypeVar("T", bound=Callable[..., Any])


def apart(function: T) -> T:
    """Decorator: the native code of *function* is never made part of those that call it, which stay small."""
    return function
