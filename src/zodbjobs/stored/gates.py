"""What a job waits for that is put after others."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from persistent import Persistent

if TYPE_CHECKING:
    from zodbjobs.stored.job import Job


class Gate(Persistent):
    """Counts the jobs that haven't ended of those that a job waits for.

    Where these are many, gates below count a part of them each, and count as one for the gate
    `above`. Whoever takes an ended job off its lease counts it here; of the last two that do so
    at once one conflicts, and finds that it is the last. The job itself doesn't write this: its
    transaction may be long, and it would be run again for another's end.
    """

    has_failed = False
    #: The job that the waiting one has returned, and of which it takes over the end.
    adopts: Job | None = None

    def __init__(self, job: Job, missing: int, skips: bool, above: Gate | None = None) -> None:
        self.job = job
        self.missing = missing
        self.skips = skips
        self.above = above

    def ended(self, succeeded: bool) -> Gate | None:
        """Count one that has ended; return the gate, or that above, that is open by that."""
        self.missing -= 1
        if not succeeded:
            self.has_failed = True
        if self.missing:
            return None
        return self if self.above is None else self.above.ended(not self.has_failed)


class Predecessors(Persistent):
    """The jobs that a job was put after; a record of its own, which no end rewrites."""

    def __init__(self, jobs: tuple[Any, ...]) -> None:
        self.jobs = jobs
