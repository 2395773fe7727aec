"""Measures: what a worker's process counts of its commits and conflicts."""

from __future__ import annotations

import threading
from bisect import bisect_left
from collections import Counter, deque

from zodbjobs import defaults
from zodbjobs.stored.counters import Counters, Measured

#: A job that wrote to the database, with the results that waited and go along.
JOB = "job"
#: Transactional jobs that share a commit.
TOGETHER = "together"
#: What a job has done so far, that goes on.
CHECKPOINT = "checkpoint"
#: Results of jobs that wrote nothing, together.
RESULTS = "results"
#: A step of the dispatcher: what ended is booked, what is due is claimed.
STEP = "step"

KINDS = (JOB, TOGETHER, CHECKPOINT, RESULTS, STEP)

_COMMIT_BOUNDS = tuple(round(seconds * 1_000_000) for seconds in defaults.COMMIT_BUCKETS)


# Commits that are noted, and not counted yet: where no heartbeat comes, as in tests.
_MOST_NOTED = 10_000


class _Histogram:
    """How often something was measured, by class."""

    def __init__(self, bounds: tuple[int, ...]) -> None:
        self._bounds = bounds
        self._sum = 0
        self._classes = [0] * (len(bounds) + 1)

    def add(self, value: int) -> None:
        """Count a value."""
        self._sum += value
        self._classes[bisect_left(self._bounds, value)] += 1

    def measured(self) -> Measured:
        """What was counted so far."""
        return self._sum, tuple(self._classes)


class Measures:
    """Counts in memory, in any thread, since the worker has registered; by KINDS.

    `write` puts the numbers of now into the worker's record; what is counted after that is lost
    with a process that is killed. Until then it is but noted: a job shall wait for nothing here.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._noted: deque[tuple[str, float, int]] = deque()
        self._conflicted: deque[str] = deque()
        self._conflicts: Counter[str] = Counter()
        self._commits: dict[str, _Histogram] = {}
        self._jobs = _Histogram(defaults.COMMIT_JOBS_BUCKETS)

    def conflicted(self, kind: str) -> None:
        """Count a transaction that conflicted, and is made again."""
        self._conflicted.append(kind)

    def committed(self, kind: str, seconds: float, jobs: int) -> None:
        """Count a commit with the ends, or other results, of so many jobs."""
        self._noted.append((kind, seconds, jobs))
        if len(self._noted) >= _MOST_NOTED:
            with self._lock:
                self._count_noted()

    def write(self, counters: Counters) -> None:
        """Write what was counted so far; joins the transaction."""
        with self._lock:
            while self._conflicted:
                self._conflicts[self._conflicted.popleft()] += 1
            self._count_noted()
            commits = {kind: each.measured() for kind, each in self._commits.items()}
            counters.show(dict(self._conflicts), commits, self._jobs.measured())

    def _count_noted(self) -> None:
        while self._noted:
            kind, seconds, jobs = self._noted.popleft()
            if kind not in self._commits:
                self._commits[kind] = _Histogram(_COMMIT_BOUNDS)
            self._commits[kind].add(round(seconds * 1_000_000))
            if jobs:
                self._jobs.add(jobs)
