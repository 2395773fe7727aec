"""The audit trail: who did what to which jobs and queues, and why."""

from __future__ import annotations

import random
from typing import NamedTuple

from BTrees.LOBTree import LOBTree
from persistent import Persistent

#: Bits of a key below the microseconds: two who add to it at once seldom draw the same.
TIE_BITS = 10


class Record(NamedTuple):
    """A deed, as the trail has it; stored as a plain tuple.

    `by`: the id of who did it, None for code that didn't say. `queue`: a name, or None. `job_ids`:
    object ids as numbers. `detail`: what was changed that isn't a job, as text.
    """

    action: str
    by: str | None = None
    why: str | None = None
    queue: str | None = None
    job_ids: tuple[int, ...] = ()
    realm: str | None = None
    detail: str | None = None


class AuditTrail(Persistent):
    """Deeds by time: `entries` has them under microseconds, shifted by TIE_BITS."""

    def __init__(self) -> None:
        self.entries = LOBTree()

    def add(self, micros: int, record: Record) -> None:
        """Note a deed; joins the transaction."""
        key = (micros << TIE_BITS) + random.getrandbits(TIE_BITS)
        while not self.entries.insert(key, tuple(record)):
            key += 1
