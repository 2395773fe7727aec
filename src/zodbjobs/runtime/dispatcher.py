"""The loop of a worker: book what ended, show what runs, claim what is due.

One transaction does all of it. Everything that it works from stays in memory until the
commit, so after a conflict it is simply done again.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Sequence
from typing import Protocol

from ZODB.POSException import ConflictError

from zodbjobs import clock, defaults
from zodbjobs.runtime.claimer import Claimer
from zodbjobs.runtime.committer import write_alone
from zodbjobs.runtime.periodic import Interval
from zodbjobs.runtime.runner import Runner
from zodbjobs.runtime.session import Session
from zodbjobs.runtime.slot import Slot
from zodbjobs.runtime.storage import errors
from zodbjobs.runtime.tasks.heartbeat import Heartbeat
from zodbjobs.runtime.tasks.prune import prune
from zodbjobs.runtime.tasks.running import ShowRunning
from zodbjobs.runtime.tasks.timeouts import Timeouts
from zodbjobs.runtime.transactions import Backoff
from zodbjobs.runtime.wakeup import Wakeup
from zodbjobs.runtime.workload import Workload
from zodbjobs.stored.lifecycle import complete
from zodbjobs.stored.lifecycle.attempt_result import AttemptResult
from zodbjobs.stored.lifecycle.claim import Claim

log = logging.getLogger("zodbjobs")

# Bookings wait for each other; the jobs themselves are committed as ended already.
_BOOK_SECONDS = 0.1
_BUSY_BOOK_SECONDS = 1.0  # the next claim will do it


class Fenced(Exception):
    """The worker was declared dead and its jobs were given to others."""


class StepTask(Protocol):
    """Something that a step writes when it is due."""

    def is_due(self) -> bool:
        """Whether the step is to be made for it."""

    def write(self, session: Session) -> None:
        """Write it; joins the transaction of `session`."""

    def written(self) -> None:
        """Note that it was committed."""


class Dispatcher:
    """Claims for the threads of one worker, and books what they ended.

    Works in `session`, the dispatcher thread's, or in that of a runner; one at a time.
    `workload` takes what was claimed. Raises Fenced once others have taken the worker's jobs.
    """

    def __init__(
        self,
        session: Session,
        slots: Sequence[Slot],
        workload: Workload,
        wakeup: Wakeup,
        stopping: threading.Event,
        heartbeat_seconds: float = defaults.HEARTBEAT_SECONDS,
        owns_all: bool = False,
    ) -> None:
        self._session = session
        self._slots = slots
        self._workload = workload
        #: Held by whoever works in `session`.
        self.lock = threading.RLock()
        self._wakeup = wakeup
        self._backoff = Backoff(stopping)
        self._claimer = Claimer(session, len(slots), wakeup, owns_all)
        self._outstanding: dict[bytes, Claim] = {}  # handed out and not yet booked
        self._in_doubt = False  # whether the lease may have more than that
        self._reported: deque[AttemptResult] = deque()
        self._gone: deque[Claim] = deque()  # reported as taken away by others
        self._unbooked: list[AttemptResult] = []  # reported, and not yet booked
        self._unwritten: list[AttemptResult] = []  # taken from a busy thread, not yet written
        self._looked_for_cancels: bytes | None = None
        self._ran: list[object] = []  # what ran at the last tick
        self._show_running = ShowRunning(slots)
        self._timeouts = Timeouts(slots, self._let_go)
        self._tasks: list[StepTask] = [
            Heartbeat(heartbeat_seconds),
            self._show_running,
            self._timeouts,
        ]
        self._audit = Interval(heartbeat_seconds)
        self._next_book = clock.monotonic()

    def report(self, results: Sequence[AttemptResult], gone: Sequence[Claim] = ()) -> None:
        """Take what a runner has committed, and the claims of jobs that were taken away; called
        in the runner's thread.
        """
        self._reported.extend(results)
        self._gone.extend(gone)

    def fetch(self, runner: Runner) -> None:
        """Write, book and claim for a runner that has nothing to do; called in its thread.

        What waits in any group is committed in the same transaction. That is in the runner's
        session, which has loaded these jobs; but what its jobs have written has pushed the
        indexes out of its cache, and then the dispatcher's session has them.
        """
        with self.lock:
            for slot in self._slots:
                self._unwritten += slot.group.take()
            room = self._room()
            if not room and not self._unwritten:
                return
            wrote = bool(self._reported) and not self._reported[-1].portable
            own = wrote and not self._unwritten
            self._step(self._session if own else runner.thread_session.session, room)

    def tick(self) -> None:
        """Do what is due, in one transaction, or nothing."""
        with self.lock:
            for slot in self._slots:
                self._unwritten += slot.group.take_left()
            stuck = self._workload.take_stuck()
            if stuck:
                self.give_back(stuck)
            busy = self._workload.is_busy
            room = 0 if busy else self._room()
            due = [task for task in self._tasks if task.is_due()]
            if room or due or self._unwritten or self._must_book(busy):
                self._step(self._session, room, due)
            elif self._may_be_cancelled():
                self._looked_for_cancels = self._wakeup.last_transaction()
                with self._session.manager:
                    self._tell_cancelled(self._session)

    @property
    def is_idle(self) -> bool:
        """Whether nothing is claimed, and nothing is left to be booked."""
        return not (self._outstanding or self._reported or self._unbooked or self._unwritten)

    def _room(self) -> int:
        """How many jobs to claim now."""
        ended = len(self._reported) + len(self._unbooked) + len(self._unwritten)
        outstanding = len(self._outstanding) - ended
        return self._claimer.room(outstanding, self._workload.seconds_per_job)

    def step(self, room: int = 0) -> int:
        """One transaction: book, and claim up to `room` jobs; returns how many were claimed.

        Raises what the commit raises; nothing is lost then, the next step does it again.
        """
        with self.lock:
            return len(self._step(self._session, room))

    def _step(self, session: Session, room: int, due: Sequence[StepTask] = ()) -> list[Claim]:
        while self._reported:
            self._unbooked.append(self._reported.popleft())
        while self._gone:
            gone = self._gone.popleft()
            if self._outstanding.get(gone.oid) is gone:  # it may have been claimed again since
                self._let_go(gone.oid)
        if self._show_running not in due:
            due = [*due, self._show_running]  # at no cost
        seen = self._wakeup.last_transaction()
        audits = self._in_doubt or self._audit.is_due()
        try:
            session.manager.begin()
            if not session.is_registered():
                raise Fenced
            written = complete.write(session.record, self._unwritten)
            complete.book(session.record, [*self._unbooked, *written])
            for task in due:
                task.write(session)
            found = self._found(session) if audits else []
            claims = self._claim(session, room) if room else []
            self._tell_cancelled(session)
            session.manager.commit()
        except BaseException as error:
            # If the connection was lost, the server may have committed all the same.
            self._in_doubt = self._in_doubt or not isinstance(error, ConflictError)
            session.manager.abort()
            if self._unwritten and _is_at_fault(error):
                self._write_alone(session)
            raise
        self._committed(due, audits)
        if room:
            self._claimer.claimed(len(claims), room, seen)
        self._looked_for_cancels = seen
        claims = [*found, *claims]
        self._outstanding.update((claim.oid, claim) for claim in claims)
        self._workload.hand_out(claims)
        return claims

    def _claim(self, session: Session, room: int) -> list[Claim]:
        interrupted = sum(claim.interruptions > 0 for claim in self._outstanding.values())
        claims = self._claimer.claim(session, room, interrupted)
        if claims and not self._workload.jobs_are_short:
            session.prefetch(claims)
        return claims

    def _write_alone(self, session: Session) -> None:
        """One of the results can't be stored; the step is done again with the others."""
        log.critical("%s results can't be committed together", len(self._unwritten), exc_info=True)
        results, self._unwritten = self._unwritten, []
        self._unbooked += write_alone(session.manager, session.record, results, self._backoff)

    def _committed(self, due: Sequence[StepTask], audited: bool) -> None:
        self._in_doubt = False
        for result in (*self._unbooked, *self._unwritten):
            self._outstanding.pop(result.claim.oid, None)
        for result in self._unwritten:
            result.let_go()
        self._unbooked, self._unwritten = [], []
        self._next_book = clock.monotonic() + _BOOK_SECONDS
        for task in due:
            task.written()
        if audited:
            self._audit.done()

    def _found(self, session: Session) -> list[Claim]:
        """What the lease holds though nobody here knows of it: claimed by a commit that
        seemed to fail.
        """
        found = [
            complete.claim_of(key, job)
            for key, job in session.record.leased()
            if job._p_oid not in self._outstanding
        ]
        if found:
            log.warning("%s jobs were claimed by a commit that seemed to fail", len(found))
        return found

    def _let_go(self, oid: bytes) -> None:
        """Count on a claimed job no more."""
        self._outstanding.pop(oid, None)

    def _must_book(self, busy: bool) -> bool:
        if not self._reported and not self._unbooked:
            return False
        return clock.monotonic() >= self._next_book + (_BUSY_BOOK_SECONDS if busy else 0)

    # Cancellation

    def _may_be_cancelled(self) -> bool:
        """Whether a job that already ran at the last tick may have been taken away."""
        before = self._ran
        self._ran = [slot.attempt for slot in self._slots if slot.attempt is not None]
        if not any(attempt in before for attempt in self._ran):
            return False
        return self._wakeup.last_transaction() != self._looked_for_cancels

    def _tell_cancelled(self, session: Session) -> None:
        """Tell the running jobs that were taken away."""
        for slot in self._slots:
            attempt = slot.attempt
            if attempt is None or attempt.cancelled:
                continue
            if attempt.key not in session.record.lease:
                attempt.take_away()

    def show_stuck(self, number: int) -> None:
        """Let the next step write how many threads don't return from a job that has timed out."""
        self._timeouts.stuck = number

    # Other work in the same session

    def stop_claiming(self) -> None:
        """Claim nothing more. When this returns, all that was claimed is handed out, and no
        runner works in `session` any more.
        """
        with self.lock:
            self._claimer.stop()

    def give_back(self, claims: Sequence[Claim]) -> None:
        """Return claimed jobs that no runner has begun to their places in the queue."""
        with self.lock, self._session.manager:
            for claim in claims:
                complete.give_back(self._session.record, claim)
            complete.settle_late(self._session.record)
        for claim in claims:
            self._outstanding.pop(claim.oid, None)

    def prune(self, seconds: float, most: int) -> int:
        """Shorten the history of the queues; returns how many jobs were dropped."""
        with self.lock, self._session.manager:
            return prune(self._session.queues(), seconds, most)


def _is_at_fault(error: BaseException) -> bool:
    """Whether the same would fail again, however often it is done."""
    if not isinstance(error, Exception) or isinstance(error, Fenced):
        return False
    return not (errors.is_transient(error) or errors.is_unavailable(error))
