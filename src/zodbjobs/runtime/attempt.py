"""How an attempt ended, on its way from the runner to the database and the dispatcher."""

from __future__ import annotations

import logging
from typing import Any

from zodbjobs.interfaces import SUCCEEDED
from zodbjobs.runtime.progress import Running
from zodbjobs.stored import keys
from zodbjobs.stored.failure import Failure
from zodbjobs.stored.job import Job
from zodbjobs.stored.queue import Ticket
from zodbjobs.stored.workers import WorkerRecord

log = logging.getLogger("zodbjobs")

# Where the dispatcher books a job to.
HISTORY = "history"
PARKED = "parked"
READY = "ready"
HELD = "held"
NOWHERE = "nowhere"


class End:
    """How an attempt ended: what is to be written into the job, and where it goes next."""

    __slots__ = (
        "attempts",
        "failure",
        "finished",
        "job",
        "outcome",
        "portable",
        "result",
        "retry_at",
        "running",
        "started",
        "ticket",
        "where",
    )

    def __init__(self, ticket: Ticket, where: str, started: int, finished: int) -> None:
        self.ticket = ticket
        self.where = where
        self.started = started
        self.finished = finished
        self.attempts = 1
        self.outcome: str | None = None
        self.result: Any = None
        self.failure: Failure | None = None
        self.retry_at: int | None = None
        self.running: Running | None = None
        self.portable = True
        self.job: Job | None = None

    @property
    def failed(self) -> bool:
        """Whether the job ended without success."""
        return self.outcome is not None and self.outcome != SUCCEEDED

    def write(self, record: WorkerRecord) -> bool:
        """Write the end into the job if the lease in `record` still holds it.

        Joins the transaction of `record`. Whoever takes a job away writes the job, so of
        two who do at once one gets a ConflictError.
        """
        job = self.job = record.leased(self.ticket)
        if job is None:
            self.where = NOWHERE
            return False
        if self.outcome is not None:
            job.end(self.outcome, self.result, self.started, self.finished)
        elif self.where == PARKED:
            job._parked = self.result
        else:
            self._write_retry(job)
        if self.attempts > 1:
            job._attempts = self.attempts
        running = self.running
        if running is not None:
            if running.annotations is not None:
                job._annotations = {**(job._annotations or {}), **running.annotations}
            if running.log is not None:
                job._log = tuple(running.log)
        return True

    def let_go(self) -> None:
        """Make room in the connection's cache; it holds few objects, and needs the indexes."""
        if self.job is not None:
            self.job._p_deactivate()
            self.job = None

    def _write_retry(self, job: Job) -> None:
        job._attempts = self.attempts
        job._started = self.started
        job._last_failure = self.failure
        if self.retry_at is not None:
            job._created = job._created_micros()
            job._begin_after = self.retry_at
            job._key = keys.key_for_later(job.priority, self.retry_at)
