"""One run of the demo: a student portal, a worker, and jobs that are watched and checked."""

from __future__ import annotations

import contextlib
import logging
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import track
from ZODB.DB import DB
from ZODB.FileStorage import FileStorage

from zodbjobs.demo import portal
from zodbjobs.demo.checks import broken_promises
from zodbjobs.demo.live_display import display_for
from zodbjobs.demo.report import print_export, print_next, print_summary, print_verdict
from zodbjobs.demo.rows import SmallJobs, row_of, row_of_schedule
from zodbjobs.demo.workload import Workload, put_all
from zodbjobs.errors import BadArgument
from zodbjobs.insights import job_info
from zodbjobs.insights.reading import reading
from zodbjobs.installer import install
from zodbjobs.runtime.worker import Worker
from zodbjobs.terminal import duration, one_line

# Threads of the worker.
_THREADS = 5

# Students that are committed together.
_STUDENTS_PER_COMMIT = 2_000

# Objects that a connection keeps in memory.
_CACHE_SIZE = 10_000

# Seconds between two reads of the jobs.
_POLL_SECONDS = 0.1

# Seconds without any change; then something hangs, and that is reported.
_PATIENCE_SECONDS = 60.0

# Seconds that running jobs have to end after Ctrl-C.
_STOP_SECONDS = 1.0


def run_demo(console: Console, keep: Path | None, students: int, seconds: float) -> bool:
    """Run the demo, with `students` and a test job of `seconds`; whether all was as promised.

    Leaves the database and the CSV file in the directory `keep`, else nothing. Raises
    BadArgument if there are any already, or if the directory can't be made.
    """
    with (
        _directory(keep) as directory,
        _database(directory) as db,
        reading(db) as connection,
    ):
        workload, logged = _work(console, db, connection, students, seconds)
        broken = broken_promises(connection, workload)
        print_summary(console, workload)
        print_export(console, workload.export, len(connection.root()["students"]), keep)
        export_id = workload.export.id
        # Whoever starts a worker on what is kept needn't have it ring on.
        connection.transaction_manager.begin()
        workload.bell.pause("the demo is over")
        connection.transaction_manager.commit()
    print_verdict(console, broken, logged)
    print_next(console, keep, export_id)
    return not broken


@contextlib.contextmanager
def _directory(keep: Path | None) -> Iterator[Path]:
    if keep is None:
        with tempfile.TemporaryDirectory(prefix="zodbjobs-") as made:
            yield Path(made)
        return
    for name in ("Data.fs", "Data.fs.blobs", "students.csv"):
        if (keep / name).exists():
            raise BadArgument(
                f"{keep / name} is there already; name another directory with --keep"
            )
    try:
        keep.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise BadArgument(
            f"can't make {keep} ({one_line(error)}); name another directory"
        ) from error
    yield keep


@contextlib.contextmanager
def _database(directory: Path) -> Iterator[Any]:
    # The blobs are where the command line looks for them.
    path = str(directory / "Data.fs")
    with contextlib.closing(
        DB(FileStorage(path, blob_dir=f"{path}.blobs"), cache_size=_CACHE_SIZE)
    ) as db:
        yield db


def _work(
    console: Console, db: Any, connection: Any, students: int, seconds: float
) -> tuple[Workload, list[str]]:
    """Make the portal, start the worker, put the jobs, and show them until they end.

    Returns the jobs and what was logged, apart from the failure that is meant to be.
    """
    start = time.monotonic()
    install(db)
    _make_portal(console, connection, students)
    took = duration(time.monotonic() - start)
    console.print(f"Made a portal of {students:,} students in {took}.")
    with _logs_are_caught() as logged, Worker(db, threads=_THREADS, stop_seconds=_STOP_SECONDS):
        workload = put_all(connection, seconds)
        console.print(
            f"A worker with {_THREADS} threads runs {len(workload.all()):,} jobs and a schedule, "
            "put in one transaction:\n"
        )
        _follow(console, connection, workload)
    meant = workload.failing.failure
    return workload, [line for line in logged if meant is None or meant.message not in line]


def _make_portal(console: Console, connection: Any, count: int) -> None:
    manager = connection.transaction_manager
    manager.begin()
    portal.new_portal(connection)
    students = connection.root()["students"]
    made = portal.make_students(count)
    shown = track(made, "Making students", count, console=console, transient=True)
    for number, student in enumerate(shown, 1):
        students[student["matric_number"]] = student
        if number % _STUDENTS_PER_COMMIT == 0:
            manager.commit()
    manager.commit()


class _Catcher(logging.Handler):
    """Keeps warnings and errors, which would get into the bars."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.setFormatter(logging.Formatter("%(levelname)s %(name)s: %(message)s"))
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(self.format(record))


@contextlib.contextmanager
def _logs_are_caught() -> Iterator[list[str]]:
    """Catch what would be logged to the terminal, and let the jobs log what is INFO."""
    catcher, jobs_log = _Catcher(), portal.log
    handlers, level = list(logging.root.handlers), jobs_log.level
    logging.root.handlers[:] = [catcher]
    jobs_log.setLevel(logging.INFO)
    try:
        yield catcher.lines
    finally:
        jobs_log.setLevel(level)
        logging.root.handlers[:] = handlers


def _follow(console: Console, connection: Any, workload: Workload) -> None:
    """Show the jobs until they have ended, each look in a new transaction."""
    small = SmallJobs(workload)
    changed, before = time.monotonic(), None
    with display_for(console) as display:
        while time.monotonic() < changed + _PATIENCE_SECONDS:
            connection.transaction_manager.begin()
            infos = [(name, job_info(job)) for name, job in workload.named()]
            rows = [*(row_of(name, info) for name, info in infos), small.row()]
            display.show([*rows, row_of_schedule(workload.bell)])
            if (
                not small.running
                and all(info.outcome or info.parked for _, info in infos)
                and (workload.bell.paused or connection.root()["bell"])
            ):
                break
            # Of the schedule there is always something new.
            shown = [row[:4] for row in rows]
            if shown != before:
                changed, before = time.monotonic(), shown
            time.sleep(_POLL_SECONDS)
