"""The loop of a worker: book what ended, show what runs, claim what is due.

One transaction does all of it. Everything that it works from stays in memory until the
commit, so after a conflict it is simply done again.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

from zodbjobs import clock, defaults
from zodbjobs.runtime import attempt
from zodbjobs.runtime.attempt import End, Ticket, leased
from zodbjobs.runtime.pace import Pace
from zodbjobs.runtime.progress import Running, write_board
from zodbjobs.runtime.runner import Runner
from zodbjobs.runtime.wakeup import Wakeup
from zodbjobs.stored.queue import Queue
from zodbjobs.stored.workers import WorkerRecord

# A job is shown on the board when it reports something, or runs for so long.
_SHOWN_AFTER_MICROS = 200_000

# Bookings wait for each other; the jobs themselves are committed as ended already.
_BOOK_SECONDS = 0.1
_BOOK_JOBS = 100


class Dispatcher:
    """Claims for the runners of one worker, and books what they ended.

    Lives in one thread, that of `connection`; only `report` is called from others.
    `queues` gives the queues to claim from in a transaction, `hand_out` takes what was
    claimed.
    """

    def __init__(
        self,
        connection: Any,
        record: WorkerRecord,
        queues: Callable[[], Sequence[Queue]],
        runners: Sequence[Runner],
        hand_out: Callable[[list[Ticket]], None],
        wakeup: Wakeup,
    ) -> None:
        self.claiming = True
        self.outstanding: dict[int, Ticket] = {}
        self._connection = connection
        self._manager = connection.transaction_manager
        self._record = record
        self._queues = queues
        self._runners = runners
        self._hand_out = hand_out
        self._wakeup = wakeup
        self._pace = Pace(len(runners))
        self._turn = 0
        self._reported: deque[End] = deque()
        self._unbooked: list[End] = []  # reported, and not yet booked
        self._unwritten: list[End] = []  # taken from a busy runner, and not yet written
        self._watched: bytes | None = None
        now = clock.monotonic()
        self._next_book = now
        self._next_board = now
        self._next_beat = now + defaults.BEAT_SECONDS

    def report(self, ends: list[End]) -> None:
        """Take the ends of jobs from a runner; called in the runner's thread."""
        self._reported.extend(ends)
        if self.claiming and self._pace.room(len(self.outstanding) - len(self._reported)):
            self._wakeup.set()

    def tick(self) -> None:
        """Do what is due, in one transaction, or nothing."""
        for runner in self._runners:
            if runner.running is not None:
                self._unwritten += runner.take_group(only_old=True)
        room = 0
        if self.claiming:
            room = self._pace.room(len(self.outstanding) - len(self._reported))
            if room and not self._wakeup.worth_a_look():
                room = 0
        now = clock.monotonic()
        live = self._live(now)
        beat = now >= self._next_beat
        if room or live or beat or self._unwritten or self._must_book(now) or self._must_watch():
            self.step(room, live, beat)

    def step(self, room: int = 0, live: Sequence[Running] = (), beat: bool = False) -> int:
        """One transaction: book, write the board, beat, claim up to `room` jobs.

        Returns how many were claimed. Raises what the commit raises; nothing is lost then,
        the next step does it again.
        """
        while self._reported:
            self._unbooked.append(self._reported.popleft())
        seen = self._wakeup.last_transaction()
        try:
            self._manager.begin()
            for end in self._unwritten:
                end.write(self._record)
            for end in (*self._unbooked, *self._unwritten):
                self._book(end)
            write_board(self._record, live)
            if beat:
                self._record.beat += 1
            tickets, next_due = self._claim(room) if room else ([], None)
            self._watch()
            self._manager.commit()
        except BaseException:
            self._manager.abort()
            raise
        self._committed(beat)
        if room:
            self._pace.claimed(len(tickets), room)
            if len(tickets) < room:
                self._wakeup.looked(seen, next_due)
        self._watched = seen
        for ticket in tickets:
            self.outstanding[ticket.key] = ticket
        self._hand_out(tickets)
        return len(tickets)

    def _committed(self, beat: bool) -> None:
        for end in (*self._unbooked, *self._unwritten):
            self.outstanding.pop(end.ticket.key, None)
        self._unbooked, self._unwritten = [], []
        now = clock.monotonic()
        self._next_book = now + _BOOK_SECONDS
        if beat:
            self._next_beat = now + defaults.BEAT_SECONDS

    # Book

    def _must_book(self, now: float) -> bool:
        waiting = len(self._reported) + len(self._unbooked)
        return waiting >= _BOOK_JOBS or (waiting > 0 and now >= self._next_book)

    def _book(self, end: End) -> None:
        ticket = end.ticket
        job = leased(self._record, ticket)
        if job is None or end.where == attempt.NOWHERE:
            return  # taken away meanwhile, and booked by whoever did
        self._record.release(ticket.key)
        shard = self._connection.get(ticket.shard)
        if end.where == attempt.HISTORY:
            shard.finish(job, end.finished, end.failed, end.finished - end.started)
        elif end.where == attempt.PARKED:
            shard.parked[ticket.key] = job
        elif end.where == attempt.HELD:
            shard.file(job._key, job)
        else:
            shard.make_ready(ticket.key, job)

    # Show

    def _live(self, now: float) -> list[Running]:
        """What runs and has something new for the board, if it is time to write that."""
        if now < self._next_board:
            return []
        shown_before = clock.now() - _SHOWN_AFTER_MICROS
        live = []
        for runner in self._runners:
            running = runner.running
            if running is None or running.changes == running.written:
                continue
            if running.changes > 1 or running.started <= shown_before:
                live.append(running)
        if live:
            self._next_board = now + defaults.BOARD_SECONDS
        return live

    def _must_watch(self) -> bool:
        return (
            any(runner.running is not None for runner in self._runners)
            and self._wakeup.last_transaction() != self._watched
        )

    def _watch(self) -> None:
        """Tell the running jobs that were taken away."""
        for runner in self._runners:
            running = runner.running
            if running is not None and running.key not in self._record.lease:
                running.cancelled = True

    # Claim

    def _claim(self, room: int) -> tuple[list[Ticket], int | None]:
        queues = self._queues()
        tickets: list[Ticket] = []
        self._turn += 1
        now = clock.now()
        for number in range(len(queues)):
            queue = queues[(self._turn + number) % len(queues)]
            for claimed in queue.claim(self._record, room - len(tickets), now):
                oid, shard = claimed.job._p_oid, claimed.shard._p_oid
                tickets.append(Ticket(claimed.key, oid, shard, claimed.alone))
            if len(tickets) >= room:
                break
        dues = [due for queue in queues if (due := queue.next_due()) is not None]
        return tickets, min(dues, default=None)

    def give_back(self, tickets: Sequence[Ticket]) -> None:
        """Return claimed jobs that no runner has begun to their places in the queue."""
        self._manager.begin()
        for ticket in tickets:
            job = leased(self._record, ticket)
            if job is not None:
                self._record.release(ticket.key)
                shard = self._connection.get(ticket.shard)
                if ticket.alone:
                    shard.rescued[ticket.key] = job
                else:
                    shard.make_ready(ticket.key, job)
        self._manager.commit()
        for ticket in tickets:
            self.outstanding.pop(ticket.key, None)
