"""Options: what several commands take."""

from __future__ import annotations

import click

database = click.argument("database")
ids = click.argument("ids", nargs=-1, required=True, metavar="ID...")
json = click.option("--json", "as_json", is_flag=True, help="Write JSON.")
read_only = click.option(
    "--read-only", is_flag=True, help="Look at a file that another process, a worker, has open."
)
