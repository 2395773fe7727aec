"""The report of the demo: outcomes, the exported file, the verdict, and what to do next."""

from __future__ import annotations

import shlex
import shutil
import sys
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from zodbjobs.demo.checks import exported
from zodbjobs.demo.rows import SmallJobs, row_of_schedule
from zodbjobs.demo.workload import Workload
from zodbjobs.insights import JobDetails, job_details
from zodbjobs.stored.job import Job
from zodbjobs.terminal import duration, one_line, state_text

# Lines of the log that are shown at most.
_MOST_LOGGED = 10


def print_summary(console: Console, workload: Workload) -> None:
    """Print a table of the jobs and their outcomes."""
    table = Table(box=None, pad_edge=False, header_style="dim")
    table.add_column("JOB", no_wrap=True)
    table.add_column("OUTCOME", no_wrap=True)
    table.add_column("TOOK", no_wrap=True, justify="right")
    table.add_column("RESULT", overflow="fold")
    for name, job in workload.named():
        info = job_details(job)
        table.add_row(name, state_text(info.state), duration(info.seconds), _result_of(info))
    table.add_row(*_small_cells(workload))
    table.add_row(*_schedule_cells(workload))
    console.print(table)


def _small_cells(workload: Workload) -> tuple[str | Text, ...]:
    small = SmallJobs(workload)
    row = small.row()
    text = row.text
    if small.seconds and not small.running:
        pace = len(workload.small) / small.seconds
        text = f"{pace:,.0f} jobs a second, each with a commit of its own"
    return row.name, state_text(row.state), duration(row.seconds), text


def _schedule_cells(workload: Workload) -> tuple[str | Text, ...]:
    schedule = workload.bell
    row = row_of_schedule(schedule)
    text = row.text if schedule.paused else f"{schedule.fired:,} jobs, each for a time of its own"
    return row.name, state_text(row.state), "", text


def _result_of(info: JobDetails) -> str:
    text = info.failure or info.parked or info.result or ""
    if info.started and info.created and info.begin_after and info.begin_after > info.created:
        late = (info.started - info.begin_after).total_seconds()
        text += f", begun {duration(late)} after it was due"
    return text


def print_export(console: Console, job: Job, students: int, keep: Path | None) -> None:
    """Print where the CSV file is, and how many rows it has. Copies it to `keep`."""
    rows = exported(job)
    if rows is None:
        return
    blob = Path(job.result.committed())
    size = f"{blob.stat().st_size / 1e6:.1f} MB"
    where = "a blob in the database"
    if keep is not None:
        shutil.copyfile(blob, keep / "students.csv")
        where = str(keep / "students.csv")
    console.print(
        f"\nThe CSV is {where}: {size}, {len(rows):,} rows; the database has "
        f"{students:,} students.",
        soft_wrap=True,
    )


def print_verdict(console: Console, broken: list[str], logged: list[str]) -> None:
    """Print what wasn't as promised, and what was logged, or that all is well."""
    for line in broken:
        console.print(Text(f"Not as promised: {one_line(line)}", "bold red"), soft_wrap=True)
    for line in logged[:_MOST_LOGGED]:
        console.print(Text(f"Logged: {one_line(line)}", "yellow"), soft_wrap=True)
    if not broken:
        console.print(Text("All as promised.", "bold green"))


def print_next(console: Console, keep: Path | None, export_id: str | None) -> None:
    """Print the commands that look at what was kept."""
    if keep is None:
        console.print("\nThe database is removed; zodbjobs demo --keep DIR leaves it to look at.")
        return
    command = "zodbjobs" if shutil.which("zodbjobs") else sys.argv[0]
    path = shlex.quote(str(keep / "Data.fs"))
    console.print("\nThe database is left to look at:\n")
    commands = (f"jobs {path}", f"stats {path}", f"schedules {path}", f"show {path} {export_id}")
    for words in commands:
        console.print(f"  {command} {words}", soft_wrap=True)
