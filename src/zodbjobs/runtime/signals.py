"""Signals that ask a process to stop."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any

from zodbjobs import clock, defaults

#: The signals that stop a process in order.
STOP = (signal.SIGTERM, signal.SIGINT)


@contextlib.contextmanager
def taken(take: Callable[[int], object]) -> Iterator[None]:
    """Call `take`, in another thread, with the number of each signal to stop that arrives.

    A signal within SAME_SIGNAL_SECONDS of the first one is the same one, and is ignored.

    A handler alone runs late, or never, if the main thread begins to wait just then, or if
    another thread got the signal. What the interpreter writes to a pipe is always seen.
    """
    read, write = os.pipe()
    os.set_blocking(write, False)
    wakeup = signal.set_wakeup_fd(write)
    before = {number: signal.signal(number, _nothing) for number in STOP}

    def deliver() -> None:
        repeats_end = None
        while number := os.read(read, 1):
            if number[0] not in STOP:
                continue
            now = clock.monotonic()
            if repeats_end is None:
                repeats_end = now + defaults.SAME_SIGNAL_SECONDS
            elif now < repeats_end:
                continue
            take(number[0])

    thread = threading.Thread(target=deliver, name="signals", daemon=True)
    thread.start()
    try:
        yield
    finally:
        for number, handler in before.items():
            if signal.getsignal(number) is _nothing:
                signal.signal(number, handler)
        signal.set_wakeup_fd(wakeup)
        os.close(write)
        thread.join()
        os.close(read)


class StopFirst:
    """Calls `stop` before a signal to stop does what it did without this.

    For a server whose threads serve on meanwhile: `stop` is called in another thread, and when it
    returns the main thread does what the handler from before does; where SIGTERM had none, that is
    SystemExit. Another signal, SAME_SIGNAL_SECONDS after the first or later, doesn't wait for
    that: `again` is set, and the handler from before is called. A further one finds that handler.
    """

    def __init__(self, stop: Callable[[], object]) -> None:
        self._stop = stop
        self._before: dict[int, Any] = {}
        self._first: float | None = None
        self._stopped = False
        self._read, self._write = -1, -1
        #: Whether somebody has lost patience.
        self.again = False

    def install(self) -> None:
        """Take the signals, in the main thread alone; elsewhere this does nothing.

        One that is ignored, or that isn't Python's to handle, is left alone.
        """
        if threading.current_thread() is not threading.main_thread():
            return
        self._read, self._write = os.pipe()
        threading.Thread(target=self._attend, name="signals", daemon=True).start()
        for number in STOP:
            before = signal.getsignal(number)
            if before is signal.SIG_DFL or callable(before):
                self._before[number] = before
                signal.signal(number, self._handle)

    def remove(self) -> None:
        """Give the signals back, as far as nobody else has taken them since."""
        if threading.current_thread() is not threading.main_thread() or self._write < 0:
            return
        self._give_back()
        os.close(self._write)
        self._write = -1

    def _give_back(self) -> None:
        for number, before in self._before.items():
            if signal.getsignal(number) == self._handle:
                signal.signal(number, before)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        now = clock.monotonic()
        if self._first is None:
            self._first = now
            # No lock, for this may have interrupted anything.
            os.write(self._write, bytes([number]))
        elif self._stopped or now - self._first >= defaults.SAME_SIGNAL_SECONDS:
            self.again = not self._stopped
            before = self._before[number]
            self._give_back()
            if callable(before):
                before(number, frame)
            else:
                raise SystemExit(0)

    def _attend(self) -> None:
        got = os.read(self._read, 1)
        os.close(self._read)
        if got:
            try:
                self._stop()
            finally:
                self._stopped = True
                signal.pthread_kill(threading.main_thread().ident or 0, got[0])


def _nothing(number: int, frame: FrameType | None) -> None:
    """A handler, so that the interpreter writes to the pipe."""
