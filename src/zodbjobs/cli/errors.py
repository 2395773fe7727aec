"""Errors of a command: one line with the cure on stderr, and exit status 2."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from typing import IO, Any

import click
from transaction.interfaces import TransientError
from ZODB.POSException import ReadOnlyError

from zodbjobs.errors import ZodbjobsError
from zodbjobs.terminal import one_line

# click 8.1 writes the help itself, without an error.
_HELP: Any = getattr(click.exceptions, "NoArgsIsHelpError", ())

_PASSWORD = re.compile(r"(\w://[^\s:/@]*:)[^\s/]*@")


class CommandError(click.ClickException):
    """Ends the command with one line on stderr."""

    exit_code = 2

    def show(self, file: IO[Any] | None = None) -> None:
        """Write the line."""
        text = without_passwords(one_line(self.message))
        click.echo(f"zodbjobs: {text}", file=file, err=True)


def without_passwords(text: str) -> str:
    """The text with three asterisks for the password of each URI in it."""
    return _PASSWORD.sub(r"\1***@", text)


@contextlib.contextmanager
def errors_in_one_line() -> Iterator[None]:
    """Make a CommandError of each error that its text explains, and of wrong usage."""
    try:
        yield
    except _HELP:
        raise
    except click.UsageError as error:
        command = error.ctx.command_path if error.ctx else "zodbjobs"
        text = error.format_message().rstrip(".?")
        raise CommandError(f"{text}; see `{command} --help`") from error
    except ZodbjobsError as error:
        raise CommandError(str(error)) from error
    except ReadOnlyError as error:
        raise CommandError(
            "the database was opened read-only, nothing was changed; open it without read_only"
        ) from error
    except TransientError as error:
        raise CommandError(
            f"the database can't be reached, or others write all the time "
            f"({type(error).__name__}: {error}); try again when it is there"
        ) from error
