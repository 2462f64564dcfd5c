"""Texts of the trace commands' options as values."""

from collections.abc import Callable
from fractions import Fraction

from iosim.model.errors import IosimError, shown


class OptionError(IosimError):
    """An option of the command has a value that it cannot have."""


def value_of(option: str, parse: Callable[[object], int], text: str) -> int:
    """Return what *parse* makes of *text*. Raises OptionError, which names *option*."""
    try:
        return parse(text)
    except ValueError as error:
        raise OptionError(f"{option} {error}, got {shown(text)}") from None


def factor_of(option: str, text: str) -> Fraction:
    """Return the factor that *text* (``"0.5"``, ``"1/3"``) stands for. Raises OptionError."""
    try:
        factor = Fraction(text)
    except (ValueError, ZeroDivisionError):
        raise OptionError(f"{option} must be a number such as 0.5 or 1/3, got {shown(text)}") from None
    if not 0 < factor <= 1_000_000_000 or factor.denominator > 1_000_000_000:
        raise OptionError(f"{option} must be above 0 and at most 10^9, got {shown(text)}")
    return factor
