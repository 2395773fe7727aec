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
        self._least = threads
        self._most = max(threads, defaults.CLAIM_MOST)
        self._grown = threads

    def resize(self, threads: int) -> None:
        """Claim for another number of threads."""
        self._least = threads
        self._most = max(threads, defaults.CLAIM_MOST)

    def room(self, outstanding: int, seconds_per_job: float) -> int:
        """How many jobs to claim while `outstanding` are claimed and not ended.

        `seconds_per_job`: how long a job lately took, divided by the threads at work.
        """
        wanted = self._grown
        if seconds_per_job > 0:
            wanted = int(min(defaults.CLAIM_SECONDS / seconds_per_job, wanted))
        size = max(wanted, self._least)
        room = size - outstanding
        return max(0, room) if room * 2 >= size or size == self._least else 0

    def claimed(self, number: int) -> None:
        """So many jobs were claimed; the next measure will be based upon them."""
        self._grown = min(max(self._grown, number * _GROWTH), self._most)
