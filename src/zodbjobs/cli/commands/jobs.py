"""`jobs`, `show`, `watch`, and what is done to jobs that are there."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import Any

import click

from zodbjobs import operations, terminal
from zodbjobs.cli import tables
from zodbjobs.cli.application import Database
from zodbjobs.cli.commands import options
from zodbjobs.cli.database import opened
from zodbjobs.cli.errors import CommandError
from zodbjobs.cli.moments import moment_of
from zodbjobs.cli.watch import watch_job
from zodbjobs.insights import (
    find_agents,
    find_job,
    job_details,
    job_info,
    job_tree,
    list_jobs,
)
from zodbjobs.insights.numbers import list_pauses
from zodbjobs.insights.reading import reading
from zodbjobs.insights.search import STATUS_WORDS
from zodbjobs.interfaces import NEW, OUTCOMES
from zodbjobs.operations import OperationResult
from zodbjobs.runtime.storage import abilities
from zodbjobs.stored.job import Job
from zodbjobs.stored.lifecycle.root import get_queues

# What jobs of a database can be filtered by.
_STATUS_WORDS = [word for word in STATUS_WORDS if word != NEW]


def _check_status(ctx: click.Context, option: click.Parameter, word: str | None) -> str | None:
    """The status, if it is one."""
    if word is None or word in _STATUS_WORDS:
        return word
    if word in OUTCOMES:
        raise click.BadParameter(f"how a job ended is its outcome; say --outcome {word}")
    raise click.BadParameter(f"{word!r} is not one of {', '.join(_STATUS_WORDS)}")


@options.command()
@options.database
@click.option(
    "--status",
    callback=_check_status,
    metavar="STATUS",
    help=f"One of {', '.join(_STATUS_WORDS)}.",
)
@click.option("--outcome", type=click.Choice(OUTCOMES), help="How it ended.")
@click.option("--queue", metavar="NAME", help="Of this queue; '' is the default one.")
@click.option("--callable", metavar="GLOB", help="That call such, as '*:export_*'.")
@click.option("--owner", metavar="ID", help="Of this principal.")
@click.option("--about", metavar="DATABASE/ID", help="About this object.")
@click.option("--realm", metavar="NAME", help="Of this site.")
@click.option("--text", metavar="TEXT", help="With this in the title or in an argument.")
@click.option("--worker", metavar="ID", help="Of this worker; a part of its id.")
@click.option(
    "--agent", type=click.IntRange(1), metavar="NUMBER", help="What that agent of it has or takes."
)
@click.option("--since", type=moment_of, metavar="TIME", help="Of this time or later.")
@click.option("--until", type=moment_of, metavar="TIME", help="Before this time.")
@click.option(
    "--limit", type=click.IntRange(1), default=50, show_default=True, help="So many at most."
)
@click.option(
    "--tree", "root", metavar="ID", help="One job, with what it waits for and follows it."
)
@options.read_only
@options.json
def jobs(
    database: Database,
    queue: str | None,
    worker: str | None,
    agent: int | None,
    limit: int,
    root: str | None,
    read_only: bool,
    as_json: bool,
    **filters: Any,
) -> None:
    """List jobs, the newest first.

    A TIME is as ISO 8601, without an offset this machine's, or how long ago: 30s, 90m, 2h, 1d. A
    job's is that of its end, else of its put, or when it is due. Where few jobs pass the filters
    it looks back for 0.08 seconds, says how far it came, and goes on from there with --until. With
    --owner, --about or --realm all times are those of the puts.

    --worker finds what that has right now, and what it has ended: without success, or after
    several attempts. Of jobs that succeeded at once it isn't stored which worker ran them. With
    --agent, the number of one of its agents in `zodbjobs agents`, it finds of these, and of what
    waits, what that one would take; its filter must be found here.
    """
    if agent is not None and worker is None:
        raise CommandError("agents are numbered for each worker; say --worker ID too")
    if root is not None:
        _print_tree(database, root, read_only, as_json)
        return
    with opened(database, read_only=read_only) as db, reading(db) as connection:
        chosen_agent = None
        if worker is not None and agent is not None:
            (chosen_agent,) = find_agents(connection, worker, number=agent)
            worker = None
        found = list_jobs(
            connection,
            queue=queue,
            worker=worker,
            agent=chosen_agent,
            **filters,
            limit=limit,
        )
        queues = get_queues(connection)
        chosen = queues.values() if queue is None else [queues[queue]]
        pauses = {each.name: list_pauses(each, counted=False) for each in chosen}
    if as_json:
        tables.print_json([job.as_json() for job in found])
        if len(found) < limit and found.looked_back_to is not None:
            click.echo(tables.looked_text(found.looked_back_to), err=True)
        if found.leaves_out is not None:
            click.echo(found.leaves_out, err=True)
    else:
        tables.print_jobs(found, limit)
        tables.print_pauses(pauses)


def _print_tree(database: Database, root: str, read_only: bool, as_json: bool) -> None:
    with opened(database, read_only=read_only) as db, reading(db) as connection:
        _found(connection, database, root)
        rows = job_tree(connection, root)
    if as_json:
        tables.print_json([row.as_json() for row in rows])
    else:
        tables.print_tree(rows)


@options.command()
@options.database
@click.argument("id")
@options.read_only
@options.json
def show(database: Database, id: str, read_only: bool, as_json: bool) -> None:
    """Show all about one job: times, result, log, traceback."""
    with opened(database, read_only=read_only) as db, reading(db) as connection:
        found = job_details(_found(connection, database, id))
    if as_json:
        tables.print_json(found.as_json())
    else:
        tables.print_job(found)


@options.command("watch")
@options.database
@click.argument("id")
@options.json
def watch_(database: Database, id: str, as_json: bool) -> None:
    """Follow one job until it ends. The status is 0 if it succeeded, else 1.

    A worker of another process must be able to run it, so this is for ZEO and the like.
    """
    with opened(database) as db, reading(db) as connection:
        job = _found(connection, database, id)
        info = job_info(job)
        if info.outcome is None and info.parked is None and abilities.is_for_one_process(db):
            raise CommandError(
                f"job {id} is {info.state}, and can't run while {database} is open here; start "
                f"`zodbjobs worker {database}`, or serve the file by ZEO to watch it"
            )
        found = watch_job(connection, job, terminal.console(stderr=True))
    if as_json:
        tables.print_json(found.as_json())
    else:
        tables.print_job(found)
    if found.state != "succeeded":
        sys.exit(1)


@options.command()
@options.database
@options.ids
@options.why
@options.json
def cancel(database: Database, ids: Sequence[str], why: str | None, as_json: bool) -> None:
    """Cancel jobs that wait or run; what a running one did is dropped."""
    _operate(operations.cancel, "cancelled", database, ids, why, as_json)


@options.command()
@options.database
@options.ids
@options.why
@options.json
def retry(database: Database, ids: Sequence[str], why: str | None, as_json: bool) -> None:
    """Put jobs that are parked, or ended without success, in again."""
    _operate(operations.retry, "put in again", database, ids, why, as_json)


@options.command()
@options.database
@options.ids
@options.why
@options.json
def remove(database: Database, ids: Sequence[str], why: str | None, as_json: bool) -> None:
    """Take jobs that wait or are parked out of their queue."""
    _operate(operations.remove, "removed", database, ids, why, as_json)


@options.command()
@options.database
@options.ids
@options.why
@options.json
def forget(database: Database, ids: Sequence[str], why: str | None, as_json: bool) -> None:
    """Drop jobs that have ended from the history."""
    _operate(operations.forget, "forgotten", database, ids, why, as_json)


def _found(connection: Any, database: Database, job_id: str) -> Job:
    job = find_job(connection, job_id)
    if job is None:
        raise CommandError(
            f"there is no job {job_id} in {database}; `zodbjobs jobs {database}` lists the ids"
        )
    return job


def _operate(
    operation: Callable[..., list[OperationResult]],
    done: str,
    database: Database,
    ids: Sequence[str],
    why: str | None,
    as_json: bool,
) -> None:
    """Print a line for each job that the operation was done to, and one for each other.

    The status is 2 if a job was refused.
    """
    with opened(database) as db:
        results = operation(db, ids, by=options.me(), why=why)
    if as_json:
        tables.print_json([result.as_json() for result in results])
    for result in () if as_json else results:
        if result.refused is None:
            click.echo(f"{done}: {result.id} {result.description}")
        else:
            CommandError(result.refused).show()
    if not all(result.done for result in results):
        sys.exit(CommandError.exit_code)
