"""Shows one job until it has ended: a live bar in a terminal, lines in a pipe."""

from __future__ import annotations

import time
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from zodbjobs.insights import JobDetails, JobInfo, job_details, job_info
from zodbjobs.stored.job import Job
from zodbjobs.terminal import state_text

# Seconds between two reads of the job.
_POLL_SECONDS = 0.1

# Seconds between two lines in a pipe, while only the percentage changes.
_LINE_SECONDS = 2.0


def watch_job(connection: Any, job: Job, console: Console) -> JobDetails:
    """Show the job on `console` until it has ended or is parked.

    Begins a transaction of the connection for each read. Raises what the storage raises.
    """
    display = _Bar(console) if console.is_terminal else _Lines(console)
    with display:
        while True:
            connection.transaction_manager.begin()
            info = job_info(job)
            display.show(info)
            if info.outcome is not None or info.parked is not None:
                return job_details(job)
            time.sleep(_POLL_SECONDS)


class _Lines:
    """Lines in a pipe, one for each change."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._state = ""
        self._written = (0.0, "")

    def __enter__(self) -> _Lines:
        return self

    def __exit__(self, *exc_info: object) -> None:
        pass

    def show(self, info: JobInfo) -> None:
        """Write a line if something has changed."""
        text = _text(info)
        at, written = self._written
        now = time.monotonic()
        if info.state == self._state and (text == written or now < at + _LINE_SECONDS):
            return
        self._state, self._written = info.state, (now, text)
        self._console.print(f"{info.id} {info.description} {info.state} {text}".rstrip())


class _Bar:
    """A live bar in a terminal."""

    def __init__(self, console: Console) -> None:
        self._progress = Progress(
            TextColumn("{task.fields[job]}"),
            TextColumn("{task.fields[state]}"),
            BarColumn(),
            TextColumn("{task.fields[text]}"),
            TimeElapsedColumn(),
            console=console,
            transient=True,
        )
        self._task: TaskID | None = None

    def __enter__(self) -> _Bar:
        self._progress.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._progress.stop()

    def show(self, info: JobInfo) -> None:
        """Draw the bar anew."""
        if self._task is None:
            self._task = self._progress.add_task("", total=None, job="", state="", text="")
        self._progress.update(
            self._task,
            total=None if info.percent is None else 100.0,
            completed=info.percent or 0.0,
            job=f"{info.id} {info.description}",
            state=state_text(info.state),
            text=_text(info),
        )


def _text(info: JobInfo) -> str:
    parts = ["" if info.percent is None else f"{info.percent:.0f} %", info.message or ""]
    return " ".join(part for part in parts if part)
