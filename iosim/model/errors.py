"""What a user can mend: each error is one line that says where, which rule, and which value."""


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
