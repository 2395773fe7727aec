"""Ends of jobs that wrote nothing: they wait for each other, to be committed together."""

from __future__ import annotations

import threading
import time

from zodbjobs import defaults
from zodbjobs.runtime.attempt import End


class Group:
    """The ends that wait in one runner, at most `seconds`, at most GROUP_JOBS.

    The runner adds and takes; the dispatcher takes what has become old while the runner's
    thread is busy with a long job.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._ends: list[End] = []
        self._since = 0.0
        self._lock = threading.Lock()

    def add(self, end: End) -> bool:
        """Add an end; whether it is time to commit them."""
        with self._lock:
            if not self._ends:
                self._since = time.monotonic()
            self._ends.append(end)
            return len(self._ends) >= defaults.GROUP_JOBS or self._is_old()

    def take(self) -> list[End]:
        """Take all."""
        if not self._ends:
            return []
        with self._lock:
            ends, self._ends = self._ends, []
        return ends

    def take_old(self) -> list[End]:
        """Take all if they have waited for long enough, else nothing."""
        with self._lock:
            if not self._is_old():
                return []
            ends, self._ends = self._ends, []
        return ends

    def give_back(self, ends: list[End]) -> None:
        """Put in front again what could not be committed."""
        if ends:
            with self._lock:
                self._ends[:0] = ends

    def _is_old(self) -> bool:
        return time.monotonic() - self._since >= self._seconds
