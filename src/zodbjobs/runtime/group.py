"""Ends of jobs that wrote nothing: they wait for each other, to be committed together."""

from __future__ import annotations

import threading
import time

from zodbjobs import defaults
from zodbjobs.runtime.attempt import End

# As many times as they should, ends have waited if their runner is busy with something else.
_LEFT = 2.0


class Group:
    """The ends that wait in one runner, at most `seconds`, at most `most` with a record each.

    Where commits take long, the ends wait for some times as long as the last one took: else the
    storage would be busy with nothing but small groups.

    The runner adds and takes; so does the dispatcher, with what its next step can commit,
    and with what is left while the runner's thread is in a long job, or rests.
    """

    def __init__(self, seconds: float, most: int) -> None:
        self._seconds = seconds
        self._most = most
        self._ends: list[End] = []
        self._records = 0  # that they have, other than what a bundle has in common
        self._since = 0.0
        self._longer = 0.0
        self._lock = threading.Lock()

    def add(self, end: End) -> bool:
        """Add an end; whether it is time to commit them."""
        with self._lock:
            if not self._ends:
                self._since = time.monotonic()
            self._ends.append(end)
            self._records += end.common is None
            return self._records >= self._most or self._is_old()

    def take(self) -> list[End]:
        """Take all."""
        if not self._ends:
            return []
        with self._lock:
            return self._take()

    def take_left(self) -> list[End]:
        """Take all if the runner, which is to commit them in time, has not."""
        if not self._ends:
            return []
        with self._lock:
            return self._take() if self._is_old(_LEFT) else []

    def give_back(self, ends: list[End]) -> None:
        """Put in front again what could not be committed."""
        if ends:
            with self._lock:
                self._ends[:0] = ends
                self._records += sum(end.common is None for end in ends)

    def committed(self, seconds: float) -> None:
        """A group was committed, and that took so long."""
        self._longer = min(seconds * defaults.GROUP_COMMITS, defaults.MOST_GROUP_SECONDS)

    def _take(self) -> list[End]:
        ends, self._ends = self._ends, []
        self._records = 0
        return ends

    def _is_old(self, times: float = 1.0) -> bool:
        wait = max(self._seconds, self._longer) if self._seconds else 0.0
        return time.monotonic() - self._since >= wait * times
