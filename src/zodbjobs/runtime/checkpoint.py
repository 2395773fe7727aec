"""Checkpoints: what a running job has done so far is committed, and it goes on from there.

A checkpoint writes the job's record: the cursor after what is done, the progress, the counts.
Who takes the job away, by a cancellation, for its timeout or by a rescue, writes that record as
well, so of the two one conflicts, and what was done since the last checkpoint is dropped with it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from zodbjobs import clock
from zodbjobs.errors import BadStatus, Cancelled, GivenBack
from zodbjobs.queue_names import spoken
from zodbjobs.runtime.committer import Committer
from zodbjobs.runtime.context import Attempt
from zodbjobs.runtime.thread_session import ThreadSession
from zodbjobs.stored.job import Job
from zodbjobs.stored.lifecycle import calls, checkpoints, completion, pausing
from zodbjobs.stored.lifecycle.storable import check_immutable
from zodbjobs.stored.workers import WorkerRecord


class Checkpoints:
    """Makes the checkpoints of the attempts of one runner, in the thread that makes it.

    `let_others` is called after each: a job that got on is none that keeps conflicting. Once
    `stopping` is set an attempt ends at its next checkpoint.
    """

    def __init__(
        self,
        thread_session: ThreadSession,
        committer: Committer,
        stopping: threading.Event,
        let_others: Callable[[], None],
    ) -> None:
        self._thread_session = thread_session
        self._committer = committer
        self._stopping = stopping
        self._let_others = let_others
        self._thread = threading.get_ident()

    @property
    def _record(self) -> WorkerRecord:
        return self._thread_session.session.record

    def by_hand(self, attempt: Attempt, cursor: Any) -> None:
        """What `local.checkpoint` does. What its commit raises ends the attempt, also if the job
        doesn't let it pass.
        """
        job = attempt.job
        cursor = check_immutable(cursor, f"the cursor of job {job.id}")
        if checkpoints.is_sweep(job):
            raise BadStatus(
                f"{job!r} makes its own checkpoints; leave out local.checkpoint in what it calls"
            )
        if threading.get_ident() != self._thread:
            raise BadStatus(
                f"{job!r} can make a checkpoint only in the thread that the worker called it in"
            )
        self.check(attempt)
        attempt.go_alone()
        self._thread_session.check_joined()
        try:
            self.make(attempt, lambda: checkpoints.set_cursor(job, cursor))
        except Cancelled:
            raise
        except Exception as error:
            attempt.broken = error
            raise
        self.look(attempt)

    def make(self, attempt: Attempt, note: Callable[[], None]) -> None:
        """Commit what was done since the attempt's begin or its last checkpoint, with what `note`
        writes into the job, and begin a new transaction for what follows.

        Raises Cancelled if the job was taken away, and what the commit raises; it is rolled
        back then.
        """
        job = attempt.job
        self._thread_session.check_joined()

        def write() -> bool:
            if not self._record.holds(attempt.key, job):
                return False
            _note(attempt)
            note()
            return True

        if not self._committer.checkpoint(job, write):
            raise _taken(job)
        attempt.conflicts = 0
        attempt.has_checkpoint = True
        attempt.uncommitted_since = clock.now()
        self._let_others()
        self.go_on(attempt)

    def go_on(self, attempt: Attempt) -> None:
        """Begin a transaction in which the attempt goes on."""
        self._thread_session.begin()
        calls.set_running(attempt.job, True)

    def drop(self, attempt: Attempt) -> None:
        """Roll back what was done since the last checkpoint, and begin anew after that.

        Raises as `check`, and Cancelled if the job was taken away.
        """
        self._thread_session.manager.abort()
        attempt.job._p_invalidate()
        self.go_on(attempt)
        self.check(attempt)
        if not self._record.holds(attempt.key, attempt.job):
            raise _taken(attempt.job)

    def make_room(self, attempt: Attempt) -> None:
        """Let the connections forget objects that weren't changed, which they do by themselves
        between two transactions only.
        """
        for connection in self._thread_session.session.connection.connections.values():
            connection.cacheGC()
        calls.set_running(attempt.job, True)

    def check_transaction(self, attempt: Attempt) -> None:
        """Raise BadStatus if what was done in the transaction was dropped."""
        if self._thread_session.was_aborted():
            raise BadStatus(
                f"what {attempt.job!r} calls has aborted its transaction, and what was done in it "
                "before; raise an error instead, or use a savepoint"
            )

    def check(self, attempt: Attempt) -> None:
        """Raise Cancelled or TimedOut if the attempt can't commit any more."""
        error = attempt.reason_to_stop()
        if error is None and completion.has_own_end(attempt.job):
            error = Cancelled(f"job {attempt.job.id} has cancelled itself; it can't go on")
        if error is not None:
            raise error

    def look(self, attempt: Attempt) -> None:
        """Raise what ends the attempt at its checkpoint: as `check`, or GivenBack if its worker
        stops, somebody has paused it, or its agent was removed.
        """
        self.check(attempt)
        job, shard = attempt.job, completion.shard_of(attempt.job)
        queue = None if shard is None else shard.queue
        pause = None if queue is None else pausing.pause_of(queue, job)
        if pause is not None:
            why = f"it is paused ({pause.reason})"
        elif self._stopping.is_set():
            why = "its worker stops"
        elif self._lost_agent(attempt):
            why = "its agent was removed"
        else:
            return
        name = "" if queue is None else queue.name
        attempt.given_back = True
        attempt.pause = pause
        raise GivenBack(
            f"job {job.id} ({job.description}) of {spoken(name)} was given back at its "
            f"checkpoint, as {why}; let this error pass, the job goes on from its cursor"
        )

    def _lost_agent(self, attempt: Attempt) -> bool:
        """Whether somebody has removed the agent that it runs for."""
        if attempt.agent is None:
            return False
        return all(each._p_oid != attempt.agent._p_oid for each in self._record.agents)


def _note(attempt: Attempt) -> None:
    """Write into the record of a job what there is to be told of its attempt so far."""
    log = None if attempt.log is None else attempt.log.copy()
    checkpoints.note(attempt.job, attempt.started, attempt.conflicts, attempt.annotations, log)


def _taken(job: Job) -> Cancelled:
    return Cancelled(f"job {job.id} was taken away while it ran; it can't commit")
