"""What a user can mend: each error is one line that says where, which rule, and which value."""

import os
from datetime import date, datetime, time

_LONGEST = 60


class IosimError(Exception):
    """An error of the input. The command line prints it as one line and exits with status 2."""


class ScenarioError(IosimError):
    """A scenario file, or a change of it by ``--set``, breaks a rule."""


class TraceError(IosimError):
    """A trace file breaks a rule; the message begins with ``file:line``."""


class ProfileError(IosimError):
    """A cost profile breaks a rule."""


class OutputError(IosimError):
    """The folder for the result cannot be used."""


class ExportError(IosimError):
    """An export that is asked for is none, or what it is to show is not there."""


class StudyError(IosimError):
    """A study file breaks a rule, or a study cannot be run as asked."""


class EngineError(IosimError):
    """The engine that was asked for cannot run the scenario; the message names what it does not have."""


class ResultError(IosimError):
    """A folder is no result of a run, or one that is damaged or of another version."""


class FaultError(Exception):
    """A result that cannot be right: a fault of the program. The command line says so and exits with status 1."""


def reason(error: OSError) -> str:
    """Return why the system refused: its own words, whatever library met it."""
    return os.strerror(error.errno) if error.errno else str(error)


def shown(value: object) -> str:
    """Return *value* as a message shows it: on one line, of bounded length, in the words of TOML."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, dict):
        return "a table"
    if isinstance(value, date | datetime | time):
        return value.isoformat()
    try:
        text = repr(value)
    except ValueError:  # Python refuses to print integers of more than 4300 digits.
        return "a number of more than 4300 digits"
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 3]}..."
