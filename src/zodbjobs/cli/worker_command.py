"""``zodbjobs worker`` in one process, and what it shares with the supervisor of several."""

from __future__ import annotations

import importlib
from typing import Any

from zodbjobs import terminal
from zodbjobs.cli.application import Application, Database
from zodbjobs.cli.errors import CommandError, without_passwords
from zodbjobs.cli.log_output import set_up_logging
from zodbjobs.insights import all_queue_stats
from zodbjobs.insights.reading import reading
from zodbjobs.installer import install
from zodbjobs.runtime.worker import Worker
from zodbjobs.stored.lifecycle import declaring
from zodbjobs.stored.lifecycle.root import get_queues
from zodbjobs.stored.schedule import Schedule

# The database that multidb.zcml is for.
_APART = "async"

#: How to stop a worker or a supervisor, for people.
HOW_TO_STOP = "Ctrl-C or SIGTERM stops it in order, another one a second later at once."


def run_worker(
    db: Any,
    database: Database,
    queues: list[str] | None,
    threads: int,
    schedules: str | None = None,
) -> int:
    """Work in this process until a signal; returns the status to exit with, as Worker.run.

    `schedules`: MODULE:NAME of a list of those that the code declares. Logs to stderr, unless the
    database is of an application, which has a log of its own.

    Raises UnknownQueue, CommandError if there is no such list, and what the storage raises.
    """
    declared = found_schedules(schedules)
    work = make_queues(db, database, queues)
    terminal.console(stderr=True).print(
        f"Serving {served_text(database)} with {threads_text(threads)}: {work}\n{HOW_TO_STOP}",
        soft_wrap=True,
    )
    if not isinstance(database, Application):
        set_up_logging()
    return Worker(db, queues, threads, schedules=declared).run()


def found_schedules(path: str | None) -> list[Schedule]:
    """The schedules that ``module:name`` is a list of; none for None.

    Raises CommandError if there is no such list.
    """
    if path is None:
        return []
    module, _, name = path.partition(":")
    try:
        found = getattr(importlib.import_module(module), name)
    except (Exception, SystemExit) as error:
        raise CommandError(
            f"--schedules {path}: {type(error).__name__}: {error}; write MODULE:NAME, the name of "
            "a list of zodbjobs.Schedule"
        ) from error
    try:
        return list(declaring.checked(found))
    except (TypeError, ValueError) as error:
        raise CommandError(
            f"--schedules {path}: {error}; give the name of a list of zodbjobs.Schedule"
        ) from error


def make_queues(db: Any, database: Database, queues: list[str] | None) -> str:
    """Make the queues of a database that has none, and commit; returns what there is to do.

    Those of an application with a database named ``async`` are made in that one. Raises
    UnknownQueue for one of `queues` that isn't there, ReadOnlyError on a read-only storage.
    """
    apart = isinstance(database, Application) and _APART in db.databases
    install(db, _APART if apart else None)
    with reading(db) as connection:
        stored = get_queues(connection)
        names = [stored[name].name for name in queues or stored]
        stats = [s for s in all_queue_stats(connection, minutes=1) if s.name in names]
    unfinished = sum(s.waiting + s.scheduled + s.assigned + s.active for s in stats)
    jobs = "1 job" if unfinished == 1 else f"{unfinished:,} jobs"
    return f"{', '.join(map(terminal.queue_text, names))}; {jobs} to do."


def served_text(database: Database) -> str:
    """What is served, for people."""
    return database.shown if isinstance(database, Application) else without_passwords(database)


def threads_text(threads: int) -> str:
    """The number of threads for people."""
    return "1 thread" if threads == 1 else f"{threads} threads"
