"""The loop of a worker: book what ended, show what runs, claim what is due.

One transaction does all of it. Everything that it works from stays in memory until the
commit, so after a conflict it is simply done again.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Sequence
from typing import Protocol

from transaction.interfaces import TransientError
from ZODB.POSException import ConflictError

from zodbjobs import clock, defaults
from zodbjobs.runtime import transactions
from zodbjobs.runtime.committer import write_alone
from zodbjobs.runtime.lane import Lane
from zodbjobs.runtime.measures import STEP, Measures
from zodbjobs.runtime.periodic import Interval
from zodbjobs.runtime.runner import Runner
from zodbjobs.runtime.session import Session
from zodbjobs.runtime.slot import Slot
from zodbjobs.runtime.storage import errors
from zodbjobs.runtime.tasks.heartbeat import Heartbeat
from zodbjobs.runtime.tasks.prune import prune
from zodbjobs.runtime.tasks.running import ShowRunning
from zodbjobs.runtime.tasks.slots import FreeSlots
from zodbjobs.runtime.tasks.timeouts import Timeouts
from zodbjobs.runtime.transactions import Backoff
from zodbjobs.runtime.wakeup import Wakeup
from zodbjobs.stored.agents import Agent
from zodbjobs.stored.job import Job
from zodbjobs.stored.lifecycle import complete, telling
from zodbjobs.stored.lifecycle.attempt_result import AttemptResult
from zodbjobs.stored.lifecycle.claim import Claim, Interrupted
from zodbjobs.stored.lifecycle.completion import shard_of

log = logging.getLogger("zodbjobs")

# Bookings wait for each other; the jobs themselves are committed as ended already.
_BOOK_SECONDS = 0.1
_BUSY_BOOK_SECONDS = 1.0  # the next claim will do it

# Tries of the last booking of a worker that stops.
_BOOK_CONFLICTS = 50


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
    `lanes` take what was claimed, each that of its agent. Raises Fenced once others have taken
    the worker's jobs.
    """

    def __init__(
        self,
        session: Session,
        slots: Sequence[Slot],
        lanes: Sequence[Lane],
        wakeup: Wakeup,
        stopping: threading.Event,
        heartbeat_seconds: float = defaults.HEARTBEAT_SECONDS,
        measures: Measures | None = None,
        more_tasks: Sequence[StepTask] = (),
    ) -> None:
        self._session = session
        self._slots = slots
        self._lanes = lanes
        #: Held by whoever works in `session`.
        self.lock = threading.RLock()
        self._wakeup = wakeup
        self._stopping = stopping
        self._backoff = Backoff(stopping)
        self._measures = measures or Measures()
        self._in_doubt = False  # whether the lease may have more than was handed out
        self._reported: deque[AttemptResult] = deque()
        self._gone: deque[Claim] = deque()  # reported as taken away by others
        self._unbooked: list[AttemptResult] = []  # reported, and not yet booked
        self._unwritten: list[AttemptResult] = []  # taken from a busy thread, not yet written
        self._looked_for_cancels: bytes | None = None
        self._ran: list[object] = []  # what ran at the last tick
        self._show_running = ShowRunning(slots)
        self._timeouts = Timeouts(slots, self._let_go)
        self._tasks: list[StepTask] = [
            Heartbeat(heartbeat_seconds, self._measures),
            self._show_running,
            FreeSlots(),
            self._timeouts,
            *more_tasks,
        ]
        self._audit = Interval(heartbeat_seconds)
        self._next_book = clock.monotonic()

    def report(self, results: Sequence[AttemptResult], gone: Sequence[Claim] = ()) -> None:
        """Take what a runner has committed, and the claims of jobs that were taken away; called
        in the runner's thread.
        """
        self._reported.extend(results)
        self._gone.extend(gone)

    def fetch(self, lane: Lane, runner: Runner) -> None:
        """Write, book and claim for a lane, in a runner's thread that has nothing to do.

        What waits in any group is committed in the same transaction. That is in the runner's
        session, which has loaded these jobs; but what its jobs have written has pushed the
        indexes out of its cache, and then the dispatcher's session has them.
        """
        with self.lock:
            for slot in self._slots:
                self._unwritten += slot.group.take()
            room = self._room(lane)
            if not room and not self._unwritten:
                return
            wrote = bool(self._reported) and not self._reported[-1].portable
            own = wrote and not self._unwritten
            self._step(self._session if own else runner.thread_session.session, [(lane, room)])

    def tick(self) -> None:
        """Do what is due, in one transaction, or nothing."""
        with self.lock:
            for slot in self._slots:
                self._unwritten += slot.group.take_left()
            for lane in self._lanes:
                self._give_back_stuck(lane)
            busy = any(lane.workload.is_busy for lane in self._lanes)
            rooms = [
                (lane, room)
                for lane in self._lanes
                if not lane.workload.is_busy and (room := self._room(lane))
            ]
            due = [task for task in self._tasks if task.is_due()]
            if rooms or due or self._unwritten or self._must_book(busy):
                self._step(self._session, rooms, due)
            elif self._may_be_cancelled():
                self._looked_for_cancels = self._wakeup.last_transaction()
                with self._session.manager:
                    self._tell_cancelled(self._session)

    @property
    def is_idle(self) -> bool:
        """Whether nothing is claimed, and nothing is left to be booked."""
        if self._reported or self._unbooked or self._unwritten:
            return False
        return not any(lane.outstanding for lane in self._lanes)

    def _room(self, lane: Lane) -> int:
        """How many jobs to claim now for a lane."""
        gone = sum(lane.outstanding.get(claim.key) is claim for claim in list(self._gone))
        if len(self._lanes) == 1:
            ended = len(self._reported) + len(self._unbooked) + len(self._unwritten)
        else:
            results = (*list(self._reported), *self._unbooked, *self._unwritten)
            ended = sum(result.claim.key in lane.outstanding for result in results)
        outstanding = len(lane.outstanding) - ended - gone
        return lane.claimer.room(outstanding, lane.workload.seconds_per_job)

    def step(self, room: int = 0) -> int:
        """One transaction: book, and claim up to `room` jobs for the first lane; returns how many
        were claimed.

        Raises what the commit raises; nothing is lost then, the next step does it again.
        """
        with self.lock:
            return self._step(self._session, [(self._lanes[0], room)])

    def book(self) -> None:
        """Book all that has ended, again after a conflict; claims nothing.

        Raises what the storage raises.
        """
        conflicts = 0
        while True:
            try:
                self.step()
                return
            except TransientError:
                conflicts += 1
                if conflicts >= _BOOK_CONFLICTS:
                    raise
                transactions.pause(conflicts)

    def _step(
        self, session: Session, rooms: Sequence[tuple[Lane, int]], due: Sequence[StepTask] = ()
    ) -> int:
        while self._reported:
            self._unbooked.append(self._reported.popleft())
        # Asked here, after what was reported: what is given back as the worker stops isn't to be
        # claimed by the same one again.
        rooms = () if self._stopping.is_set() else rooms
        while self._gone:
            gone = self._gone.popleft()
            for lane in self._lanes:
                if lane.outstanding.get(gone.key) is gone:  # else it was claimed again since
                    del lane.outstanding[gone.key]
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
            interrupted = self._interrupted()  # with what is claimed for the lanes before
            claimed = [
                (lane, room, self._claim(session, lane, room, interrupted))
                for lane, room in rooms
                if room
            ]
            for _, _, claims in claimed:
                telling.claimed(session.record, claims)
            self._tell_cancelled(session)
            start = time.monotonic()
            session.manager.commit()
        except BaseException as error:
            # If the connection was lost, the server may have committed all the same.
            self._in_doubt = self._in_doubt or not isinstance(error, ConflictError)
            session.manager.abort()
            if isinstance(error, ConflictError):
                self._measures.conflicted(STEP)
            if self._unwritten and _is_at_fault(error):
                self._write_alone(session)
            raise
        if self._unbooked or written or any(claims for _, _, claims in claimed):
            # One that only gives a sign of life isn't counted: that would be something to write.
            self._measures.committed(STEP, time.monotonic() - start, len(written))
        self._committed(due, audits)
        self._looked_for_cancels = seen
        for lane, room, claims in claimed:
            lane.claimer.claimed(len(claims), room, seen)
            _hand_out(lane, claims)
        for lane, claim in found:
            _hand_out(lane, [claim])
        return len(found) + sum(len(claims) for _, _, claims in claimed)

    def _interrupted(self) -> Interrupted:
        """What the worker holds that was interrupted before."""
        return Interrupted(
            claim.interruptions
            for each in self._lanes
            if each.has_had_special
            for claim in each.outstanding.values()
        )

    def _claim(
        self, session: Session, lane: Lane, room: int, interrupted: Interrupted
    ) -> list[Claim]:
        claims = lane.claimer.claim(session, room, interrupted, self._room_for_quotas(lane))
        if claims and not lane.workload.jobs_are_short:
            session.prefetch(claims)
        return claims

    def _room_for_quotas(self, lane: Lane) -> int:
        """How many jobs with quotas to claim for a lane: no more than run, or than are done at
        once, for others may have their slots meanwhile.
        """
        at_once = int(defaults.QUOTA_SECONDS / max(lane.workload.seconds_per_job, 1e-6))
        room = max(lane.size, at_once)
        if not lane.has_had_special:
            return room
        ended = {r.claim.key for r in (*self._unbooked, *self._unwritten) if r.claim.names}
        held = sum(bool(c.names) and key not in ended for key, c in lane.outstanding.items())
        return room - held

    def _write_alone(self, session: Session) -> None:
        """One of the results can't be stored; the step is done again with the others."""
        log.critical("%s results can't be committed together", len(self._unwritten), exc_info=True)
        results, self._unwritten = self._unwritten, []
        self._unbooked += write_alone(session.manager, session.record, results, self._backoff)

    def _committed(self, due: Sequence[StepTask], audited: bool) -> None:
        self._in_doubt = False
        for result in (*self._unbooked, *self._unwritten):
            self._let_go(result.claim.key)
        for result in self._unwritten:
            result.let_go()
        self._unbooked, self._unwritten = [], []
        self._next_book = clock.monotonic() + _BOOK_SECONDS
        for task in due:
            task.written()
        if audited:
            self._audit.done()

    def _found(self, session: Session) -> list[tuple[Lane, Claim]]:
        """What the lease holds though nobody here knows of it, each with the lane that takes it:
        claimed by a commit that seemed to fail.
        """
        found = [
            (self._lane_of(job), complete.claim_of(session.record, key, job))
            for key, job in session.record.leased()
            if not any(key in lane.outstanding for lane in self._lanes)
        ]
        if found:
            log.warning("%s jobs were claimed by a commit that seemed to fail", len(found))
        return found

    def _let_go(self, key: int) -> None:
        """Count on a claimed job no more."""
        for lane in self._lanes:
            lane.outstanding.pop(key, None)

    def _lane_of(self, job: Job) -> Lane:
        """The first lane that may have claimed a job."""
        shard = shard_of(job)
        lanes = (
            lane for lane in self._lanes if shard is not None and lane.serves(shard.queue.name)
        )
        return next(lanes, self._lanes[0])

    def _must_book(self, busy: bool) -> bool:
        if not self._reported and not self._unbooked:
            return False
        if busy and any(lane.has_had_special for lane in self._lanes):
            # Others may wait for the slots of what has ended.
            busy = not any(result.claim.names for result in list(self._reported))
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

    def agents(self) -> dict[bytes, Agent]:
        """Copies of the agents that the worker's record has, by their object ids."""
        with self.lock, self._session.manager:
            found = self._session.record.agents
            return {agent._p_oid: agent.copy_for(agent.worker or "") for agent in found}

    def let_leave(self, lane: Lane) -> None:
        """Claim nothing more for a lane, and give back what it claimed and didn't begin.

        Raises what the commit raises; that is to be done again then.
        """
        with self.lock:
            lane.claimer.stop()
            self._give_back_of(lane, lane.workload.take_all())
            lane.leave()

    # Other work in the same session

    def stop_claiming(self) -> None:
        """Claim nothing more. When this returns, all that was claimed is handed out, and no
        runner works in `session` any more.
        """
        with self.lock:
            for lane in self._lanes:
                lane.claimer.stop()

    def give_back(self, claims: Sequence[Claim]) -> None:
        """Return claimed jobs that no runner has begun to their places in the queue."""
        with self.lock, self._session.manager:
            if not self._session.is_registered():
                raise Fenced
            for claim in claims:
                complete.give_back(self._session.record, claim)
            complete.settle_late(self._session.record)
        for claim in claims:
            self._let_go(claim.key)

    def _give_back_stuck(self, lane: Lane) -> None:
        """Return what waits for threads that are all in long jobs: others may have time for it."""
        stuck = lane.workload.take_stuck()
        if stuck:
            self._give_back_of(lane, stuck)

    def _give_back_of(self, lane: Lane, claims: list[Claim]) -> None:
        """Return claimed jobs; if that fails they wait for the threads of the lane again."""
        try:
            self.give_back(claims)
        except BaseException:
            lane.workload.hand_out(claims)  # the lease has them still, and nobody else looks there
            raise

    def prune(self, seconds: float, most: int) -> int:
        """Shorten the history of the queues; returns how many jobs were dropped."""
        with self.lock, self._session.manager:
            return prune(self._session.queues(), seconds, most)


def _hand_out(lane: Lane, claims: Sequence[Claim]) -> None:
    lane.outstanding.update((claim.key, claim) for claim in claims)
    if not lane.has_had_special:
        lane.has_had_special = any(claim.names or claim.interruptions for claim in claims)
    lane.workload.hand_out(claims)


def _is_at_fault(error: BaseException) -> bool:
    """Whether the same would fail again, however often it is done."""
    if not isinstance(error, Exception) or isinstance(error, Fenced):
        return False
    return not (errors.is_transient(error) or errors.is_unavailable(error))
