"""What a worker shows of itself in the database."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from BTrees.LOBTree import LOBTree
from persistent import Persistent

from zodbjobs.stored.keys import SENTINEL
from zodbjobs.stored.trees import WideTree

if TYPE_CHECKING:
    from zodbjobs.stored.job import Job
    from zodbjobs.stored.queue import Ticket


class BoardEntry(Persistent):
    """What one running job tells: when it started (microseconds), annotations, log lines.

    `alone` marks a job that was interrupted before: its worker runs one of those at a time.
    """

    annotations: dict[str, Any] | None = None
    log: tuple[str, ...] = ()
    alone = False

    def __init__(self, started: int, alone: bool = False) -> None:
        self.started = started
        if alone:
            self.alone = True


class WorkerRecord(Persistent):
    """Who a worker is, that it lives, and what it holds.

    `lease`: the jobs that it has claimed and not yet booked, by key. `board`: what runs
    right now, by key. `beat` grows every `beat_seconds`. `queues`: the names of those that
    it works for, None for all.

    `place` tells where `pid` is a process number, and `process_started` tells two processes
    of one number apart; both are '' where that isn't known.
    """

    beat = 0
    queues: tuple[str, ...] | None = None

    def __init__(
        self,
        id: str,
        *,
        host: str,
        place: str,
        pid: int,
        process_started: str,
        started: int,
        threads: int,
        beat_seconds: float,
    ) -> None:
        self.id = id
        self.host = host
        self.place = place
        self.pid = pid
        self.process_started = process_started
        self.started = started
        self.threads = threads
        self.beat_seconds = beat_seconds
        self.lease = WideTree()
        self.lease[SENTINEL] = None
        self.board = LOBTree()

    def serves(self, queue: str) -> bool:
        """Whether it works for the queue of that name."""
        return self.queues is None or queue in self.queues

    def holds(self, key: int, job: Job) -> bool:
        """Whether `job` is in the lease."""
        return self.lease.get(key) is job

    def held(self) -> list[tuple[int, Job]]:
        """The keys and jobs of the lease."""
        return list(self.lease.items(SENTINEL + 1))

    def leased(self, ticket: Ticket) -> Job | None:
        """The job of `ticket` if the lease still holds it, else None."""
        job: Job | None = self.lease.get(ticket.key)
        if job is None or job._p_oid != ticket.oid:
            return None
        return job

    def release(self, key: int) -> None:
        """Take a key off the lease and the board."""
        del self.lease[key]
        if key in self.board:
            del self.board[key]
