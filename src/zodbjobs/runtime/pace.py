"""How many jobs a worker claims ahead."""

from __future__ import annotations

from zodbjobs import defaults

# A claim is at most so many times the one before: the first jobs may be unlike the others.
_GROWTH = 8


class Pace:
    """As many as are done in CLAIM_SECONDS, and at least one for each thread.

    So long jobs stay with the queue, where other workers can get them, and what is put
    with a higher priority doesn't wait behind many that were claimed before.

    What counts is how long jobs take, not how many were lately done: that also depends on
    how many were claimed, and would keep small claims small.
    """

    def __init__(self, threads: int) -> None:
        self.size = threads
        self._least = threads
        self._most = max(threads, defaults.CLAIM_MOST)

    def room(self, outstanding: int) -> int:
        """How many jobs to claim while `outstanding` are claimed and not ended."""
        room = self.size - outstanding
        if room * 2 >= self.size or self.size == self._least:
            return max(0, room)
        return 0

    def claimed(self, number: int, seconds_per_job: float) -> None:
        """`number` jobs were claimed; lately a job kept a thread for so many seconds, or, if
        several threads are at work, the worker for that divided by their number.
        """
        wanted = self._most
        if seconds_per_job > 0:
            wanted = int(min(defaults.CLAIM_SECONDS / seconds_per_job, wanted))
        # What was claimed tells how many jobs the measure is based upon.
        self.size = max(min(wanted, max(self.size, number * _GROWTH)), self._least)
