"""Signals that ask a process to stop."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Callable, Iterator
from types import FrameType

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


def _nothing(number: int, frame: FrameType | None) -> None:
    """A handler, so that the interpreter writes to the pipe."""
