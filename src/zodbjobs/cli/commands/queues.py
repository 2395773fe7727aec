"""`stats`, `pause`, `resume` and `drain`: a queue as a whole; `audit`: who did what."""

from __future__ import annotations

import time
from datetime import datetime

import click

from zodbjobs import operations
from zodbjobs.cli import tables
from zodbjobs.cli.application import Database
from zodbjobs.cli.commands import options
from zodbjobs.cli.database import opened
from zodbjobs.cli.errors import CommandError
from zodbjobs.cli.moments import moment_of
from zodbjobs.insights import (
    all_queue_stats,
    is_empty,
    list_audit,
    list_workers,
    queue_stats,
)
from zodbjobs.insights.reading import reading
from zodbjobs.runtime.storage import abilities

# Seconds between two looks at a queue that is drained.
_DRAIN_SECONDS = 0.25


@options.command()
@options.database
@options.read_only
@options.json
def stats(database: Database, read_only: bool, as_json: bool) -> None:
    """Count the jobs of each queue, tell how long they wait and take, and list the workers."""
    with opened(database, read_only=read_only) as db, reading(db) as connection:
        queues, workers = all_queue_stats(connection), list_workers(connection)
    if as_json:
        tables.print_json(
            {
                "queues": [queue.as_json() for queue in queues],
                "workers": [worker.as_json() for worker in workers],
            }
        )
    else:
        tables.print_stats(queues, workers)


_queue = click.option("--queue", default="", metavar="NAME", help="The default queue if left out.")
_match = click.option(
    "--match", metavar="GLOB", help="Only jobs that call such, as 'shop.mail:*'."
)


@options.command()
@options.database
@_queue
@click.option("--reason", required=True, metavar="TEXT", help="Why, for who will ask.")
@_match
@options.json
def pause(database: Database, queue: str, reason: str, match: str | None, as_json: bool) -> None:
    """Begin no jobs of a queue until it is resumed.

    What runs goes on, and jobs can be put.
    """
    with opened(database) as db:
        operations.pause(db, queue, reason, match, by=options.me())
    tables.print_queue_state("paused", queue, match, as_json)


@options.command()
@options.database
@_queue
@_match
@options.why
@options.json
def resume(
    database: Database, queue: str, match: str | None, why: str | None, as_json: bool
) -> None:
    """Begin jobs of a queue again, and let it take new ones."""
    with opened(database) as db:
        was_paused = operations.resume(db, queue, match, by=options.me(), why=why)
    state = "resumed" if was_paused else "was not paused"
    tables.print_queue_state(state, queue, match, as_json)


@options.command()
@options.database
@_queue
@click.option(
    "--reason", default="it is being emptied", show_default=True, metavar="TEXT",
    help="Why, for who will ask.",
)  # fmt: skip
@options.json
def drain(database: Database, queue: str, reason: str, as_json: bool) -> None:
    """Let a queue take no new jobs, and wait until it is empty.

    Puts into it raise an error that names the reason. Jobs that were put go on to their end, and
    may put callbacks and parts. Parked ones aren't waited for. It stays so until `zodbjobs
    resume`, also if this command is interrupted.
    """
    with opened(database) as db, reading(db) as connection:
        operations.drain(db, queue, reason, by=options.me())
        connection.sync()
        if not is_empty(connection, queue) and abilities.is_for_one_process(db):
            raise CommandError(
                f"{tables.paused_text(queue)} takes no new jobs now, and has some left that can't "
                f"run while {database} is open here; start `zodbjobs worker {database}`, and "
                "drain it again to see whether it is empty"
            )
        told = False
        while not is_empty(connection, queue):
            if not told:
                found = queue_stats(connection, queue)
                click.echo(f"draining: {tables.drained_text(found)}", err=True)
                told = True
            time.sleep(_DRAIN_SECONDS)
            connection.sync()
    tables.print_queue_state("empty", queue, None, as_json)


@options.command()
@options.database
@click.option("--by", metavar="WHO", help="What this one did.")
@click.option("--until", type=moment_of, metavar="TIME", help="Before this time.")
@click.option(
    "--limit", type=click.IntRange(1), default=50, show_default=True, help="So many at most."
)
@options.read_only
@options.json
def audit(
    database: Database,
    by: str | None,
    until: datetime | None,
    limit: int,
    read_only: bool,
    as_json: bool,
) -> None:
    """Tell who did what to which jobs, queues and agents, and why, the newest first."""
    with opened(database, read_only=read_only) as db, reading(db) as connection:
        found = list_audit(connection, by=by, before=until, limit=limit)
    if as_json:
        tables.print_json([entry.as_json() for entry in found])
    else:
        tables.print_audit(found)
