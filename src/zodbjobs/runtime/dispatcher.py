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
from zodbjobs.runtime import attempt
from zodbjobs.runtime.attempt import End
from zodbjobs.runtime.claims import Claims
from zodbjobs.runtime.desk import Desk
from zodbjobs.runtime.progress import Running, write_board
from zodbjobs.runtime.prune import prune
from zodbjobs.runtime.runner import Runner
from zodbjobs.runtime.wakeup import Wakeup
from zodbjobs.stored.queue import Ticket
from zodbjobs.stored.shard import Ended, shard_of

log = logging.getLogger("zodbjobs")

# A job is shown on the board when it reports something, or runs for so long.
_SHOWN_AFTER_MICROS = 200_000

# Bookings wait for each other; the jobs themselves are committed as ended already.
_BOOK_SECONDS = 0.1
_BUSY_BOOK_SECONDS = 1.0  # the next claim will do it


class Fenced(Exception):
    """The worker was declared dead and its jobs were given to others."""


class Hands(Protocol):
    """Who runs the jobs; a Crew, or a test."""

    @property
    def is_busy(self) -> bool:
        """Whether handed out jobs wait to be begun, or `fetch` will soon be called."""

    @property
    def jobs_are_short(self) -> bool:
        """Whether one thread runs them all, and loads many at once."""

    @property
    def seconds_per_job(self) -> float:
        """How long a job lately took, divided by the threads that were at work."""

    def hand_out(self, tickets: Sequence[Ticket]) -> None:
        """Take jobs to run."""


class Dispatcher:
    """Claims for the runners of one worker, and books what they ended.

    Works at `desk`, the dispatcher thread's, or at that of a runner; one at a time.
    `hands` takes what was claimed. Raises Fenced once others have taken the worker's jobs.
    """

    def __init__(
        self,
        desk: Desk,
        runners: Sequence[Runner],
        hands: Hands,
        wakeup: Wakeup,
        beat_seconds: float = defaults.BEAT_SECONDS,
    ) -> None:
        self._desk = desk
        self._runners = runners
        self._hands = hands
        #: Held by whoever is at `desk`.
        self.lock = threading.RLock()
        self._wakeup = wakeup
        self._claims = Claims(desk, len(runners), wakeup)
        self._beat_seconds = beat_seconds
        self._outstanding: set[bytes] = set()  # ids of what was handed out and not yet booked
        self._in_doubt = False  # whether the lease may have more than that
        self._reported: deque[End] = deque()
        self._unbooked: list[End] = []  # reported, and not yet booked
        self._unwritten: list[End] = []  # taken from a busy runner, and not yet written
        self._watched: bytes | None = None
        self._ran: list[Running] = []  # what ran at the last tick
        now = clock.monotonic()
        self._next_book = now
        self._next_board = now
        self._next_beat = now + beat_seconds

    def report(self, ends: list[End]) -> None:
        """Take the ends of jobs from a runner; called in the runner's thread."""
        self._reported.extend(ends)

    def fetch(self, runner: Runner) -> None:
        """Write, book and claim for a runner that has nothing to do; called in its thread.

        What waits in any group is committed in the same transaction. That is at the runner's
        desk, which has loaded these jobs; but what its jobs have written has pushed the
        indexes out of its cache, and then the dispatcher's desk has them.
        """
        with self.lock:
            for other in self._runners:
                self._unwritten += other.group.take()
            room = self._room()
            if not room and not self._unwritten:
                return
            wrote = bool(self._reported) and not self._reported[-1].portable
            alone = wrote and not self._unwritten
            self._step(self._desk if alone else runner.desk, room)

    def tick(self) -> None:
        """Do what is due, in one transaction, or nothing."""
        with self.lock:
            for runner in self._runners:
                self._unwritten += runner.group.take_left()
            busy = self._hands.is_busy
            room = 0 if busy else self._room()
            now = clock.monotonic()
            live = self._live(now)
            beat = now >= self._next_beat
            if room or live or beat or self._unwritten or self._must_book(now, busy):
                self.step(room, live, beat)
            elif self._must_watch():
                self._watched = self._wakeup.last_transaction()
                with self._desk.manager:
                    self._watch(self._desk)

    @property
    def is_idle(self) -> bool:
        """Whether nothing is claimed, and nothing is left to be booked."""
        return not (self._outstanding or self._reported or self._unbooked or self._unwritten)

    def _room(self) -> int:
        """How many jobs to claim now."""
        ended = len(self._reported) + len(self._unbooked) + len(self._unwritten)
        outstanding = len(self._outstanding) - ended
        return self._claims.room(outstanding, self._hands.seconds_per_job)

    def step(self, room: int = 0, live: Sequence[Running] = (), beat: bool = False) -> int:
        """One transaction: book, write the board, beat, claim up to `room` jobs.

        Returns how many were claimed. Raises what the commit raises; nothing is lost then,
        the next step does it again.
        """
        with self.lock:
            return len(self._step(self._desk, room, live, beat))

    def _step(
        self, desk: Desk, room: int, live: Sequence[Running] = (), beat: bool = False
    ) -> list[Ticket]:
        while self._reported:
            self._unbooked.append(self._reported.popleft())
        seen = self._wakeup.last_transaction()
        live = [*live, *(running for running in self._showable() if not running.written)]
        try:
            desk.manager.begin()
            if not desk.is_registered():
                raise Fenced
            attempt.write_ends(desk, self._unwritten)
            self._book(desk, [*self._unbooked, *self._unwritten])
            write_board(desk.record, live)
            if beat:
                desk.record.beat += 1
            found = self._audit(desk) if beat or self._in_doubt else []
            tickets = self._claims.claim(desk, room) if room else []
            if tickets and not self._hands.jobs_are_short:
                desk.prefetch(tickets)
            self._watch(desk)
            desk.manager.commit()
        except BaseException as error:
            # If the connection was lost, the server may have committed all the same.
            self._in_doubt = self._in_doubt or not isinstance(error, ConflictError)
            desk.manager.abort()
            for running in live:
                running.written = 0
            raise
        self._committed(beat)
        if room:
            self._claims.claimed(len(tickets), room, seen)
        self._watched = seen
        tickets = [*found, *tickets]
        self._outstanding.update(ticket.oid for ticket in tickets)
        self._hands.hand_out(tickets)
        return tickets

    def _committed(self, beat: bool) -> None:
        self._in_doubt = False
        self._outstanding.difference_update(
            end.ticket.oid for end in (*self._unbooked, *self._unwritten)
        )
        for end in self._unwritten:
            end.let_go()
        self._unbooked, self._unwritten = [], []
        now = clock.monotonic()
        self._next_book = now + _BOOK_SECONDS
        if beat:
            self._next_beat = now + self._beat_seconds

    def _audit(self, desk: Desk) -> list[Ticket]:
        """What the lease holds though nobody here knows of it: claimed by a commit that
        seemed to fail.
        """
        record = desk.record
        lost = []
        for key, job in record.held():
            if job._p_oid not in self._outstanding:
                entry = record.board.get(key)
                alone = entry is not None and entry.alone
                lost.append(Ticket(key, job._p_oid, shard_of(job)._p_oid, alone))
        if lost:
            log.warning("%s jobs were claimed by a commit that seemed to fail", len(lost))
        return lost

    # Book

    def _must_book(self, now: float, busy: bool) -> bool:
        if not self._reported and not self._unbooked:
            return False
        return now >= self._next_book + (_BUSY_BOOK_SECONDS if busy else 0)

    def _book(self, desk: Desk, ends: Sequence[End]) -> None:
        finished: dict[bytes, list[Ended]] = {}
        record = desk.record
        for end in ends:
            ticket = end.ticket
            job = record.leased(ticket)
            if job is None or end.where is attempt.NOWHERE:
                continue  # taken away meanwhile, and booked by whoever did
            record.release(ticket.key)
            if end.where is attempt.HISTORY:
                micros = end.finished - end.started
                ended = (job, end.finished, end.failed, micros)
                finished.setdefault(ticket.shard, []).append(ended)
                continue
            shard = desk.shard(ticket.shard)
            if end.where == attempt.PARKED:
                shard.park(ticket.key, job)
            elif end.where == attempt.HELD:
                shard.put_off(job)
            else:
                shard.make_ready(ticket.key, job)
        for oid, group in finished.items():
            desk.shard(oid).finish(group)

    # Show

    def _live(self, now: float) -> list[Running]:
        """What runs and has something new for the board, if it is time to write that."""
        live = self._showable() if now >= self._next_board else []
        if live:
            self._next_board = now + defaults.BOARD_SECONDS
        return live

    def _showable(self) -> list[Running]:
        """What runs, is worth a place on the board, and has something new for it."""
        shown_before = clock.now() - _SHOWN_AFTER_MICROS
        live = []
        for runner in self._runners:
            running = runner.running
            if running is None or running.changes == running.written:
                continue
            if running.changes > 1 or running.started <= shown_before:
                live.append(running)
        return live

    def _must_watch(self) -> bool:
        """Whether a job that already ran at the last tick may have been taken away."""
        before = self._ran
        self._ran = [runner.running for runner in self._runners if runner.running is not None]
        if not any(running in before for running in self._ran):
            return False
        return self._wakeup.last_transaction() != self._watched

    def _watch(self, desk: Desk) -> None:
        """Tell the running jobs that were taken away."""
        for runner in self._runners:
            running = runner.running
            if running is not None and running.key not in desk.record.lease:
                running.cancelled = True

    # Other work on the same connection

    def stop_claiming(self) -> None:
        """Claim nothing more. When this returns, all that was claimed is handed out, and no
        runner comes to `desk` any more.
        """
        with self.lock:
            self._claims.stop()

    def give_back(self, tickets: Sequence[Ticket]) -> None:
        """Return claimed jobs that no runner has begun to their places in the queue."""
        with self.lock, self._desk.manager:
            for ticket in tickets:
                self._give_back(ticket)
        self._outstanding.difference_update(ticket.oid for ticket in tickets)

    def _give_back(self, ticket: Ticket) -> None:
        record = self._desk.record
        job = record.leased(ticket)
        if job is None:
            return
        record.release(ticket.key)
        shard = self._desk.shard(ticket.shard)
        if ticket.alone:
            shard.make_rescued(ticket.key, job)
        else:
            shard.make_ready(ticket.key, job)

    def prune(self, seconds: float, most: int) -> int:
        """Shorten the history of the queues; returns how many jobs were dropped."""
        with self.lock, self._desk.manager:
            return prune(self._desk.queues(), seconds, most)
