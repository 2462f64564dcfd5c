"""The validate commands of the command line: predictions beside measurements."""

import typer

validate_app = typer.Typer(help="Compare predictions with measurements.", no_args_is_help=True)
