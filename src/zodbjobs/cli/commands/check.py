"""`check`: for probes, such as those of a container or of a monitoring system."""

from __future__ import annotations

import sys

import click

from zodbjobs import defaults
from zodbjobs.cli import tables
from zodbjobs.cli.application import Database
from zodbjobs.cli.commands import options
from zodbjobs.cli.database import looked_at
from zodbjobs.cli.moments import seconds_of
from zodbjobs.insights import Health, check_health
from zodbjobs.insights.reading import reading
from zodbjobs.terminal import one_line, since

_NUMBER = click.IntRange(0)

_MAX_AGE = defaults.HEARTBEAT_SECONDS * defaults.MISSED_HEARTBEATS


@options.command()
@options.database
@click.option("--queue", "queues", multiple=True, metavar="NAME", help="Only this; repeatable.")
@click.option("--worker", metavar="ID", help="Only this worker; the beginning of its id.")
@click.option("--here", is_flag=True, help="Only the workers of this machine, or container.")
@click.option(
    "--min-workers", type=click.IntRange(1), default=1, show_default=True, metavar="N",
    help="How many must work.",
)  # fmt: skip
@click.option(
    "--max-age", type=seconds_of, metavar="SPAN",
    help="A worker works if its last sign of life isn't older: 90s, 5m, 1h; three heartbeats, "
    f"{_MAX_AGE:g}s, if left out.",
)  # fmt: skip
@click.option(
    "--max-wait", type=seconds_of, metavar="SPAN", help="A due job may have waited so long."
)
@click.option(
    "--max-waiting", type=_NUMBER, metavar="N", help="So many due jobs of a queue may wait."
)
@click.option(
    "--max-parked", type=_NUMBER, metavar="N", help="So many jobs of a queue may be parked."
)
@click.option(
    "--max-late", type=seconds_of, metavar="SPAN", help="A schedule may be late by so much."
)
@options.json
def check(
    database: Database,
    queues: tuple[str, ...],
    worker: str | None,
    here: bool,
    min_workers: int,
    max_age: float | None,
    max_wait: float | None,
    max_waiting: int | None,
    max_parked: int | None,
    max_late: float | None,
    as_json: bool,
) -> None:
    """Tell in one line, and by the status, whether the jobs of DATABASE are being run.

    The status is 0 if workers work, and each queue has one; 1 if something is wrong, and the line
    says what, and the cure; 2 if nothing can be told, as the database can't be opened, or for
    wrong usage. How many jobs wait, and for how long, is looked at if a limit is given.

    Nothing is written, a file is opened read-only, and the work is bounded however many jobs
    there are. With --here it is a probe of the worker in the same container: queues that aren't
    named by --queue may be those of other workers then.
    """
    with looked_at(database) as db, reading(db) as connection:
        health = check_health(
            connection,
            queues=queues or None,
            worker=worker,
            here=here,
            min_workers=min_workers,
            max_age=max_age,
            max_waiting=max_waiting,
            max_wait=max_wait,
            max_parked=max_parked,
            max_late=max_late,
        )
    if as_json:
        tables.print_json(health.as_json())
    else:
        click.echo(_line(health))
    sys.exit(0 if health.ok else 1)


def _line(health: Health) -> str:
    if health.problems:
        return one_line(f"failing: {'; '.join(each.text for each in health.problems)}")
    workers = "1 worker works" if health.workers == 1 else f"{health.workers} workers work"
    words = [f"ok: {workers}, the last sign of life was {since(health.last_sign)}"]
    if health.others:
        words.append(f"{health.others} of {health.others + health.workers} don't any more")
    if health.stuck_threads:
        words.append(f"{health.stuck_threads} threads don't return from jobs that have timed out")
    if health.oldest_waiting:
        words.append(f"the oldest due job came {since(health.oldest_waiting)}")
    return "; ".join(words)
