"""`demo`: what the package does, seen."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from zodbjobs import terminal


@click.command("demo")
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
    CSV export, the test job, a job that fails, one that starts in 3 seconds, a sweep over all
    students, 2,000 small ones, and a schedule that puts one each second. The status is 1 if
    anything is not as promised.
    """
    from zodbjobs.demo.run import run_demo

    if not run_demo(terminal.console(), keep, students, seconds):
        sys.exit(1)
