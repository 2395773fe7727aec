"""Shared results: one record for the short results of many jobs of a bundle.

Each of these jobs would otherwise be written anew at its end.
"""

from __future__ import annotations

import pickle
from collections.abc import Sequence
from typing import Any

from persistent import Persistent

#: Start and end in microseconds, and the result.
SharedResult = tuple[int, int, Any]

_PROTOCOL = 4  # which each Python loads that zodbjobs runs on


class SharedResults(Persistent):
    """The queue and shard of `size` jobs of a bundle, and how those of them ended that did.

    A result is added by the transaction that takes the job off its lease, never by another: that
    is what keeps two workers from ending one job, for neither writes the job. `left`: the keys of
    jobs that got callbacks since their put, and so end in their own record.

    Each job refers to this record, so a copy or an export of a job takes it along: at most
    ``defaults.BUNDLE_JOBS`` results of ``defaults.SHORT_RESULT`` characters, and nothing else.

    `packed` has an entry for each time that results were added, which is a pickle of their keys,
    starts, durations and values. The record is written anew each time; ZODB would ask its writer
    about each number in it, whether that is an object with a record of its own.
    """

    # An abort empties what a savepoint had stored, and jobs that were put since refer to it.
    shard_name: tuple[str, int] | None = None
    size = 0
    packed: tuple[bytes, ...] = ()
    left: frozenset[int] = frozenset()
    _v_by_key: dict[int, SharedResult] | None = None

    def __init__(self, shard_name: tuple[str, int]) -> None:
        self.shard_name = shard_name

    def leave(self, key: int) -> None:
        """Let the job of that key end in its own record.

        Written here too, so that an end of it that is added at the same time conflicts.
        """
        self.left = self.left | {key}

    def add(self, results: Sequence[tuple[int, int, int, Any]]) -> None:
        """Add short results, each after the key of its job, its start and its end."""
        keys, starts, ends, values = zip(*results, strict=True)
        took = tuple(end - start for start, end in zip(starts, ends, strict=True))
        self.packed = (*self.packed, pickle.dumps((keys, starts, took, values), _PROTOCOL))
        self._v_by_key = None

    def get(self, key: int | None) -> SharedResult | None:
        """The result of the job of that key, or None."""
        packed = self.packed  # loads the record, which drops what an older state of it had
        found = self._v_by_key
        if found is None:
            found = self._v_by_key = {}
            for each in packed:
                for number, start, took, value in zip(*pickle.loads(each), strict=True):
                    found[number] = start, start + took, value
        return None if key is None else found.get(key)
