"""How the processes of one supervisor know when to end: by the ends of two pipes.

The supervisor alone holds the writing end of the first: when that closes, because it stops
or was killed, the workers stop in order. The workers hold the writing end of the second
too: when that has closed everywhere, nobody needs the ZEO server any more.
"""

from __future__ import annotations

import os
import select
import threading
from collections.abc import Callable

from zodbjobs import defaults

#: Seconds that a worker has for its end: those of its jobs, and some to put its record away.
STOP_SECONDS = defaults.STOP_SECONDS + 15


class Lifeline:
    """The supervisor's ends, and those that it hands to its children."""

    def __init__(self) -> None:
        self._stop_read, self._stop_write = os.pipe()
        self._users_read, self._users_write = os.pipe()
        self._open = {self._stop_read, self._stop_write, self._users_read, self._users_write}

    def for_worker(self) -> tuple[int, int]:
        """The descriptors that a worker inherits: one to read, one to hold."""
        return self._stop_read, self._users_write

    def for_server(self) -> tuple[int, int]:
        """The descriptors that the server inherits; both to read."""
        return self._stop_read, self._users_read

    def stop_workers(self) -> None:
        """Tell the workers to stop in order."""
        self._close(self._stop_write)

    def stop_server(self) -> None:
        """Tell the server that the supervisor doesn't need it any more."""
        self._close(self._users_write)

    def close(self) -> None:
        """Close all ends."""
        for descriptor in list(self._open):
            self._close(descriptor)

    def _close(self, descriptor: int) -> None:
        if descriptor in self._open:
            self._open.discard(descriptor)
            os.close(descriptor)


def watch_in_worker(descriptors: tuple[int, int], stop: Callable[[], object]) -> None:
    """Call `stop`, in another thread, when the worker is to stop."""
    stop_read, users_write = descriptors
    os.set_inheritable(stop_read, False)
    os.set_inheritable(users_write, False)  # what a job starts isn't a user of the server

    def watch() -> None:
        os.read(stop_read, 1)
        stop()

    threading.Thread(target=watch, name="lifeline", daemon=True).start()


def watch_in_server(descriptors: tuple[int, int], stop: Callable[[], object]) -> None:
    """Call `stop`, in another thread, when nobody needs the server any more."""
    stop_read, users_read = descriptors

    def watch() -> None:
        os.read(stop_read, 1)
        # The limit is for a process that a job forked, and that lives on with a copy.
        select.select([users_read], [], [], STOP_SECONDS)
        stop()

    threading.Thread(target=watch, name="lifeline").start()
