"""How many jobs a worker claims ahead."""

from __future__ import annotations

import time

from zodbjobs import defaults


class Pace:
    """As many as were lately done in CLAIM_SECONDS, and at least one for each thread.

    So long jobs stay with the queue, where other workers can get them, and what is put
    with a higher priority doesn't wait behind many that were claimed before.
    """

    def __init__(self, threads: int) -> None:
        self.size = threads
        self._least = threads
        self._most = max(threads, defaults.CLAIM_MOST)
        self._claimed_at = 0.0
        self._outstanding = 0  # after the last claim
        self._full = False

    def room(self, outstanding: int) -> int:
        """How many jobs to claim while `outstanding` are claimed and not ended."""
        room = self.size - outstanding
        if room * 2 >= self.size or self.size == self._least:
            return max(0, room)
        return 0

    def claimed(self, number: int, room: int, outstanding: int) -> None:
        """`number` jobs were claimed when there was room for `room`, beside `outstanding`."""
        # The machine's time, not the clock in use: this measures the machine.
        now = time.monotonic()
        if self._full:
            # Else time may have passed with nothing to do.
            done = (self._outstanding - outstanding) / (now - self._claimed_at)
            self.size = int(min(max(done * defaults.CLAIM_SECONDS, self._least), self._most))
        self._full = number == room
        self._outstanding = outstanding + number
        self._claimed_at = now
