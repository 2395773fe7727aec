"""The runner threads of a worker, and the jobs that wait for one of them.

Short jobs in many threads only fight for the interpreter's lock, so as long as jobs are
short one thread runs them all; where they take time, all threads are at work.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence, Sized
from itertools import islice

from zodbjobs import defaults
from zodbjobs.runtime.runner import Runner, Stopped
from zodbjobs.stored.queue import Ticket

log = logging.getLogger("zodbjobs")

# Seconds per job, for each thread at work, below which one thread is faster than several.
_SHORT_SECONDS = 0.001

# Seconds in one job after which its thread isn't counted on any more.
_LONG_SECONDS = 0.05

# What one job adds to the averages, and the most that it counts for.
_WEIGHT = 0.05
_MOST_SECONDS = 0.02

# Before a job is begun again after its runner failed.
_PAUSE_SECONDS = 1.0

# Between two times that a thread without work takes note of the commits of others.
_REST_SECONDS = 60.0


class _Hand:
    """One thread, and what it is doing."""

    def __init__(self, runner: Runner) -> None:
        self.runner = runner
        self.thread: threading.Thread
        self.is_away = False  # in a long job
        self.loaded = 0  # jobs that are run next, and that it has loaded


class Crew:
    """Threads that run what is handed out.

    `fetch` is called by a thread that has nothing to do: it books what ended and claims
    more, which is cheaper than to wake another thread for it.
    """

    def __init__(self, runners: Sequence[Runner], fetch: Callable[[Runner], None]) -> None:
        self._fetch = fetch
        self._work: deque[Ticket] = deque()
        self._change = threading.Condition()
        self._present = 0  # threads at work that aren't away
        self._stopping = False
        self._average = 0.0  # of what another thread could have done meanwhile
        # Of all that a job keeps its thread from others; long, until one has ended.
        self._seconds = defaults.CLAIM_SECONDS * len(runners)
        self._any_ended = False
        self._hands = [_Hand(runner) for runner in runners]
        for number, hand in enumerate(self._hands, 1):
            hand.thread = threading.Thread(
                target=self._main, args=(hand,), name=f"zodbjobs runner {number}", daemon=True
            )

    def start(self) -> None:
        """Start the threads."""
        for hand in self._hands:
            hand.thread.start()

    def hand_out(self, tickets: Sequence[Ticket]) -> None:
        """Let the threads run these jobs, in this order."""
        if not tickets:
            return
        with self._change:
            self._work.extend(tickets)
            self._call_for(tickets)

    @property
    def is_busy(self) -> bool:
        """Whether jobs wait for a thread, or one is about to fetch more by itself."""
        return bool(self._work) or (self._present > 0 and self.jobs_are_short)

    @property
    def seconds_per_job(self) -> float:
        """How long a job lately took, divided by the threads that were at work."""
        return self._seconds / max(1, self._present)

    def help_out(self) -> None:
        """Count on those that are in a long job no more; let others do the rest."""
        long_ago = time.monotonic() - _LONG_SECONDS
        with self._change:
            for hand in self._hands:
                called = hand.runner.called
                if called is not None and called < long_ago and not hand.is_away:
                    hand.is_away = True
                    self._present -= 1
                    self._average = max(self._average, _SHORT_SECONDS * len(self._hands))
                    self._seconds = max(self._seconds, defaults.CLAIM_SECONDS * len(self._hands))
            self._call_for(self._work)

    def stop(self) -> list[Ticket]:
        """Let the threads end after the jobs that they run; returns the jobs not begun."""
        with self._change:
            self._stopping = True
            tickets = list(self._work)
            self._work.clear()
            self._change.notify_all()
        return tickets

    def is_alive(self) -> bool:
        """Whether a thread still runs."""
        return any(hand.thread.is_alive() for hand in self._hands)

    def _call_for(self, tickets: Sized) -> None:
        """Wake threads until enough are present."""
        wanted = min(1, len(tickets)) if self.jobs_are_short else len(tickets)
        self._change.notify(max(0, wanted - self._present))

    @property
    def jobs_are_short(self) -> bool:
        """Whether one thread runs them all, and loads many at once."""
        return self._average < _SHORT_SECONDS * max(1, self._present)

    def _main(self, hand: _Hand) -> None:
        runner = hand.runner
        if not self._opened(runner):
            return
        with self._change:
            self._present += 1
        while not self._stopping:
            ticket = self._next()
            if ticket is None:
                self._fetch(runner)
                if not self._work:
                    self._rest(hand)
                continue
            if not hand.loaded and self.jobs_are_short:
                self._load_ahead(hand, ticket)
            hand.loaded = max(0, hand.loaded - 1)
            self._run(hand, ticket)
            if self._present > 1 and self.jobs_are_short:
                self._rest(hand)  # the next step of another thread commits what waits here
        runner.close()

    def _next(self) -> Ticket | None:
        with self._change:  # another thread may be looking through them
            return self._work.popleft() if self._work else None

    def _load_ahead(self, hand: _Hand, first: Ticket) -> None:
        with self._change:
            tickets = [first, *islice(self._work, defaults.LOAD_AHEAD - 1)]
        hand.loaded = hand.runner.load_ahead(tickets)

    def _opened(self, runner: Runner) -> bool:
        """Whether the runner has its connection; tried until it has, or the crew stops."""
        while not self._stopping:
            try:
                runner.open()
                return True
            except Exception as error:
                log.warning("a runner can't open its connection (%s), it is tried again", error)
                with self._change:
                    self._change.wait_for(lambda: self._stopping, defaults.MOST_TROUBLE_SECONDS)
        return False

    def _run(self, hand: _Hand, ticket: Ticket) -> None:
        try:
            hand.runner.run(ticket)
        except Stopped as error:
            log.warning("%s is left to the next worker: %s", ticket, error.__cause__)
        except Exception:
            # The runner answers for jobs; this is a fault of its own or of the storage.
            log.exception("the runner of %s failed; the job is begun again", ticket)
            with self._change:
                self._work.appendleft(ticket)
                self._change.wait_for(lambda: self._stopping, _PAUSE_SECONDS)
        # Waiting for the interpreter's lock counts as well; no single wait may decide.
        shareable = min(hand.runner.shareable, _MOST_SECONDS)
        self._average += (shareable - self._average) * _WEIGHT
        weight = _WEIGHT if self._any_ended else 1.0
        self._seconds += (hand.runner.seconds - self._seconds) * weight
        self._any_ended = True
        if hand.is_away:  # if it becomes so right now, the next job's end or the rest sees it
            with self._change:
                self._come_back(hand)

    def _come_back(self, hand: _Hand) -> None:
        if hand.is_away:
            hand.is_away = False
            self._present += 1

    def _rest(self, hand: _Hand) -> None:
        with self._change:
            self._come_back(hand)
            needed = self._present == 1 or not self.jobs_are_short
            if self._stopping or (self._work and needed):
                return
            self._present -= 1
            called = self._change.wait(_REST_SECONDS)
            self._present += 1
        if not called:
            hand.runner.catch_up()
