"""Two pipes by whose closing the processes of a supervisor learn when to stop.

The supervisor alone holds the writing end of the stop pipe. That closes when the supervisor
stops or is killed, and then the workers stop in order. The writing end of the users pipe is
held by the workers too. When that has closed everywhere, nobody needs the ZEO server any more.
"""

from __future__ import annotations

import os
import select
import threading
from collections.abc import Callable

from zodbjobs import defaults

#: Seconds that a worker has to stop: those of its jobs, and some to put its record away.
STOP_SECONDS = defaults.STOP_SECONDS + 15


class ShutdownPipes:
    """Both pipes in the supervisor, and the descriptors that its children inherit."""

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
        """Let the workers stop in order."""
        self._close(self._stop_write)

    def stop_server(self) -> None:
        """Let the server stop as soon as no worker needs it."""
        self._close(self._users_write)

    def close(self) -> None:
        """Close all ends."""
        for descriptor in list(self._open):
            self._close(descriptor)

    def _close(self, descriptor: int) -> None:
        if descriptor in self._open:
            self._open.discard(descriptor)
            os.close(descriptor)


def call_when_worker_stops(descriptors: tuple[int, int], stop: Callable[[], object]) -> None:
    """Call `stop`, in another thread, when the worker is to stop."""
    stop_read, users_write = descriptors
    os.set_inheritable(stop_read, False)
    os.set_inheritable(users_write, False)  # what a job starts isn't a user of the server

    def wait() -> None:
        os.read(stop_read, 1)
        stop()

    threading.Thread(target=wait, name="shutdown pipe", daemon=True).start()


def call_when_server_stops(descriptors: tuple[int, int], stop: Callable[[], object]) -> None:
    """Call `stop`, in another thread, when nobody needs the server any more."""
    stop_read, users_read = descriptors

    def wait() -> None:
        os.read(stop_read, 1)
        # The limit is for a process that a job forked, and that lives on with a copy.
        select.select([users_read], [], [], STOP_SECONDS)
        stop()

    threading.Thread(target=wait, name="shutdown pipe").start()
