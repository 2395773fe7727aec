"""Unique: a second put with a key returns the job that has it already.

Everything here works in the caller's transaction.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ZODB.broken import Broken

from zodbjobs.errors import BadArgument
from zodbjobs.interfaces import CALLBACKS, COMPLETED, NEW
from zodbjobs.stored.lifecycle.raw import state_of
from zodbjobs.stored.unique_keys import UniqueKey, UniqueKeys

if TYPE_CHECKING:
    from zodbjobs.stored.job import Job
    from zodbjobs.stored.queue import Queue

#: Until when a job has its key.
UNTIL = ("begun", "ended")


def check_unique(unique: object, until: object) -> None:
    """Raise BadArgument for what can't be a key, or another word of `unique_until`."""
    if until not in UNTIL:
        raise BadArgument(f"unique_until is 'begun' or 'ended', not {until!r}")
    if unique is None:
        if until != "begun":
            raise BadArgument("unique_until goes with unique=; give the key too")
        return
    if not isinstance(unique, str) or not unique:
        raise BadArgument(f"unique must be a str that isn't empty, not {unique!r}")


def unique_holder(queue: Queue, name: str) -> Job | None:
    """The job that has a key of the queue; None if the next put gets it."""
    key = _key(queue, name)
    return None if key is None else key.job


def rely_on(queue: Queue, name: str) -> Job | None:
    """The job that has a key; the current transaction conflicts if it loses it meanwhile."""
    key = _key(queue, name)
    if key is None:
        return None
    key.rely()
    return key.job


def _key(queue: Queue, name: str) -> UniqueKey | None:
    """The key of that name, if a job of the queue has it."""
    key = None if queue._unique_keys is None else queue._unique_keys.get(name)
    return None if key is None or key.job is None or _is_left_over(key, key.job) else key


def _is_left_over(key: UniqueKey, job: Job) -> bool:
    """Whether somebody has undone the end of the job that had the key until then: it has the key
    again, and isn't in its queue.
    """
    if not key.until_ended:
        return False  # a claim has taken it, and an undo of that puts the job back
    state = state_of(job)
    if job._p_changed is None or isinstance(job, Broken):
        return False  # it can't be loaded here, and is parked
    return state.get("_unique") is not key or job.status in (NEW, CALLBACKS, COMPLETED)


def is_unique_until_ended(job: Job) -> bool:
    """Whether nobody else has a job's unique key before it has ended."""
    return job._unique is not None and job._unique.until_ended


def give_unique(queue: Queue, job: Job, name: str, until_ended: bool) -> None:
    """Give a key, which no job has, to a job that is about to be delivered."""
    if queue._unique_keys is None:
        queue._unique_keys = UniqueKeys()
    job._unique = queue._unique_keys.give(str(name), job, until_ended)
    queue._p_jar.add(job._unique)  # else another database that refers to the job may take it
