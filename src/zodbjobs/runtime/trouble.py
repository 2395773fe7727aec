"""Waiting while the storage can't be reached, or has no room."""

from __future__ import annotations

import logging
import threading

from zodbjobs import defaults

log = logging.getLogger("zodbjobs")


class Trouble:
    """Tells of it once, and waits between two tries, longer and longer, up to 5 seconds."""

    def __init__(self, stopping: threading.Event) -> None:
        self._stopping = stopping
        self._times = 0

    def wait_out(self, error: Exception) -> bool:
        """Wait before the next try; False if the worker stops meanwhile."""
        if not self._times:
            log.warning("the storage is in trouble, it is tried again and again: %s", error)
        seconds = defaults.TROUBLE_SECONDS * 2 ** min(self._times, 10)
        self._times += 1
        return not self._stopping.wait(min(seconds, defaults.MOST_TROUBLE_SECONDS))

    def is_over(self) -> bool:
        """It went well, or something else is begun; whether there was trouble before."""
        times, self._times = self._times, 0
        return times > 0
