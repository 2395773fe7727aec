"""Listing: the jobs that have an owner, an object or a realm are in the job index by these.

An entry is made by the put, and goes when the job is taken out, forgotten or pruned. Everything
here works in the caller's transaction.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from zodbjobs.stored.lifecycle import history, labels
from zodbjobs.stored.lifecycle.completion import shard_of
from zodbjobs.stored.lifecycle.delivery import own_lane
from zodbjobs.stored.lifecycle.raw import state_of

if TYPE_CHECKING:
    from zodbjobs.stored.job import Job
    from zodbjobs.stored.labelled import Labelled
    from zodbjobs.stored.lifecycle.labels import AboutName
    from zodbjobs.stored.queue import Queue
    from zodbjobs.stored.queues import Queues
    from zodbjobs.stored.shard import Shard


def name_of_owner(owner: str) -> str:
    """The name in the index of somebody's jobs."""
    return f"owner:{owner}"


def name_of_realm(realm: str) -> str:
    """The name in the index of the jobs of a site."""
    return f"realm:{realm}"


def name_of_about(about: AboutName) -> str:
    """The name in the index of the jobs that are about an object."""
    oid, database = about
    return f"about:{oid.hex()}:{database}"


def add(queue: Queue, job: Job, now: int) -> None:
    """Add a job that has such labels, and is put into `queue` at the microsecond `now`."""
    names = list(_names(vars(job)))
    job._listed = queue.parent.job_index.add(own_lane(), names, now, job)


def drop(job: Any) -> None:
    """Take a job out of the index; nothing happens if it isn't there.

    It may be one that can't be loaded here. Its record isn't written.
    """
    state = state_of(job)
    listed = state.get("_listed")
    shard = shard_of(job) if listed else None
    if listed and shard is not None:
        shard.queue.parent.job_index.drop(listed, list(_names(state)), job)


def prune(shard: Shard, places: list[int]) -> None:
    """Take the entries of a shard's history with these keys out of it, and out of the index."""
    listed = [shard.history[place] for place in places if place & history.LISTED]
    if listed:
        shard._p_jar.prefetch([job for job in listed if job._p_jar is shard._p_jar])
    for job in listed:
        drop(job)
    history.drop_places(shard, places)


def leave(job: Labelled) -> None:
    """Take a job out that was put, and is NEW. A copy of such a one is about nothing from now on:
    in another database the name of the object may be that of any.
    """
    about = job._about
    if about is not None and job._p_jar is not None and not is_listed(job, name_of_about(about)):
        job._about = None
    drop(job)
    labels.mark(job)


def is_listed(job: Labelled, name: str) -> bool:
    """Whether a job is in the index under `name`; a copy of one isn't."""
    listed = job._listed
    shard = shard_of(job) if listed else None
    return (
        listed is not None
        and shard is not None
        and shard.queue.parent.job_index.has(listed, name, job)
    )


def newest(
    queues: Iterable[Queues], name: str, since: int, until: int
) -> Iterator[tuple[int, Any]]:
    """The jobs of one database or more under a name; see JobIndex.newest."""
    runs = [each.job_index.newest(name, since, until) for each in queues]
    return heapq.merge(*runs, key=lambda placed: placed[0], reverse=True)


def _names(state: Mapping[str, Any]) -> Iterator[str]:
    """The names in the index of a job with these attributes."""
    for attribute, name_of in _NAMES.items():
        value = state.get(attribute)
        if value is not None:
            yield name_of(value)


_NAMES: dict[str, Any] = {
    "_owner": name_of_owner,
    "_about": name_of_about,
    "_realm": name_of_realm,
}
