"""Shared results: one record for the short results of many jobs of a bundle.

Each of these jobs would otherwise be written anew at its end.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from persistent import Persistent


class SharedResults(Persistent):
    """The queue and shard of `size` jobs of a bundle, and how those of them ended that did.

    `by_key`: start and end in microseconds, and the result, by the key of the job. A result is
    added by the transaction that takes the job off its lease, never by another: that is what
    keeps two workers from ending one job, for neither writes the job. `left`: the keys of jobs
    that got callbacks since their put, and so end in their own record.

    Each job refers to this record, so a copy or an export of a job takes it along: at most
    ``defaults.BUNDLE_JOBS`` results of ``defaults.SHORT_RESULT`` characters, and nothing else.
    """

    # An abort empties what a savepoint had stored, and jobs that were put since refer to it.
    shard_name: tuple[str, int] | None = None
    size = 0
    by_key: Mapping[int, tuple[int, int, Any]] = MappingProxyType({})
    left: frozenset[int] = frozenset()

    def __init__(self, shard_name: tuple[str, int]) -> None:
        self.shard_name = shard_name
        self.by_key = {}

    def leave(self, key: int) -> None:
        """Let the job of that key end in its own record.

        Written here too, so that an end of it that is added at the same time conflicts.
        """
        self.left = self.left | {key}

    def add(self, results: Mapping[int, tuple[int, int, Any]]) -> None:
        """Add results by the keys of the jobs."""
        self.by_key = {**self.by_key, **results}
