"""Results of jobs that wrote nothing: they wait for each other, to be committed together."""

from __future__ import annotations

import threading
import time

from zodbjobs import defaults
from zodbjobs.stored.lifecycle.attempt_result import AttemptResult

# As many times as they should, results have waited if their thread is busy with something else.
_LEFT = 2.0


class Group:
    """The results that wait in one thread, at most `seconds`, at most `most` with a record each.

    Where commits take long, the results wait for some times as long as the last one took: else
    the storage would be busy with nothing but small groups.

    The thread adds and takes; so does the dispatcher, with what its next step can commit,
    and with what is left while the thread is in a long job, or rests.
    """

    def __init__(self, seconds: float, most: int) -> None:
        self._seconds = seconds
        self._most = most
        self._results: list[AttemptResult] = []
        self._records = 0  # that they have, other than the shared results of a bundle
        self._since = 0.0
        self._longer = 0.0
        self._lock = threading.Lock()

    def add(self, result: AttemptResult) -> bool:
        """Add a result; return whether it is time to commit them."""
        with self._lock:
            if not self._results:
                self._since = time.monotonic()
            self._results.append(result)
            self._records += result.shared is None
            return self._records >= self._most or self._is_old()

    def is_full(self, since: float, records: int) -> bool:
        """Whether it is time to commit so many records of another kind, the first of which has
        waited since then, by the machine's monotonic clock.
        """
        return records >= self._most or time.monotonic() - since >= self._wait()

    def take(self) -> list[AttemptResult]:
        """Take all."""
        if not self._results:
            return []
        with self._lock:
            return self._take()

    def take_left(self) -> list[AttemptResult]:
        """Take all if the thread, which is to commit them in time, has not."""
        if not self._results:
            return []
        with self._lock:
            return self._take() if self._is_old(_LEFT) else []

    def give_back(self, results: list[AttemptResult]) -> None:
        """Put in front again what could not be committed."""
        if results:
            with self._lock:
                self._results[:0] = results
                self._records += sum(result.shared is None for result in results)

    def committed(self, seconds: float) -> None:
        """Note that a group was committed, and how long that took."""
        self._longer = min(seconds * defaults.GROUP_COMMITS, defaults.MOST_GROUP_SECONDS)

    def _take(self) -> list[AttemptResult]:
        results, self._results = self._results, []
        self._records = 0
        return results

    def _is_old(self, times: float = 1.0) -> bool:
        return time.monotonic() - self._since >= self._wait() * times

    def _wait(self) -> float:
        return max(self._seconds, self._longer) if self._seconds else 0.0
