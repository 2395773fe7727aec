"""Options: what several commands take."""

from __future__ import annotations

import functools
import getpass
import re
import socket
from collections.abc import Callable
from typing import Any, TypeVar

import click

from zodbjobs.cli.application import KINDS, Application

_Function = TypeVar("_Function", bound=Callable[..., Any])


class _OnDatabase(click.Command):
    """A command that takes the DATABASE as its first word, or an application by an option."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse; the parameter `database` is a text or an Application then."""
        given, _, _ = self.make_parser(ctx).parse_args(list(args))
        chosen = [
            Application(option, given[name])
            for option, name in _NAMES.items()
            if given.get(name) is not None
        ]
        if len(chosen) > 1:
            both = " and ".join(application.option for application in chosen)
            raise click.UsageError(f"{both} are of two applications; give one of them", ctx)
        # The words after the options are those that follow DATABASE else.
        rest = super().parse_args(ctx, ["", *args] if chosen else args)
        if chosen:
            ctx.params["database"] = chosen[0]
        return rest


_NAMES = {option: option.strip("-").replace("-", "_") for option in KINDS}

#: Makes a command of a function that takes `database`.
command = functools.partial(click.command, cls=_OnDatabase)


def database(function: _Function) -> _Function:
    """DATABASE, or the option of an application; the function gets a `Database`."""
    for option, name in reversed(_NAMES.items()):
        function = click.option(
            option, name, expose_value=False, metavar=KINDS[option].metavar,
            help=KINDS[option].help, callback=_check_file,
        )(function)  # fmt: skip
    return click.argument("database")(function)


def _check_file(ctx: click.Context, option: click.Parameter, value: str | None) -> str | None:
    """The value, if its part before a ? or a # is that of a file that is there."""
    if value is not None:
        click.Path(exists=True, dir_okay=False).convert(re.split("[?#]", value)[0], option, ctx)
    return value


ids = click.argument("ids", nargs=-1, required=True, metavar="ID...")
json = click.option("--json", "as_json", is_flag=True, help="Write JSON.")
read_only = click.option(
    "--read-only", is_flag=True, help="Look at a file that another process, a worker, has open."
)

why = click.option("--why", metavar="TEXT", help="The reason, for the audit trail.")


def me() -> str:
    """Who gives the command, for the audit trail: the user of the operating system."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # an id without a name, as in a container
        user = "somebody"
    return f"{user}@{socket.gethostname()}"
