"""Thread pool: the runner threads of a worker."""

from __future__ import annotations

import logging
import sys
import threading
import time
import traceback
from collections.abc import Callable, Sequence

from zodbjobs import clock, defaults
from zodbjobs.runtime.lane import Lane
from zodbjobs.runtime.runner import Runner
from zodbjobs.runtime.slot import Slot
from zodbjobs.runtime.transactions import Stopped
from zodbjobs.stored.lifecycle.claim import Claim

log = logging.getLogger("zodbjobs")

# Seconds in one job after which its thread isn't counted on any more.
_LONG_SECONDS = 0.05

# Before a job is begun again after its runner failed, and a thread after one that ended.
_PAUSE_SECONDS = 1.0

# Between two times that a thread without work takes note of the commits of others: where it is
# told of them, and each object that was written is kept for it until then ...
_REST_SECONDS = 5.0

# ... and where it has to ask a server.
_POLLED_REST_SECONDS = 60.0


class _Thread:
    """One thread of the pool; another takes its place if it ends too early."""

    def __init__(self, slot: Slot, number: int) -> None:
        self.slot = slot
        self.number = number
        self.thread: threading.Thread | None = None
        self.runner: Runner | None = None
        self.is_replaced = False  # as it is stuck
        self.is_present = False  # counted in workload.present
        self.is_away = False  # in a long job
        self.loaded = 0  # jobs that are run next, and that it has loaded


def _has_timed_out(thread: _Thread) -> bool:
    attempt = thread.slot.attempt
    return attempt is not None and attempt.timed_out


def _is_stuck(thread: _Thread) -> bool:
    """Whether it hasn't returned from a job within some time after its timeout."""
    attempt = thread.slot.attempt
    if attempt is None or not attempt.timed_out or attempt.deadline is None:
        return False
    return clock.monotonic() >= attempt.deadline + defaults.STUCK_SECONDS


def _stack_of(thread: threading.Thread) -> str:
    """Where a thread is, as text."""
    frame = sys._current_frames().get(thread.ident or 0)  # noqa: SLF001
    return "" if frame is None else "".join(traceback.format_stack(frame))


class ThreadPool:
    """Threads that run what waits in the workload of `lane`, one for each of its slots.

    A thread that doesn't return from a job which has timed out is stuck: it is left to itself, and
    another one takes its place, with a slot of `make_slot`. Slots that come and go do so in
    `slots` as well, which has those of all lanes.
    `make_runner` is called in each thread. `fetch` is called by a thread that has nothing to
    do: it books what ended and claims more, which is cheaper than to wake another thread for it.
    """

    def __init__(
        self,
        lane: Lane,
        slots: list[Slot],
        make_slot: Callable[[bytes], Slot],
        make_runner: Callable[[Slot], Runner],
        fetch: Callable[[Runner], None],
    ) -> None:
        self._lane = lane
        self._workload = lane.workload
        self._slots = slots
        self._make_slot = make_slot
        self._make_runner = make_runner
        self._fetch = fetch
        self._stopping = False
        self._threads = [_Thread(slot, number) for number, slot in enumerate(lane.slots, 1)]
        self._leaving: list[_Thread] = []  # that are too many, and run a job still
        self._stuck: list[_Thread] = []

    @property
    def stuck(self) -> int:
        """How many threads are stuck right now."""
        if self._stuck:
            self._stuck = [t for t in self._stuck if t.thread and t.thread.is_alive()]
        return len(self._stuck)

    def start(self) -> None:
        """Start the threads."""
        for thread in self._threads:
            self._start(thread)

    def _start(self, thread: _Thread) -> None:
        name = f"zodbjobs runner {thread.number}"
        thread.thread = threading.Thread(target=self._main, args=(thread,), name=name, daemon=True)
        thread.thread.start()

    def supervise(self) -> None:
        """Count on threads in a long job no more; replace those that have ended or are stuck."""
        now = time.monotonic()
        long_ago, too_long_ago = now - _LONG_SECONDS, now - defaults.TOGETHER_SECONDS
        workload = self._workload
        if self._leaving:
            self._see_off()
        with workload.change:
            for thread in (*self._threads, *self._leaving):
                called = thread.slot.called
                if called is not None and called < long_ago and not thread.is_away:
                    thread.is_away = True
                    workload.is_in_long_job()
            workload.call_threads(len(workload))
        if len(self._threads) > 1:
            for thread in self._threads:
                called = thread.slot.called
                if called is not None and called < too_long_ago:
                    self._take_group(thread)
        for place, thread in enumerate(self._threads):
            if not self._stopping and _is_stuck(thread):
                self._replace(place, thread)
            elif not self._stopping and thread.thread and not thread.thread.is_alive():
                log.critical("a runner thread has ended; another one takes its place")
                self._start(thread)

    def resize(self) -> int:
        """Start threads, or let some end after their jobs, so that there are as many as the lane
        has room for; how many were started, or less than 0.
        """
        number = self._lane.size - len(self._threads)
        for _ in range(number):
            slot = self._make_slot(self._lane.oid)
            self._slots.append(slot)
            self._threads.append(_Thread(slot, len(self._threads) + 1))
            self._start(self._threads[-1])
        for _ in range(-number):
            thread = self._threads.pop()
            thread.is_replaced = True
            self._leaving.append(thread)
        if number < 0:
            with self._workload.change:
                self._workload.change.notify_all()
        return number

    def _see_off(self) -> None:
        """Forget the slots of threads that were too many, and have ended."""
        for thread in list(self._leaving):
            is_stuck = _is_stuck(thread)
            if is_stuck:
                self._part_with(thread)
            if is_stuck or thread.thread is None or not thread.thread.is_alive():
                self._leaving.remove(thread)
                self._slots.remove(thread.slot)

    def _replace(self, place: int, stuck: _Thread) -> None:
        """Let another thread take the place of a stuck one."""
        self._part_with(stuck)
        slot = self._make_slot(self._lane.oid)
        self._slots[self._slots.index(stuck.slot)] = slot
        slot.group.give_back(stuck.slot.group.take())
        self._threads[place] = _Thread(slot, stuck.number)
        self._start(self._threads[place])

    def _part_with(self, stuck: _Thread) -> None:
        """Tell of a stuck thread, and leave it to itself; it ends when its job returns."""
        assert stuck.thread is not None
        assert stuck.slot.attempt is not None
        log.critical(
            "thread %r doesn't return from %s, which has timed out; another one takes its place. "
            "It is at:\n%s",
            stuck.thread.name,
            stuck.slot.attempt.shown,
            _stack_of(stuck.thread),
        )
        stuck.is_replaced = True
        self._take_group(stuck)
        with self._workload.change:
            self._count_out(stuck)
        if stuck.runner is not None:
            stuck.runner.let_others()
        self._stuck.append(stuck)

    def _take_group(self, thread: _Thread) -> None:
        """Give the jobs whose effects wait for the one that runs in a thread to other threads."""
        claims = [] if thread.runner is None else thread.runner.take_group()
        if claims:
            log.info("%s jobs wait no longer for the one behind them", len(claims))
            self._take_again(claims)
            with self._workload.change:
                self._workload.call_threads(len(claims))

    def _count_out(self, thread: _Thread) -> None:
        """Count a thread no more; under `change`."""
        if thread.is_present:
            self._workload.left(thread.is_away)
        thread.is_present = thread.is_away = False

    def stop(self) -> None:
        """Let the threads end after the jobs that they run."""
        with self._workload.change:
            self._stopping = True
            self._workload.change.notify_all()

    def is_alive(self) -> bool:
        """Whether a thread still runs, other than in a job that has timed out."""
        return any(
            t.thread is not None and t.thread.is_alive() and not _has_timed_out(t)
            for t in (*self._threads, *self._leaving)
        )

    @property
    def is_empty(self) -> bool:
        """Whether no thread is left, nor one that is stuck."""
        return not (self._threads or self._leaving or self.stuck)

    # In the threads

    def _main(self, thread: _Thread) -> None:
        runner = self._opened(thread.slot)
        if runner is None:
            return
        thread.runner = runner
        try:
            with self._workload.change:
                self._workload.present += 1
                thread.is_present = True
            # Else a new thread goes on.
            while not self._stopping and runner.is_clean and not thread.is_replaced:
                self._turn(thread, runner)
        except BaseException:
            log.critical("a runner thread fails", exc_info=True)
        finally:
            self._leave(thread, runner)

    def _leave(self, thread: _Thread, runner: Runner) -> None:
        with self._workload.change:
            self._count_out(thread)
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
            self._end_group(runner)
            self._fetch(runner)
            if not workload:
                self._rest(thread, runner)
            return
        try:
            if not thread.loaded and workload.jobs_are_short:
                ahead = workload.first(defaults.LOAD_AHEAD - 1)
                thread.loaded = runner.load_ahead([claim, *ahead])
            thread.loaded = max(0, thread.loaded - 1)
            runner.run(claim)
        except Stopped as error:
            log.warning("%s is left to the next worker: %s", claim, error.__cause__)
        except BaseException:
            # The runner answers for jobs; this is a fault of its own or of the storage.
            log.exception("the runner of %s failed; the job is begun again", claim)
            self._take_again(runner.unfinished() or [claim])
            with workload.change:
                workload.change.wait_for(lambda: self._stopping, _PAUSE_SECONDS)
        if thread.is_replaced and not thread.is_present:  # it was stuck, and is counted no more
            return
        workload.ended(thread.slot)
        if thread.is_away:  # if it becomes so right now, the next job's end or the rest sees it
            with workload.change:
                self._come_back(thread)
        if workload.present > 1 and workload.jobs_are_short:
            self._end_group(runner)
            self._rest(thread, runner)  # the next step of another thread commits what waits here

    def _end_group(self, runner: Runner) -> None:
        """Let a thread that has nothing to do commit what its jobs did together."""
        try:
            runner.end_group()
        except Stopped as error:
            log.warning("what was not committed is left to the next worker: %s", error.__cause__)
        except BaseException:
            log.exception("a runner failed; its jobs are begun again")
            self._take_again(runner.unfinished())

    def _take_again(self, claims: Sequence[Claim]) -> None:
        """Put claims in front again, in their order."""
        for claim in reversed(claims):
            self._workload.take_again(claim)

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
            if self._stopping or thread.is_replaced or (workload and needed):
                return
            workload.present -= 1
            thread.is_present = False
            seconds = _POLLED_REST_SECONDS if runner.must_poll else _REST_SECONDS
            called = workload.change.wait(seconds)
            workload.present += 1
            thread.is_present = True
        if not called:
            runner.catch_up()
