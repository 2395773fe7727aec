"""How jobs of one bundle ended, those of which there is nothing to tell but a short result.

One record for many of them, of which each would otherwise be written anew.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

from persistent import Persistent

if TYPE_CHECKING:
    from zodbjobs.stored.shard import Shard


class Ending(NamedTuple):
    """When the last attempt started and ended (microseconds), and the result."""

    started: int | None
    finished: int
    result: Any


class Ends(Persistent):
    """What `size` jobs of a bundle have in common for good: their shard, and this record.

    An end is added by the transaction that takes the job off its lease, never by another:
    that is what keeps two workers from ending one job, for neither writes the job.
    """

    # An abort empties what a savepoint had stored, and jobs that were put since refer to it.
    shard: Any = None
    size = 0
    by_key: Mapping[int, tuple[int, int, Any]] = MappingProxyType({})

    def __init__(self, shard: Shard) -> None:
        self.shard = shard
        self.by_key = {}

    def __getnewargs__(self) -> tuple[()]:
        # As with shards, the jobs then refer to it by its oid alone.
        return ()

    def get(self, key: int | None) -> Ending | None:
        """The end of the job that was put under `key`, if it is here."""
        found = self.by_key.get(key or 0)
        return None if found is None else Ending(*found)

    def add(self, endings: Mapping[int, tuple[int, int, Any]]) -> None:
        """Add ends by the keys of the jobs."""
        self.by_key = {**self.by_key, **endings}


def shard_from(home: Any) -> Shard | None:
    """The shard of a job with that `_home`: it is one, or what its bundle has in common."""
    shard: Shard | None = home.shard if isinstance(home, Ends) else home
    return shard


def ending_of(state: Mapping[str, Any]) -> Ending | None:
    """How the job with these attributes ended, or None; they are those of its record."""
    finished = state.get("_finished")
    if finished is not None:
        return Ending(state.get("_started"), finished, state.get("_result"))
    home = state.get("_home")
    return home.get(state.get("_key")) if isinstance(home, Ends) else None
