"""The runner threads of a worker, and the jobs that wait for one of them.

Short jobs in many threads only fight for the interpreter's lock, so as long as jobs are
short one thread runs them all; where they take time, all threads are at work.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence

from zodbjobs.runtime.runner import Runner
from zodbjobs.stored.queue import Ticket

log = logging.getLogger("zodbjobs")

# Seconds per job, for each thread at work, below which one thread is faster than several.
_SHORT_SECONDS = 0.001

# Seconds without a job begun after which the threads at work are taken to be stuck; the
# commit of a group takes less.
_STUCK_SECONDS = 0.02


class Crew:
    """Threads that run what is handed out.

    `fetch` is called by a thread that has nothing to do: it books what ended and claims
    more, which is cheaper than to wake another thread for it.
    """

    def __init__(self, runners: Sequence[Runner], fetch: Callable[[Runner], None]) -> None:
        self._fetch = fetch
        self._work: deque[Ticket] = deque()
        self._change = threading.Condition()
        self._active = 0
        self._stopping = False
        self._average = 0.01
        self._begun = self._begun_before = 0
        self._begun_at = 0.0
        self._threads = [
            threading.Thread(
                target=self._main, args=(runner,), name=f"zodbjobs runner {n}", daemon=True
            )
            for n, runner in enumerate(runners, 1)
        ]

    def start(self) -> None:
        """Start the threads."""
        for thread in self._threads:
            thread.start()

    def hand_out(self, tickets: Sequence[Ticket]) -> None:
        """Let the threads run these jobs, in this order."""
        if not tickets:
            return
        with self._change:
            self._work.extend(tickets)
            wanted = 1 if self._jobs_are_short() else len(tickets)
            self._change.notify(max(0, wanted - self._active))

    @property
    def is_busy(self) -> bool:
        """Whether jobs wait for a thread, or one is about to fetch more by itself."""
        if self._work:
            return True
        return self._active > 0 and self._begun != self._begun_before and self._jobs_are_short()

    def help_out(self) -> None:
        """Wake another thread if jobs wait and none was begun for a while."""
        now = time.monotonic()
        with self._change:
            if self._begun != self._begun_before:
                self._begun_before = self._begun
                self._begun_at = now
            elif self._work and now - self._begun_at >= _STUCK_SECONDS:
                self._change.notify()
                self._begun_at = now

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
        return any(thread.is_alive() for thread in self._threads)

    def _jobs_are_short(self) -> bool:
        return self._average < _SHORT_SECONDS * max(1, self._active)

    def _main(self, runner: Runner) -> None:
        runner.open()
        with self._change:
            self._active += 1
        while not self._stopping:
            try:
                ticket = self._work.popleft()
            except IndexError:
                self._fetch(runner)
                runner.flush()
                if not self._work:
                    self._rest()
                continue
            self._run(runner, ticket)
            if self._active > 1 and self._jobs_are_short():
                runner.flush()
                self._rest()
        runner.close()

    def _run(self, runner: Runner, ticket: Ticket) -> None:
        self._begun += 1
        start = time.perf_counter()
        try:
            runner.run(ticket)
        except Exception:
            # The runner answers for jobs; this is a fault of its own or of the storage.
            log.exception("the runner of %s failed", ticket)
        self._average += (time.perf_counter() - start - self._average) * 0.1

    def _rest(self) -> None:
        with self._change:
            needed = self._active == 1 or not self._jobs_are_short()
            if self._stopping or (self._work and needed):
                return
            self._active -= 1
            self._change.wait()
            self._active += 1
