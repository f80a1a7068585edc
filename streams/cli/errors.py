"""How commands fail: one clear line on stderr and an exit code, a traceback only on request."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any, NoReturn

import typer
from typer.core import TyperGroup

EXIT_FAILED = 1
"""The command ran and what it checked or did failed."""

EXIT_BAD_USE = 2
"""The command could not run: wrong arguments or wrong configuration."""

_DEBUG = "--debug"


class CommandError(Exception):
    """What the user is told, in one line, when a command cannot go on."""

    exit_code = EXIT_FAILED


class BadUse(CommandError):
    """Arguments or configuration cannot be used."""

    exit_code = EXIT_BAD_USE


class LineErrors(TyperGroup):
    """A command group whose errors are one line. `--debug` may stand anywhere on the line."""

    def main(
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        complete_var: str | None = None,
        standalone_mode: bool = True,
        windows_expand_args: bool = True,
        **extra: Any,
    ) -> Any:
        """Run, and end the process with the exit code."""
        words = list(sys.argv[1:] if args is None else args)
        debug = _DEBUG in words
        try:
            code = super().main(
                args=[word for word in words if word != _DEBUG],
                prog_name=prog_name,
                complete_var=complete_var,
                standalone_mode=False,
                windows_expand_args=windows_expand_args,
                **extra,
            )
        except typer.Abort:
            _end("stopped", EXIT_FAILED)
        except typer.TyperException as error:
            if not error.format_message():  # without a command there is the help, and no error
                sys.exit(EXIT_BAD_USE)
            _end(_usage(error), EXIT_BAD_USE)
        except Exception as error:
            if debug:
                raise
            _end(_told(error), getattr(error, "exit_code", _exit_code(error)))
        sys.exit(code if isinstance(code, int) else 0)


def _usage(error: typer.TyperException) -> str:
    context = getattr(error, "ctx", None)
    path = context.command_path if context is not None else "payouts"
    message = " ".join(error.format_message().split())
    return f"{message.rstrip('.')}; `{path} --help` lists what there is"


def _exit_code(error: Exception) -> int:
    from streams.settings import SettingsError

    return EXIT_BAD_USE if isinstance(error, SettingsError) else EXIT_FAILED


def _told(error: Exception) -> str:
    """The line for an error. What was not meant for people is named with its kind."""
    from streams.settings import SettingsError

    text = " ".join(str(error).split())
    if isinstance(error, CommandError | SettingsError):
        return text
    named = f"{type(error).__name__}: {text}" if text else type(error).__name__
    return f"{named}; {_DEBUG} shows where"


def _end(line: str, code: int) -> NoReturn:
    from streams.logs import mask

    typer.secho("Error: ", fg="red", bold=True, err=True, nl=False)
    typer.echo(mask(line), err=True)
    sys.exit(code)
