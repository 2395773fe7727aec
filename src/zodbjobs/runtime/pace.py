"""How many jobs a worker claims ahead."""

from __future__ import annotations

import time

from zodbjobs import defaults


class Pace:
    """As many as are done in CLAIM_SECONDS, and at least one for each thread.

    Four times as many while claims are used up faster, half when they last longer; so long jobs
    stay with the queue, where other workers can get them.
    """

    def __init__(self, threads: int) -> None:
        self.size = threads
        self._least = threads
        self._claimed_at = 0.0
        self._full = False

    def room(self, outstanding: int) -> int:
        """How many jobs to claim while `outstanding` are claimed and not ended."""
        room = self.size - outstanding
        if room * 2 >= self.size or self.size == self._least:
            return max(0, room)
        return 0

    def claimed(self, number: int, room: int) -> None:
        """`number` jobs were claimed when there was room for `room`."""
        # The machine's time, not the clock in use: this measures the machine.
        now = time.monotonic()
        elapsed = now - self._claimed_at
        if elapsed > 2 * defaults.CLAIM_SECONDS:
            self.size = max(self._least, self.size // 2)
        elif self._full and elapsed < defaults.CLAIM_SECONDS:
            self.size = min(self.size * 4, max(self._least, defaults.CLAIM_MOST))
        self._full = number == room
        self._claimed_at = now
