"""`zc-async`: what is left of a queue of zc.async."""

from __future__ import annotations

import click

from zodbjobs.cli import tables
from zodbjobs.cli.application import Database
from zodbjobs.cli.commands import options
from zodbjobs.cli.zc_async import report
from zodbjobs.cli.zc_async.queues import find_queues
from zodbjobs.cli.zc_async.source import old_records


@options.command("zc-async")
@options.database
@click.option("--all", "with_ended", is_flag=True, help="List those that have ended, too.")
@options.json
def zc_async_(database: Database, with_ended: bool, as_json: bool) -> None:
    """List what is left in the queues of zc.async, and how to put it again.

    Reads a file that Python 2 has written, and that the old application may have open. Needs
    no code of it, imports none, and changes nothing. For each job there is a line of Python
    that puts it into a queue of zodbjobs, or the reason why there is none.
    """
    with old_records(database) as records:
        queues = find_queues(records, str(database))
        if as_json:
            tables.print_json(report.as_json(queues, with_ended))
        else:
            report.print_queues(queues, with_ended)
