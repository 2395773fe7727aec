"""The commands: options, and what each prints."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import click
import transaction

from zodbjobs import defaults, operations, terminal
from zodbjobs.cli import supervisor, tables
from zodbjobs.cli.database import SERVER_SECONDS, opened, reading
from zodbjobs.cli.errors import CommandError, errors_in_one_line
from zodbjobs.cli.job_parser import delay_of, make_job
from zodbjobs.cli.moments import moment_of
from zodbjobs.cli.watch import watch_job
from zodbjobs.cli.worker_command import run_worker
from zodbjobs.cli.zc_async import report
from zodbjobs.cli.zc_async.queues import find_queues
from zodbjobs.cli.zc_async.source import old_records
from zodbjobs.insights import (
    JobInfo,
    all_queue_stats,
    find_agents,
    find_job,
    is_empty,
    job_details,
    job_info,
    job_tree,
    list_jobs,
    list_workers,
    queue_stats,
    stored_agents,
)
from zodbjobs.insights.numbers import list_pauses
from zodbjobs.insights.search import STATUS_WORDS
from zodbjobs.interfaces import NEW, OUTCOMES
from zodbjobs.operations import OperationResult
from zodbjobs.runtime.storage import abilities
from zodbjobs.stored.job import Job
from zodbjobs.stored.lifecycle.root import get_queue, get_queues

# What jobs of a database can be filtered by.
_STATUS_WORDS = [word for word in STATUS_WORDS if word != NEW]

# Seconds between two looks at a queue that is drained.
_DRAIN_SECONDS = 0.25

# Attempts at the commit of a put while it conflicts.
_PUT_ATTEMPTS = 5


class _Group(click.Group):
    """Reports errors in one line, and lists commands in their order."""

    def make_context(self, *args: Any, **kwargs: Any) -> click.Context:
        with errors_in_one_line():
            return super().make_context(*args, **kwargs)

    def invoke(self, ctx: click.Context) -> Any:
        # What is in the current directory can be imported, as with ``python -m``.
        sys.path.insert(0, os.getcwd())
        with errors_in_one_line():
            return super().invoke(ctx)

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.commands)


@click.group(cls=_Group, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="zodbjobs", message="%(prog)s %(version)s")
def cli() -> None:
    """Background jobs in a ZODB.

    DATABASE is the path of a FileStorage (often Data.fs), or a URI such as
    zeo://localhost:8100. Blobs beside a path lie in PATH.blobs.

    Try `zodbjobs demo` first.
    """


_database = click.argument("database")
_ids = click.argument("ids", nargs=-1, required=True, metavar="ID...")
_json = click.option("--json", "as_json", is_flag=True, help="Write JSON.")
_read_only = click.option(
    "--read-only", is_flag=True, help="Look at a file that another process, a worker, has open."
)


@cli.command()
@_database
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
def worker(
    database: str,
    queues: tuple[str, ...],
    threads: int,
    processes: int,
    address: str | None,
    create: bool,
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
    if processes > 1 or address:
        sys.exit(
            supervisor.supervise(
                database, names, threads, processes, create=create, address=address
            )
        )
    with opened(database, create=create, alone=True, wait_seconds=SERVER_SECONDS) as db:
        status = run_worker(db, database, names, threads)
    sys.exit(status)


@cli.command(context_settings={"ignore_unknown_options": True})
@_database
@click.argument("function", metavar="MODULE:FUNCTION")
@click.argument("args", nargs=-1, type=click.UNPROCESSED, metavar="[ARG | NAME=VALUE]...")
@click.option("--queue", default="", metavar="NAME", help="The default queue if left out.")
@click.option("--priority", type=int, help="From -8 to 7, larger first.")
@click.option("--in", "delay", type=float, metavar="SECONDS", help="Not before so many seconds.")
@click.option("--timeout", type=float, metavar="SECONDS", help="End it after so many seconds.")
@click.option("--quota", "quotas", multiple=True, metavar="NAME", help="A quota; repeatable.")
@click.option("--unique", metavar="KEY", help="Print the id of a job with that key that waits.")
@click.option("--progress", is_flag=True, help="Make it a ProgressableJob.")
@_json
def put(
    database: str,
    function: str,
    args: tuple[str, ...],
    queue: str,
    priority: int | None,
    delay: float | None,
    timeout: float | None,
    quotas: tuple[str, ...],
    unique: str | None,
    progress: bool,
    as_json: bool,
) -> None:
    """Put a job that calls MODULE:FUNCTION, and print its id.

    An ARG that is JSON is taken as that, else as text: 5, '["a", 1]', true, hello; NAME=VALUE
    is a keyword argument. Modules of the current directory are found.
    """
    job, begin_after = make_job(function, args, progress), delay_of(delay)
    said: dict[str, Any] = {"begin_after": begin_after, "priority": priority, "unique": unique}
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


@cli.command()
@_database
@click.option(
    "--status",
    type=click.Choice(_STATUS_WORDS),
    metavar="STATUS",
    help=f"One of {', '.join(_STATUS_WORDS)}.",
)
@click.option("--outcome", type=click.Choice(OUTCOMES))
@click.option("--queue", metavar="NAME")
@click.option("--callable", "pattern", metavar="GLOB", help="Such as '*:export_*'.")
@click.option("--worker", metavar="ID", help="Of this worker; a part of its id.")
@click.option(
    "--agent", type=click.IntRange(1), metavar="NUMBER", help="What that agent of it has or takes."
)
@click.option("--since", type=moment_of, metavar="TIME", help="Of this time or later.")
@click.option("--until", type=moment_of, metavar="TIME", help="Before this time.")
@click.option("--limit", type=click.IntRange(1), default=50, show_default=True)
@click.option(
    "--tree", "root", metavar="ID", help="One job, with what it waits for and follows it."
)
@_read_only
@_json
def jobs(
    database: str,
    status: str | None,
    outcome: str | None,
    queue: str | None,
    pattern: str | None,
    worker: str | None,
    agent: int | None,
    since: datetime | None,
    until: datetime | None,
    limit: int,
    root: str | None,
    read_only: bool,
    as_json: bool,
) -> None:
    """List jobs, the newest first.

    A TIME is as ISO 8601, without an offset this machine's, or how long ago: 30s, 90m, 2h, 1d. A
    job's is that of its end, else of its put, or when it is due. Where few jobs pass the filters
    it looks back for 0.08 seconds, says how far it came, and goes on from there with --until.

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
            status=status,
            outcome=outcome,
            queue=queue,
            worker=worker,
            agent=chosen_agent,
            callable=pattern,
            since=since,
            until=until,
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


def _print_tree(database: str, root: str, read_only: bool, as_json: bool) -> None:
    with opened(database, read_only=read_only) as db, reading(db) as connection:
        _found(connection, database, root)
        rows = job_tree(connection, root)
    if as_json:
        tables.print_json([row.as_json() for row in rows])
    else:
        tables.print_tree(rows)


@cli.command()
@_database
@click.argument("id")
@_read_only
@_json
def show(database: str, id: str, read_only: bool, as_json: bool) -> None:
    """Show all about one job: times, result, log, traceback."""
    with opened(database, read_only=read_only) as db, reading(db) as connection:
        found = job_details(_found(connection, database, id))
    if as_json:
        tables.print_json(found.as_json())
    else:
        tables.print_job(found)


@cli.command("watch")
@_database
@click.argument("id")
@_json
def watch_(database: str, id: str, as_json: bool) -> None:
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


@cli.command()
@_database
@_ids
@_json
def cancel(database: str, ids: Sequence[str], as_json: bool) -> None:
    """Cancel jobs that wait or run; what a running one did is dropped."""
    _operate(operations.cancel, "cancelled", database, ids, as_json)


@cli.command()
@_database
@_ids
@_json
def retry(database: str, ids: Sequence[str], as_json: bool) -> None:
    """Put jobs that are parked, or ended without success, in again."""
    _operate(operations.retry, "put in again", database, ids, as_json)


@cli.command()
@_database
@_ids
@_json
def remove(database: str, ids: Sequence[str], as_json: bool) -> None:
    """Take jobs that wait or are parked out of their queue."""
    _operate(operations.remove, "removed", database, ids, as_json)


@cli.command()
@_database
@_ids
@_json
def forget(database: str, ids: Sequence[str], as_json: bool) -> None:
    """Drop jobs that have ended from the history."""
    _operate(operations.forget, "forgotten", database, ids, as_json)


@cli.command()
@_database
@_read_only
@_json
def stats(database: str, read_only: bool, as_json: bool) -> None:
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


@cli.command()
@_database
@_read_only
@_json
def workers(database: str, read_only: bool, as_json: bool) -> None:
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


_queue = click.option("--queue", default="", metavar="NAME", help="The default queue if left out.")
_match = click.option(
    "--match", metavar="GLOB", help="Only jobs that call such, as 'shop.mail:*'."
)


@cli.command()
@_database
@_queue
@click.option("--reason", required=True, metavar="TEXT", help="Why, for who will ask.")
@_match
@_json
def pause(database: str, queue: str, reason: str, match: str | None, as_json: bool) -> None:
    """Begin no jobs of a queue until it is resumed.

    What runs goes on, and jobs can be put.
    """
    with opened(database) as db:
        operations.pause(db, queue, reason, match)
    tables.print_queue_state("paused", queue, match, as_json)


@cli.command()
@_database
@_queue
@_match
@_json
def resume(database: str, queue: str, match: str | None, as_json: bool) -> None:
    """Begin jobs of a queue again, and let it take new ones."""
    with opened(database) as db:
        was_paused = operations.resume(db, queue, match)
    state = "resumed" if was_paused else "was not paused"
    tables.print_queue_state(state, queue, match, as_json)


@cli.command()
@_database
@_queue
@click.option(
    "--reason", default="it is being emptied", show_default=True, metavar="TEXT",
    help="Why, for who will ask.",
)  # fmt: skip
@_json
def drain(database: str, queue: str, reason: str, as_json: bool) -> None:
    """Let a queue take no new jobs, and wait until it is empty.

    Puts into it raise an error that names the reason. Jobs that were put go on to their end, and
    may put callbacks and parts. Parked ones aren't waited for. It stays so until `zodbjobs
    resume`, also if this command is interrupted.
    """
    with opened(database) as db, reading(db) as connection:
        operations.drain(db, queue, reason)
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


@cli.command()
@_database
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
@_read_only
@_json
def agents(
    database: str,
    worker: str | None,
    queue: str | None,
    number: int | None,
    size: int | None,
    filter_: str | None,
    no_filter: bool,
    added: str | None,
    removes: bool,
    read_only: bool,
    as_json: bool,
) -> None:
    """List the agents of the workers, or change those of one.

    --size, --filter or --no-filter change the agents of --worker that are for --queue, or the one
    with the number --agent; its only one without these. --remove removes it, and --add adds one,
    with --size and --filter. The worker follows within a second, until it starts anew: then it has
    what its command line, or its code, says. What a removed agent runs goes on. A worker keeps at
    least one agent: to have it do nothing, stop it or pause the queue.
    """
    change = _agent_change(worker, queue, number, size, filter_, no_filter, added, removes)
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
    if added is not None:
        if removes or no_filter or queue is not None or number is not None:
            raise CommandError("--add QUEUE goes with --worker, --size and --filter only")
        more = {} if size is None else {"size": size}
        return lambda db: operations.add_agent(db, worker, added, filter=filter_, **more)
    if removes:
        if is_changed:
            raise CommandError("--remove goes with --worker, --queue and --agent only")
        return lambda db: operations.remove_agent(db, worker, queue, number)
    chosen = {"filter": filter_} if says_filter else {}
    return lambda db: operations.change_agent(db, worker, queue, number, size=size, **chosen)


@cli.command("demo")
@click.option(
    "--keep", type=click.Path(file_okay=False, path_type=Path), metavar="DIR",
    help="Leave the database and the CSV file here to look at.",
)  # fmt: skip
@click.option("--students", type=click.IntRange(20), default=20_000, show_default=True)
@click.option(
    "--seconds", type=click.FloatRange(0.1), default=8.0, show_default=True,
    help="How long the test job computes.",
)  # fmt: skip
def demo_(keep: Path | None, students: int, seconds: float) -> None:
    """Run real jobs on a student portal's database, with live bars.

    Makes a FileStorage with student records, starts a worker, and puts in one transaction: a
    CSV export, the test job, a job that fails, one that starts in 3 seconds, and 2,000 small
    ones. The status is 1 if anything is not as promised.
    """
    from zodbjobs.demo.run import run_demo

    if not run_demo(terminal.console(), keep, students, seconds):
        sys.exit(1)


@cli.command("zc-async")
@_database
@click.option("--all", "with_ended", is_flag=True, help="List those that have ended, too.")
@_json
def zc_async_(database: str, with_ended: bool, as_json: bool) -> None:
    """List what is left in the queues of zc.async, and how to put it again.

    Reads a file that Python 2 has written, and that the old application may have open. Needs
    no code of it, imports none, and changes nothing. For each job there is a line of Python
    that puts it into a queue of zodbjobs, or the reason why there is none.
    """
    with old_records(database) as records:
        queues = find_queues(records, database)
        if as_json:
            tables.print_json(report.as_json(queues, with_ended))
        else:
            report.print_queues(queues, with_ended)


def _found(connection: Any, database: str, job_id: str) -> Job:
    job = find_job(connection, job_id)
    if job is None:
        raise CommandError(
            f"there is no job {job_id} in {database}; `zodbjobs jobs {database}` lists the ids"
        )
    return job


def _operate(
    operation: Callable[[Any, Sequence[str]], list[OperationResult]],
    done: str,
    database: str,
    ids: Sequence[str],
    as_json: bool,
) -> None:
    """Print a line for each job that the operation was done to, and one for each other.

    The status is 2 if a job was refused.
    """
    with opened(database) as db:
        results = operation(db, ids)
    if as_json:
        tables.print_json([result.as_json() for result in results])
    for result in () if as_json else results:
        if result.refused is None:
            click.echo(f"{done}: {result.id} {result.description}")
        else:
            CommandError(result.refused).show()
    if not all(result.done for result in results):
        sys.exit(CommandError.exit_code)


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
