"""`put`: a job from the command line."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click
import transaction

from zodbjobs.cli import tables
from zodbjobs.cli.application import Database
from zodbjobs.cli.commands import options
from zodbjobs.cli.database import opened
from zodbjobs.cli.job_parser import delay_of, make_job
from zodbjobs.cli.moments import seconds_of
from zodbjobs.insights import (
    JobInfo,
    job_info,
)
from zodbjobs.stored.job import Job
from zodbjobs.stored.lifecycle.root import get_queue

# Attempts at the commit of a put while it conflicts.
_PUT_ATTEMPTS = 5


@options.command(context_settings={"ignore_unknown_options": True})
@options.database
@click.argument("function", metavar="MODULE:FUNCTION")
@click.argument("args", nargs=-1, type=click.UNPROCESSED, metavar="[ARG | NAME=VALUE]...")
@click.option("--queue", default="", metavar="NAME", help="The default queue if left out.")
@click.option("--priority", type=int, help="From -8 to 7, larger first.")
@click.option(
    "--in",
    "delay",
    type=seconds_of,
    metavar="SPAN",
    help="Not before that: 90s, 5m, 12h, 1d; or seconds.",
)
@click.option("--timeout", type=seconds_of, metavar="SPAN", help="End an attempt after so long.")
@click.option("--quota", "quotas", multiple=True, metavar="NAME", help="A quota; repeatable.")
@click.option("--unique", metavar="KEY", help="Print the id of a job with that key that waits.")
@click.option("--owner", metavar="ID", help="Whose job it is: the id of a principal.")
@click.option("--title", metavar="TEXT", help="What people read of it.")
@click.option("--realm", metavar="NAME", help="The site that it belongs to.")
@click.option("--progress", is_flag=True, help="Make it a ProgressableJob.")
@options.json
def put(
    database: Database,
    function: str,
    args: tuple[str, ...],
    queue: str,
    priority: int | None,
    delay: float | None,
    timeout: float | None,
    quotas: tuple[str, ...],
    unique: str | None,
    owner: str | None,
    title: str | None,
    realm: str | None,
    progress: bool,
    as_json: bool,
) -> None:
    """Put a job that calls MODULE:FUNCTION, and print its id.

    An ARG that is JSON is taken as that, else as text: 5, '["a", 1]', true, hello; NAME=VALUE
    is a keyword argument. Modules of the current directory are found.
    """
    job, begin_after = make_job(function, args, progress), delay_of(delay)
    said: dict[str, Any] = {"begin_after": begin_after, "priority": priority, "unique": unique}
    said |= {"owner": owner, "title": title, "realm": realm}
    if timeout is not None:
        said["timeout"] = timeout
    if quotas:
        said["quota_names"] = quotas
    with opened(database) as db:
        found = _put(db, lambda connection: get_queue(connection, queue).put(job(), **said))
    if as_json:
        tables.print_json(found.as_json())
    else:
        click.echo(found.id)


def _put(db: Any, put: Callable[[Any], Job]) -> JobInfo:
    """Commit `put`, again after a conflict; returns how the job stands then."""
    manager = transaction.TransactionManager()
    connection = db.open(manager)
    try:
        for attempt in manager.attempts(_PUT_ATTEMPTS):
            with attempt:
                job = put(connection)
        return job_info(job)
    finally:
        manager.abort()
        connection.close()
