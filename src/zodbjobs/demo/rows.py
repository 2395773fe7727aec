"""The rows of the demo: how each job stands, and the small ones together."""

from __future__ import annotations

from collections import Counter
from datetime import datetime

from zodbjobs.demo.live_display import Row
from zodbjobs.demo.workload import Workload
from zodbjobs.insights import JobInfo
from zodbjobs.interfaces import SUCCEEDED
from zodbjobs.stored.schedule import Schedule
from zodbjobs.terminal import one_line, since


def row_of(name: str, info: JobInfo) -> Row:
    """The row of one job."""
    text = info.parked or info.failure or info.message or ""
    if info.state == "scheduled":
        text = since(info.begin_after)
    return Row(name, info.state, info.percent, one_line(text), info.seconds)


def row_of_schedule(schedule: Schedule) -> Row:
    """The row of a schedule: how often it has put a job, and when it does next."""
    text = schedule.paused or f"{schedule.fired:,} so far, next {since(schedule.next)}"
    state = "active" if schedule.paused is None else "paused"
    return Row(f"{schedule.name}, each second", state, None, one_line(text), None)


class SmallJobs:
    """The small jobs together. Only those that haven't ended are read again."""

    def __init__(self, workload: Workload) -> None:
        self._name = workload.names[-1]
        self._count = len(workload.small)
        self.running = workload.small
        self._outcomes: Counter[str] = Counter()
        self._starts: list[datetime] = []
        self._ends: list[datetime] = []

    def row(self) -> Row:
        """The row of all of them, read in the current transaction."""
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
        """Seconds from the first start to the last end so far, or None."""
        if not self._starts or not self._ends:
            return None
        return (max(self._ends) - min(self._starts)).total_seconds()

    def _state(self) -> str:
        if self.running:
            return "active" if self._outcomes else "waiting"
        return min(set(self._outcomes) - {SUCCEEDED}, default=SUCCEEDED)
