"""Workload: the claims that wait for a thread, and how long jobs lately took."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Sequence
from itertools import islice

from zodbjobs import defaults
from zodbjobs.runtime.slot import Slot
from zodbjobs.stored.lifecycle.claim import Claim

# Seconds per job, for each thread at work, below which one thread is faster than several.
SHORT_SECONDS = 0.001

# What one job adds to the averages, and the most that it counts for.
_WEIGHT = 0.05
_MOST_SECONDS = 0.02


class Workload:
    """What a dispatcher hands out and threads take.

    Short jobs in many threads only fight for the interpreter's lock, so as long as jobs are
    short one thread runs them all; where they take time, all threads are at work.
    """

    def __init__(self, threads: int) -> None:
        #: Notified when there is something to do for threads that rest.
        self.change = threading.Condition()
        #: Threads at work that aren't in a long job.
        self.present = 0
        self._away = 0  # threads in a long job
        self._stuck_since: float | None = None
        self._claims: deque[Claim] = deque()
        self._threads = threads
        self._average = 0.0  # of what another thread could have done meanwhile
        # Of all that a job keeps its thread from others; long, until one has ended.
        self._seconds = defaults.CLAIM_SECONDS * threads
        self._any_ended = False

    def __len__(self) -> int:
        return len(self._claims)

    def resize(self, threads: int) -> None:
        """Have another number of threads; they come and go by themselves."""
        with self.change:
            self._threads = threads

    def hand_out(self, claims: Sequence[Claim]) -> None:
        """Let threads run these jobs, in this order."""
        if not claims:
            return
        with self.change:
            self._claims.extend(claims)
            self.call_threads(len(claims))

    def next(self) -> Claim | None:
        """Take the first claim, or None if none waits."""
        with self.change:  # another thread may be looking through them
            return self._claims.popleft() if self._claims else None

    def take_again(self, claim: Claim) -> None:
        """Put a claim in front again."""
        with self.change:
            self._claims.appendleft(claim)

    def first(self, number: int) -> list[Claim]:
        """The first claims, up to `number`; they stay."""
        with self.change:
            return list(islice(self._claims, number))

    def take_all(self) -> list[Claim]:
        """Take all that waits; for a worker that stops."""
        with self.change:
            claims = list(self._claims)
            self._claims.clear()
            self.change.notify_all()
        return claims

    def call_threads(self, claims: int) -> None:
        """Wake threads until enough for so many claims are present; under `change`."""
        wanted = min(1, claims) if self.jobs_are_short else claims
        self.change.notify(max(0, wanted - self.present))

    def take_stuck(self) -> list[Claim]:
        """Take all that waits if all threads have been in long jobs for a while.

        Others may have time for it.
        """
        now = time.monotonic()
        with self.change:
            if self._away < self._threads or not self._claims:
                self._stuck_since = None
                return []
            if self._stuck_since is None:
                self._stuck_since = now
            if now - self._stuck_since < defaults.LEFT_LYING_SECONDS:
                return []
            self._stuck_since = None
            claims = list(self._claims)
            self._claims.clear()
        return claims

    # How long jobs take

    @property
    def is_busy(self) -> bool:
        """Whether claims wait for a thread, or one is about to fetch more by itself."""
        return bool(self._claims) or (self.present > 0 and self.jobs_are_short)

    @property
    def jobs_are_short(self) -> bool:
        """Whether one thread runs them all, and loads many at once."""
        return self._average < SHORT_SECONDS * max(1, self.present)

    @property
    def seconds_per_job(self) -> float:
        """How long a job lately took, divided by the threads that were at work."""
        return self._seconds / max(1, self.present)

    def ended(self, slot: Slot) -> None:
        """Count the job that a thread has just ended."""
        # Waiting for the interpreter's lock counts as well; no single wait may decide.
        shareable = min(slot.shareable, _MOST_SECONDS)
        self._average += (shareable - self._average) * _WEIGHT
        weight = _WEIGHT if self._any_ended else 1.0
        self._seconds += (slot.seconds - self._seconds) * weight
        self._any_ended = True

    def is_in_long_job(self) -> None:
        """Count a thread as absent that has been in one job for long; under `change`."""
        self.present -= 1
        self._away += 1
        self._average = max(self._average, SHORT_SECONDS * self._threads)
        self._seconds = max(self._seconds, defaults.CLAIM_SECONDS * self._threads)

    def is_back(self) -> None:
        """Count a thread again whose long job has ended; under `change`."""
        self.present += 1
        self._away -= 1

    def left(self, was_away: bool) -> None:
        """Count a thread no more that has ended; under `change`."""
        if was_away:
            self._away -= 1
        else:
            self.present -= 1
