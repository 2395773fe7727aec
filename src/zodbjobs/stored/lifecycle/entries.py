"""Entries: how a job is filed that can't be claimed by its key alone.

Most jobs stand in the trees of a shard as they are. Such a one stands there as a plain tuple, for
claims load no jobs, and a server that hasn't this package must be able to merge the trees.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from zodbjobs.stored.lifecycle.keys import micros_of
from zodbjobs.stored.lifecycle.raw import state_of
from zodbjobs.stored.unique_keys import UniqueKey

if TYPE_CHECKING:
    from zodbjobs.stored.job import Job


class Entry(NamedTuple):
    """A job, how often it was interrupted, and what a claim of it has to see to.

    `names`: those of its quotas; None: it is claimed to be ended, for it wasn't begun in time.
    `unique`: the key that it loses by being claimed. `deadline`: the microseconds by which it
    must have begun. `refused`: the names of the filters of agents that have refused it.
    """

    times: int
    job: Job
    names: tuple[str, ...] | None = ()
    unique: UniqueKey | None = None
    deadline: int | None = None
    refused: tuple[str, ...] = ()

    def item(self) -> tuple[Any, ...]:
        """As it stands in a tree. ZODB's writer asks about each value in it, so that there are few
        is worth a test.
        """
        is_short = self.unique is None and self.deadline is None and not self.refused
        return self[:3] if is_short else tuple(self)


def item_for(job: Job, times: int = 0) -> Any:
    """How `job`, which was interrupted so many times, is filed: as it is, or as an entry.

    It has its key, which tells when it was put. It may be one that can't be loaded here.
    """
    state = state_of(job)
    names, unique = state.get("_quota_names") or (), state.get("_unique")
    if not isinstance(unique, UniqueKey) or unique.job is not job or unique.until_ended:
        unique = None
    if not names and unique is None:
        return (times, job) if times else job
    return Entry(times, job, names, unique, deadline_for(job) if names else None).item()


def deadline_for(job: Job) -> int | None:
    """The microseconds by which a job that was put must begin; None for one that has begun once.

    It may be one that can't be loaded here.
    """
    state = state_of(job)
    begin_by: int | None = state.get("_begin_by")
    if begin_by is None or state.get("_started") is not None:
        return None
    begins: int | None = state.get("_begin_after")
    if begins is None:
        begins = state.get("_created")
    return (micros_of(state["_key"]) if begins is None else begins) + begin_by


def entry_of(item: Any) -> Entry:
    """An item that is no bundle, as an entry."""
    return Entry(*item) if type(item) is tuple else Entry(0, item)


def job_of(item: Any) -> Any:
    """The job of an item; a Bundle as it is."""
    return item[1] if type(item) is tuple else item


def too_late(job: Job) -> Any:
    """How a job is filed that wasn't begun in time, and only is to be ended."""
    return Entry(0, job, None, entry_of(item_for(job)).unique).item()
