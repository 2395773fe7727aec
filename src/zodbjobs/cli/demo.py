"""``zodbjobs demo``: a student portal, a worker, and jobs that are watched and checked."""

from __future__ import annotations

import contextlib
import logging
import shlex
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import track
from rich.table import Table
from rich.text import Text

from zodbjobs.cli import portal
from zodbjobs.cli.bars import Row, face_for
from zodbjobs.cli.database import opened, reading
from zodbjobs.cli.look import duration, since, state_text
from zodbjobs.cli.orders import Orders, broken_promises, exported, put_all
from zodbjobs.cli.problem import Problem, one_line
from zodbjobs.insights import JobDetails, JobInfo, job_details, job_info
from zodbjobs.installer import install
from zodbjobs.interfaces import SUCCEEDED
from zodbjobs.runtime.worker import Worker
from zodbjobs.stored.job import Job

_THREADS = 4
_MAKE_BATCH = 2_000  # students that are committed together

_LOOK_SECONDS = 0.1
_PATIENCE_SECONDS = 60.0  # without any change; then something hangs, and that is said
_STOP_SECONDS = 1.0  # after Ctrl-C
_MOST_LOGGED = 10


def run(console: Console, keep: Path | None, students: int, seconds: float) -> bool:
    """Run the demo; whether all was as promised.

    Leaves the database and the CSV file in the directory `keep`, else nothing. Raises
    Problem if there are any already.
    """
    with _directory(keep) as directory:
        path = directory / "Data.fs"
        with opened(str(path), create=True) as db, reading(db) as connection:
            orders, logged = _work(console, db, connection, students, seconds)
            broken = broken_promises(connection, orders)
            _print_summary(console, orders)
            _print_export(console, orders.export, len(connection.root()["students"]), keep)
            export_id = orders.export.id
    _print_verdict(console, broken, logged)
    _print_next(console, keep, export_id)
    return not broken


@contextlib.contextmanager
def _directory(keep: Path | None) -> Iterator[Path]:
    if keep is None:
        with tempfile.TemporaryDirectory(prefix="zodbjobs-") as made:
            yield Path(made)
        return
    for name in ("Data.fs", "Data.fs.blobs", "students.csv"):
        if (keep / name).exists():
            raise Problem(f"{keep / name} is there already; name another directory with --keep")
    try:
        keep.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise Problem(f"can't make {keep} ({one_line(error)}); name another directory") from error
    yield keep


# The work


def _work(
    console: Console, db: Any, connection: Any, students: int, seconds: float
) -> tuple[Orders, list[str]]:
    """Make the portal, start the worker, put the jobs, and watch them until they end.

    Returns the jobs and what was logged, apart from the failure that is meant to be.
    """
    start = time.monotonic()
    install(db)
    _make_portal(console, connection, students)
    took = duration(time.monotonic() - start)
    console.print(f"Made a portal of {students:,} students in {took}.")
    with _logs_are_caught() as logged, Worker(db, threads=_THREADS, stop_seconds=_STOP_SECONDS):
        orders = put_all(connection, seconds)
        console.print(
            f"A worker with {_THREADS} threads runs {len(orders.all()):,} jobs, "
            "put in one transaction:\n"
        )
        _follow(console, connection, orders)
    meant = orders.failing.failure
    return orders, [line for line in logged if meant is None or meant.message not in line]


def _make_portal(console: Console, connection: Any, count: int) -> None:
    manager = connection.transaction_manager
    manager.begin()
    portal.new_portal(connection)
    students = connection.root()["students"]
    made = portal.make_students(count)
    shown = track(made, "Making students", count, console=console, transient=True)
    for number, student in enumerate(shown, 1):
        students[student["matric_number"]] = student
        if number % _MAKE_BATCH == 0:
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
    """Catch what would be logged, and let the jobs' own lines be kept with them."""
    catcher, jobs_log = _Catcher(), portal.log
    handlers, level = list(logging.root.handlers), jobs_log.level
    logging.root.handlers[:] = [catcher]
    jobs_log.setLevel(logging.INFO)
    try:
        yield catcher.lines
    finally:
        jobs_log.setLevel(level)
        logging.root.handlers[:] = handlers


# What is seen of it


def _follow(console: Console, connection: Any, orders: Orders) -> None:
    """Show the jobs until they have ended, each look in a new transaction."""
    small = _SmallJobs(orders)
    changed, before = time.monotonic(), None
    with face_for(console) as face:
        while time.monotonic() < changed + _PATIENCE_SECONDS:
            connection.transaction_manager.begin()
            infos = [(name, job_info(job)) for name, job in orders.named()]
            rows = [*(_row(name, info) for name, info in infos), small.row()]
            face.show(rows)
            if not small.running and all(info.outcome or info.parked for _, info in infos):
                break
            shown = [row[:4] for row in rows]
            if shown != before:
                changed, before = time.monotonic(), shown
            time.sleep(_LOOK_SECONDS)


def _row(name: str, info: JobInfo) -> Row:
    text = info.parked or info.failure or info.message or ""
    if info.state == "scheduled":
        text = since(info.begin_after)
    return Row(name, info.state, info.percent, one_line(text), info.seconds)


class _SmallJobs:
    """Counts those that have ended; only the others are looked at again."""

    def __init__(self, orders: Orders) -> None:
        self._name = orders.names[-1]
        self._count = len(orders.small)
        self.running = orders.small
        self._outcomes: Counter[str] = Counter()
        self._starts: list[datetime] = []
        self._ends: list[datetime] = []

    def row(self) -> Row:
        """How it stands with them in this transaction."""
        running = []
        for job in self.running:
            outcome = job.outcome or (job.parked and "parked")
            if outcome is None:
                running.append(job)
                continue
            self._outcomes[outcome] += 1
            self._starts += [job.started] if job.started else []
            self._ends += [job.finished] if job.finished else []
        self.running = running
        done = self._count - len(running)
        text = f"{done:,} of {self._count:,}"
        return Row(self._name, self._state(), 100.0 * done / self._count, text, self.seconds)

    @property
    def seconds(self) -> float | None:
        """From the first start to the last end so far."""
        if not self._starts or not self._ends:
            return None
        return (max(self._ends) - min(self._starts)).total_seconds()

    def _state(self) -> str:
        if self.running:
            return "active" if self._outcomes else "waiting"
        return min(set(self._outcomes) - {SUCCEEDED}, default=SUCCEEDED)


# What is said of it


def _print_summary(console: Console, orders: Orders) -> None:
    table = Table(box=None, pad_edge=False, header_style="dim")
    table.add_column("JOB", no_wrap=True)
    table.add_column("OUTCOME", no_wrap=True)
    table.add_column("TOOK", no_wrap=True, justify="right")
    table.add_column("RESULT", overflow="fold")
    for name, job in orders.named():
        info = job_details(job)
        table.add_row(name, state_text(info.state), duration(info.seconds), _result_of(info))
    table.add_row(*_small_cells(orders))
    console.print(table)


def _small_cells(orders: Orders) -> tuple[str | Text, ...]:
    small = _SmallJobs(orders)
    row = small.row()
    text = row.text
    if small.seconds and not small.running:
        pace = len(orders.small) / small.seconds
        text = f"{pace:,.0f} jobs a second, each with a commit of its own"
    return row.name, state_text(row.state), duration(row.seconds), text


def _result_of(info: JobDetails) -> str:
    text = info.failure or info.parked or info.result or ""
    if info.started and info.created and info.begin_after and info.begin_after > info.created:
        late = (info.started - info.begin_after).total_seconds()
        text += f", begun {duration(late)} after it was due"
    return text


def _print_export(console: Console, job: Job, students: int, keep: Path | None) -> None:
    """Where the CSV file is, and whether it has as many rows as there are students."""
    rows = exported(job)
    if rows is None:
        return
    blob = Path(job.result.committed())
    size = f"{blob.stat().st_size / 1e6:.1f} MB"
    place = "a blob in the database"
    if keep is not None:
        shutil.copyfile(blob, keep / "students.csv")
        place = str(keep / "students.csv")
    console.print(
        f"\nThe CSV is {place}: {size}, {len(rows):,} rows; the database has "
        f"{students:,} students.",
        soft_wrap=True,
    )


def _print_verdict(console: Console, broken: list[str], logged: list[str]) -> None:
    for line in broken:
        console.print(Text(f"Not as promised: {one_line(line)}", "bold red"), soft_wrap=True)
    for line in logged[:_MOST_LOGGED]:
        console.print(Text(f"Logged: {one_line(line)}", "yellow"), soft_wrap=True)
    if not broken:
        console.print(Text("All as promised.", "bold green"))


def _print_next(console: Console, keep: Path | None, export_id: str | None) -> None:
    if keep is None:
        console.print("\nThe database is removed; zodbjobs demo --keep DIR leaves it to look at.")
        return
    command = "zodbjobs" if shutil.which("zodbjobs") else sys.argv[0]
    path = shlex.quote(str(keep / "Data.fs"))
    console.print("\nThe database is left to look at:\n")
    for words in (f"jobs {path}", f"stats {path}", f"show {path} {export_id}"):
        console.print(f"  {command} {words}", soft_wrap=True)
