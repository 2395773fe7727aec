"""Counters: what is counted of a worker, or of all that are gone, and stands nowhere else."""

from __future__ import annotations

from collections.abc import Mapping

from persistent import Persistent

#: The sum of what was measured, and how often it was, by class; see `tallies.Counted`.
Measured = tuple[int, tuple[int, ...]]


class Counters(Persistent):
    """Numbers that only grow. A worker has its own, which no other transaction writes; when it is
    struck off they are added to those of the database, in the same commit.

    `retried`: attempts that another one followed, `rescued`: jobs that were taken back from it,
    both by queue and as true as what they count. `conflicts` by kind, `commits` by kind in
    microseconds, and `commit_jobs`, how many ends each of them had: those are measured in the
    worker's process, and written with its heartbeat.
    """

    def __init__(self) -> None:
        self.retried: dict[str, int] = {}
        self.rescued: dict[str, int] = {}
        self.conflicts: dict[str, int] = {}
        self.commits: dict[str, Measured] = {}
        self.commit_jobs: Measured = (0, ())

    def count_retried(self, queue: str) -> None:
        """Count an attempt that another one follows."""
        self.retried = _added(self.retried, {queue: 1})

    def count_rescued(self, queue: str) -> None:
        """Count a job that was taken back before it ended."""
        self.rescued = _added(self.rescued, {queue: 1})

    def show(
        self, conflicts: dict[str, int], commits: dict[str, Measured], commit_jobs: Measured
    ) -> None:
        """Have what the worker's process has measured since it began; writes nothing if that is
        the same as before.
        """
        measured = conflicts, commits, commit_jobs
        if measured != (self.conflicts, self.commits, self.commit_jobs):
            self.conflicts, self.commits, self.commit_jobs = measured

    def add(self, other: Counters) -> None:
        """Add what another one has."""
        self.retried = _added(self.retried, other.retried)
        self.rescued = _added(self.rescued, other.rescued)
        self.conflicts = _added(self.conflicts, other.conflicts)
        kinds = {*self.commits, *other.commits}
        none: Measured = (0, ())
        self.commits = {
            kind: measured_together(self.commits.get(kind, none), other.commits.get(kind, none))
            for kind in kinds
        }
        self.commit_jobs = measured_together(self.commit_jobs, other.commit_jobs)


def _added(some: Mapping[str, int], others: Mapping[str, int]) -> dict[str, int]:
    return {name: some.get(name, 0) + others.get(name, 0) for name in {**some, **others}}


def measured_together(one: Measured, other: Measured) -> Measured:
    """What was measured in two places; one of them may have measured nothing yet."""
    if not one[1] or not other[1]:
        return one if one[1] else other
    return one[0] + other[0], tuple(map(sum, zip(one[1], other[1], strict=True)))
