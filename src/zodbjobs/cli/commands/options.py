"""Options: what several commands take."""

from __future__ import annotations

import getpass
import socket

import click

database = click.argument("database")
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
