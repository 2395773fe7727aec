"""Thread pool: the runner threads of a worker."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence

from zodbjobs import defaults
from zodbjobs.runtime.runner import Runner
from zodbjobs.runtime.slot import Slot
from zodbjobs.runtime.transactions import Stopped
from zodbjobs.runtime.workload import Workload

log = logging.getLogger("zodbjobs")

# Seconds in one job after which its thread isn't counted on any more.
_LONG_SECONDS = 0.05

# Before a job is begun again after its runner failed, and a thread after one that ended.
_PAUSE_SECONDS = 1.0

# Between two times that a thread without work takes note of the commits of others.
_REST_SECONDS = 60.0


class _Thread:
    """One thread of the pool; another takes its place if it ends too early."""

    def __init__(self, slot: Slot, number: int) -> None:
        self.slot = slot
        self.number = number
        self.thread: threading.Thread | None = None
        self.is_present = False  # counted in workload.present
        self.is_away = False  # in a long job
        self.loaded = 0  # jobs that are run next, and that it has loaded


class ThreadPool:
    """Threads that run what waits in `workload`, one for each of `slots`.

    `make_runner` is called in each thread. `fetch` is called by a thread that has nothing to
    do: it books what ended and claims more, which is cheaper than to wake another thread for it.
    """

    def __init__(
        self,
        workload: Workload,
        slots: Sequence[Slot],
        make_runner: Callable[[Slot], Runner],
        fetch: Callable[[Runner], None],
    ) -> None:
        self._workload = workload
        self._make_runner = make_runner
        self._fetch = fetch
        self._stopping = False
        self._threads = [_Thread(slot, number) for number, slot in enumerate(slots, 1)]

    def start(self) -> None:
        """Start the threads."""
        for thread in self._threads:
            self._start(thread)

    def _start(self, thread: _Thread) -> None:
        name = f"zodbjobs runner {thread.number}"
        thread.thread = threading.Thread(target=self._main, args=(thread,), name=name, daemon=True)
        thread.thread.start()

    def supervise(self) -> None:
        """Count on threads in a long job no more, and replace those that have ended."""
        long_ago = time.monotonic() - _LONG_SECONDS
        workload = self._workload
        with workload.change:
            for thread in self._threads:
                called = thread.slot.called
                if called is not None and called < long_ago and not thread.is_away:
                    thread.is_away = True
                    workload.is_in_long_job()
            workload.call_threads(len(workload))
        for thread in self._threads:
            if not self._stopping and thread.thread and not thread.thread.is_alive():
                log.critical("a runner thread has ended; another one takes its place")
                self._start(thread)

    def stop(self) -> None:
        """Let the threads end after the jobs that they run."""
        with self._workload.change:
            self._stopping = True
            self._workload.change.notify_all()

    def is_alive(self) -> bool:
        """Whether a thread still runs."""
        return any(t.thread is not None and t.thread.is_alive() for t in self._threads)

    # In the threads

    def _main(self, thread: _Thread) -> None:
        runner = self._opened(thread.slot)
        if runner is None:
            return
        try:
            with self._workload.change:
                self._workload.present += 1
                thread.is_present = True
            while not self._stopping and runner.is_clean:  # else a new thread goes on
                self._turn(thread, runner)
        except BaseException:
            log.critical("a runner thread fails", exc_info=True)
        finally:
            self._leave(thread, runner)

    def _leave(self, thread: _Thread, runner: Runner) -> None:
        with self._workload.change:
            if thread.is_present:
                self._workload.left(thread.is_away)
            thread.is_present = thread.is_away = False
        thread.slot.attempt = thread.slot.called = None
        try:
            runner.close()
        except BaseException as error:
            log.warning("the connection of a runner can't be closed: %r", error)

    def _turn(self, thread: _Thread, runner: Runner) -> None:
        """Run one job, or fetch more, or rest."""
        workload = self._workload
        claim = workload.next()
        if claim is None:
            self._fetch(runner)
            if not workload:
                self._rest(thread, runner)
            return
        if not thread.loaded and workload.jobs_are_short:
            ahead = workload.first(defaults.LOAD_AHEAD - 1)
            thread.loaded = runner.load_ahead([claim, *ahead])
        thread.loaded = max(0, thread.loaded - 1)
        try:
            runner.run(claim)
        except Stopped as error:
            log.warning("%s is left to the next worker: %s", claim, error.__cause__)
        except BaseException:
            # The runner answers for jobs; this is a fault of its own or of the storage.
            log.exception("the runner of %s failed; the job is begun again", claim)
            workload.take_again(claim)
            with workload.change:
                workload.change.wait_for(lambda: self._stopping, _PAUSE_SECONDS)
        workload.ended(thread.slot)
        if thread.is_away:  # if it becomes so right now, the next job's end or the rest sees it
            with workload.change:
                self._come_back(thread)
        if workload.present > 1 and workload.jobs_are_short:
            self._rest(thread, runner)  # the next step of another thread commits what waits here

    def _opened(self, slot: Slot) -> Runner | None:
        """A runner with its connection; None if the pool stops before there is one."""
        while not self._stopping:
            try:
                return self._make_runner(slot)
            except Exception as error:
                log.warning("a runner can't open its connection (%s), it is tried again", error)
                with self._workload.change:
                    self._workload.change.wait_for(
                        lambda: self._stopping, defaults.MOST_BACKOFF_SECONDS
                    )
        return None

    def _come_back(self, thread: _Thread) -> None:
        if thread.is_away:
            thread.is_away = False
            self._workload.is_back()

    def _rest(self, thread: _Thread, runner: Runner) -> None:
        workload = self._workload
        with workload.change:
            self._come_back(thread)
            needed = workload.present == 1 or not workload.jobs_are_short
            if self._stopping or (workload and needed):
                return
            workload.present -= 1
            thread.is_present = False
            called = workload.change.wait(_REST_SECONDS)
            workload.present += 1
            thread.is_present = True
        if not called:
            runner.catch_up()
