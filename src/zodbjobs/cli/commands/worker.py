"""`worker`, `workers` and `agents`: what runs jobs."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import click

from zodbjobs import defaults, operations
from zodbjobs.cli import supervisor, tables
from zodbjobs.cli.application import Application, Database
from zodbjobs.cli.commands import options
from zodbjobs.cli.database import SERVER_SECONDS, opened
from zodbjobs.cli.errors import CommandError
from zodbjobs.cli.log_output import set_up_logging
from zodbjobs.cli.worker_command import run_worker
from zodbjobs.insights import (
    list_workers,
    stored_agents,
)
from zodbjobs.insights.reading import reading


@options.command()
@options.database
@click.option("--queue", "queues", multiple=True, metavar="NAME", help="Only this; repeatable.")
@click.option(
    "--threads", type=click.IntRange(1), default=defaults.THREADS, show_default=True,
    help="Jobs that run at a time.",
)  # fmt: skip
@click.option(
    "--processes", type=click.IntRange(1), default=1, show_default=True,
    help="Workers, each a process with its threads.",
)  # fmt: skip
@click.option(
    "--address", metavar="ADDRESS",
    help="Serve the file at HOST:PORT, or at the path of a Unix socket.",
)  # fmt: skip
@click.option("--create", is_flag=True, help="Make the file if it is missing.")
@click.option(
    "--schedules", metavar="MODULE:NAME", help="A list of the schedules that the code declares."
)
def worker(
    database: Database,
    queues: tuple[str, ...],
    threads: int,
    processes: int,
    address: str | None,
    create: bool,
    schedules: str | None,
) -> None:
    """Run the jobs of DATABASE until SIGTERM or Ctrl-C.

    Makes the queues if the database has none. Running jobs get 30 seconds to end; another
    signal, a second or more after the first, ends the process at once, and the next worker
    runs their jobs again. The status is 1 if too many threads didn't return from jobs that
    had timed out, so that the process is to be replaced; --processes does that.

    A file has room for one process. With --processes 2, or with --address, a ZEO server
    shares it: the workers use that, and so does an application on this machine, which opens
    the URI zeo:///path/to/DATABASE.sock with the blobs in DATABASE.blobs. The URI is printed,
    and is in DATABASE.zeo while the server runs; jobs, put and the other commands find it
    there by themselves. Who can open the socket, or reach the port, can change the database.
    """
    names = list(queues) or None
    if isinstance(database, Application):
        if create or address:
            raise CommandError(
                f"--create and --address are for paths; {database} says where its data are"
            )
        if processes > 1:
            sys.exit(
                supervisor.supervise(database, names, threads, processes, schedules=schedules)
            )
        set_up_logging()  # until the application does it
        with database.started() as db:
            status = run_worker(db, database, names, threads, schedules)
        sys.exit(status)
    if processes > 1 or address:
        sys.exit(
            supervisor.supervise(
                database,
                names,
                threads,
                processes,
                create=create,
                address=address,
                schedules=schedules,
            )
        )
    with opened(database, create=create, alone=True, wait_seconds=SERVER_SECONDS) as db:
        status = run_worker(db, database, names, threads, schedules)
    sys.exit(status)


@options.command()
@options.database
@options.read_only
@options.json
def workers(database: Database, read_only: bool, as_json: bool) -> None:
    """List the workers: their state, what they have, and when they gave a sign of life.

    The state is running; stuck: threads don't return from jobs that have timed out; silent: its
    heartbeats are missing; gone: its process has ended.
    """
    with opened(database, read_only=read_only) as db, reading(db) as connection:
        found = list_workers(connection)
    if as_json:
        tables.print_json([worker.as_json() for worker in found])
    else:
        tables.print_workers(found)


@options.command()
@options.database
@click.option("--worker", metavar="ID", help="Those of this worker; a part of its id.")
@click.option("--queue", metavar="NAME", help="Change those for this queue alone.")
@click.option(
    "--agent", "number", type=click.IntRange(1), metavar="NUMBER", help="Change this one of it."
)
@click.option("--size", type=click.IntRange(1), help="How many jobs at a time.")
@click.option("--filter", "filter_", metavar="MODULE:FUNCTION", help="What chooses its jobs.")
@click.option("--no-filter", is_flag=True, help="Take all jobs of the queue.")
@click.option("--add", "added", metavar="QUEUE", help="Work for another agent, for this queue.")
@click.option("--remove", "removes", is_flag=True, help="Work no longer for it.")
@options.why
@options.read_only
@options.json
def agents(
    database: Database,
    worker: str | None,
    queue: str | None,
    number: int | None,
    size: int | None,
    filter_: str | None,
    no_filter: bool,
    added: str | None,
    removes: bool,
    why: str | None,
    read_only: bool,
    as_json: bool,
) -> None:
    """List the agents of the workers, or change those of one.

    --size, --filter or --no-filter change the agents of --worker that are for --queue, or the one
    with the number --agent; its only one without these. --remove removes it, and --add adds one,
    with --size and --filter. The worker follows within a second, until it starts anew: then it has
    what its command line, or its code, says. What a removed agent runs goes on, to its next
    checkpoint if it makes any. A worker keeps at least one agent: to have it do nothing, stop it
    or pause the queue.
    """
    change = _agent_change(worker, queue, number, size, filter_, no_filter, added, removes, why)
    if change is not None:
        with opened(database) as db:
            change(db)
    with opened(database, read_only=read_only) as db, reading(db) as connection:
        found = tables.agent_rows(stored_agents(connection))
    rows = [row for row in found if str(row["worker"]).startswith(worker or "")]
    if worker is not None and not rows:
        raise CommandError(
            f"no worker has an id that begins with {worker!r}; `zodbjobs agents {database}` lists "
            "all agents"
        )
    if as_json:
        tables.print_json(rows)
    else:
        tables.print_agents(rows)


def _agent_change(
    worker: str | None,
    queue: str | None,
    number: int | None,
    size: int | None,
    filter_: str | None,
    no_filter: bool,
    added: str | None,
    removes: bool,
    why: str | None,
) -> Callable[[Any], None] | None:
    """What the options of `agents` say is to be done with a database, or None."""
    says_filter = filter_ is not None or no_filter
    is_changed = size is not None or says_filter
    if not (is_changed or added is not None or removes):
        if queue is not None or number is not None:
            raise CommandError(
                "--queue and --agent choose what is changed; say --size, --filter, --no-filter or "
                "--remove too"
            )
        return None
    if worker is None:
        raise CommandError(
            "a change is of one worker; say --worker ID, as `zodbjobs agents` lists it"
        )
    if filter_ is not None and no_filter:
        raise CommandError("--filter and --no-filter contradict each other; leave one out")
    said = {"by": options.me(), "why": why}
    if added is not None:
        if removes or no_filter or queue is not None or number is not None:
            raise CommandError("--add QUEUE goes with --worker, --size and --filter only")
        more = defaults.AGENT_SIZE if size is None else size
        return lambda db: operations.add_agent(db, worker, added, more, filter_, **said)
    if removes:
        if is_changed:
            raise CommandError("--remove goes with --worker, --queue and --agent only")
        return lambda db: operations.remove_agent(db, worker, queue, number, **said)
    chosen = {"filter": filter_} if says_filter else {}
    return lambda db: operations.change_agent(
        db, worker, queue, number, size=size, **chosen, **said
    )
