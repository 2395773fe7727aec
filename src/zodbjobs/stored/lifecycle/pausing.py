"""Pausing: a queue, or jobs of it, are kept from beginning, and let go on; new ones are refused.

Everything here works in the caller's transaction.
"""

from __future__ import annotations

import fnmatch
from typing import TYPE_CHECKING, Any

from zodbjobs import clock
from zodbjobs.errors import BadArgument, Draining, NotStored
from zodbjobs.queue_names import spoken
from zodbjobs.stored.lifecycle import delivery, keys, tallies, telling
from zodbjobs.stored.lifecycle.current import read_as_current
from zodbjobs.stored.lifecycle.entries import job_of
from zodbjobs.stored.pauses import Pause

if TYPE_CHECKING:
    from zodbjobs.stored.job import Job
    from zodbjobs.stored.lifecycle.claim import Claim
    from zodbjobs.stored.queue import Queue
    from zodbjobs.stored.shard import Shard


def pause(queue: Queue, reason: str, match: str | None, drains: bool = False) -> None:
    """What Queue.pause() and Queue.drain() do."""
    check_reason(reason, f"{spoken(queue.name)} is paused or drained")
    if match is not None and (not isinstance(match, str) or not match):
        raise BadArgument(f"match is a glob for what a job calls, 'shop.mail:*', not {match!r}")
    if queue._p_jar is None:
        raise NotStored(f"{spoken(queue.name)} isn't stored; take it from zodbjobs.get_queue()")
    for there in queue._pauses:
        if there.match == match and there.drains == drains:
            there.reason = reason
            return
    made = Pause(reason, match, clock.now(), len(queue.shards))
    if drains:
        made.drains = True
    queue._p_jar.add(made)
    queue._pauses = (*queue._pauses, made)
    if not drains:
        telling.paused(queue, reason, match)


def check_reason(reason: str, what: str) -> None:
    """Raise BadArgument for what is no reason for a pause; `what` tells whose."""
    if not isinstance(reason, str) or not reason.strip():
        raise BadArgument(
            f"{what} for a reason, a text for those who wonder why nothing happens, not for "
            f"{reason!r}"
        )


def resume(queue: Queue, match: str | None) -> bool:
    """What Queue.resume() does."""
    over = [there for there in queue._pauses if there.match == match]
    if not over and match is not None:
        known = ", ".join(repr(p.match) for p in queue._pauses if p.match is not None)
        raise BadArgument(
            f"{spoken(queue.name)} isn't paused for {match!r}; it is for {known or 'nothing'}"
        )
    if over:
        queue._pauses = tuple(there for there in queue._pauses if there not in over)
    for there in over:
        there.lifted = True  # whoever puts a job aside meanwhile conflicts
        if not there.drains:
            telling.resumed(queue, match)
        if match is not None:
            read_as_current(there.added)
            for shard in queue.shards:
                _deliver(there, shard)
    return bool(over)


def _deliver(over: Pause, shard: Shard) -> None:
    """Let the jobs of a shard go on that lie in a pause: into an inbox, where no worker conflicts
    with it.
    """
    inbox = delivery.own_inbox(shard)
    bundle = over.held[shard.index]
    first = bundle.first()
    if first is not None:
        bundle.lowest = first
        inbox[keys.free_key(inbox, first)] = bundle
    for key, entry in list(over.entries[shard.index].items()):
        free = keys.free_key(inbox, key)
        if shard.rekey(job_of(entry), key, free):
            inbox[free] = entry
            tallies.left(inbox, -1)  # it was put before


def is_paused(queue: Queue) -> bool:
    """Whether nothing of the queue is to be claimed; cheap for one that has no pause."""
    return queue._pauses != () and whole(queue) is not None


def whole(queue: Queue) -> Pause | None:
    """The pause of all jobs of the queue, or None."""
    return next((p for p in queue._pauses if p.match is None and not p.drains), None)


def pause_of(queue: Queue, job: Job) -> Pause | None:
    """The pause that keeps a job from beginning, or None; cheap for a queue that has none."""
    for there in queue._pauses:
        if there.drains:
            continue
        if there.match is None or fnmatch.fnmatchcase(job.description, there.match):
            return there
    return None


def put_aside(shard: Shard, claim: Claim, item: Any, match: str | None) -> None:
    """Put a claimed job that wasn't begun, or an entry of it, into the pause of that `match`; back
    to where it waited, if it is the whole queue that is paused, or if the pause is over.
    """
    there = next((p for p in shard.queue._pauses if p.match == match and not p.drains), None)
    if there is not None and match is not None:
        read_as_current(there)
        there.add(shard, claim.key, item)
    else:
        shard.make_ready(claim.key, item)


def is_held(job: Job) -> bool:
    """Whether a job lies in a pause."""
    shard = job._shard
    return shard is not None and shard.held(job._key or 0, job) is not None


def check_open(queue: Queue) -> None:
    """Raise Draining if the queue takes no new jobs."""
    for there in queue._pauses:
        if there.drains:
            raise Draining(
                f"{spoken(queue.name)} takes no new jobs: {there.reason}; put them into another "
                f"queue, or open it with queue.resume(), or `zodbjobs resume DATABASE --queue "
                f"{queue.name!r}`"
            )
