"""What goes wrong is told in one line, with the cure; the exit status is 2."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from typing import IO, Any

import click
from transaction.interfaces import TransientError
from ZODB.POSException import ReadOnlyError

from zodbjobs.errors import ZodbjobsError

# click 8.1 writes the help itself, without an error.
_HELP: Any = getattr(click.exceptions, "NoArgsIsHelpError", ())

_PASSWORD = re.compile(r"(\w://[^\s:/@]*:)[^\s/]*@")


class Problem(click.ClickException):
    """SharedResults the command with one line on stderr."""

    exit_code = 2

    def show(self, file: IO[Any] | None = None) -> None:
        """Write the line."""
        text = without_passwords(one_line(self.message))
        click.echo(f"zodbjobs: {text}", file=file, err=True)


def one_line(text: object) -> str:
    """The text without line ends."""
    return " ".join(str(text).split())


def without_passwords(text: str) -> str:
    """The text with three asterisks for the password of each URI in it."""
    return _PASSWORD.sub(r"\1***@", text)


@contextlib.contextmanager
def told_in_one_line() -> Iterator[None]:
    """Make a Problem of each error that its text explains, and of wrong usage."""
    try:
        yield
    except _HELP:
        raise
    except click.UsageError as error:
        command = error.ctx.command_path if error.ctx else "zodbjobs"
        text = error.format_message().rstrip(".?")
        raise Problem(f"{text}; see `{command} --help`") from error
    except ZodbjobsError as error:
        raise Problem(str(error)) from error
    except ReadOnlyError as error:
        raise Problem(
            "the database was opened read-only, nothing was changed; open it without read_only"
        ) from error
    except TransientError as error:
        raise Problem(
            f"the database can't be reached, or others write all the time "
            f"({type(error).__name__}: {error}); try again when it is there"
        ) from error
