"""Delivery: how what is put reaches an inbox of a queue, as a job or as a bundle of them.

A producer, which is a thread of a process, stays with the inbox that it drew. After a
transaction of its that failed it draws another, for it may not be alone there.
"""

from __future__ import annotations

import contextlib
import os
import random
import threading
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from transaction.interfaces import NoTransaction

from zodbjobs import defaults
from zodbjobs.stored.bundle import Bundle
from zodbjobs.stored.lifecycle import keys, tallies
from zodbjobs.stored.lifecycle.entries import item_for, job_of
from zodbjobs.stored.shared_results import SharedResults

if TYPE_CHECKING:
    from zodbjobs.stored.job import Job
    from zodbjobs.stored.queue import Queue
    from zodbjobs.stored.shard import Shard

#: Called after each commit in this process that put jobs, with the connection of their queue.
after_put: set[Callable[[Any], None]] = set()

# The states of a transaction that tell how it ended. One whose commit has just failed is still
# "Committing" where synchronizers are told, and "Commit failed" where they are by an abort alone.
_COMMITTED = "Committed"
_FAILED = ("Committing", "Commit failed")


class _Producer(threading.local):
    """A thread's choice of an inbox."""

    def __init__(self) -> None:
        self.number = random.getrandbits(30)

    def draw(self) -> None:
        """Take another one."""
        self.number = random.getrandbits(30)


_producer = _Producer()
# Else all processes that a server forks begin with the inbox that it had drawn.
os.register_at_fork(after_in_child=_producer.draw)


class _Part:
    """What one transaction puts into one inbox, for now or for later: a job, or a bundle."""

    def __init__(self, queue: Queue, number: int) -> None:
        shards = queue.shards
        self._jar = queue._p_jar
        self.shard: Shard = shards[(_producer.number + number) % len(shards)]
        inboxes = self.shard.inboxes
        self.inbox: Any = inboxes[_producer.number // len(shards) % len(inboxes)]
        self.anchor: int | None = None
        self.room = defaults.BUNDLE_JOBS

    def _found(self) -> Any:
        """The job or the bundle; None once a savepoint's rollback has taken it away."""
        return None if self.anchor is None else self.inbox.get(self.anchor)

    def has(self, job: Job) -> bool:
        """Whether `job` is there."""
        found = self._found()
        if isinstance(found, Bundle) and found.has(job._key or 0, job):
            return True
        return job_of(self.inbox.get(job._key)) is job

    def add_alone(self, key: int, job: Job) -> None:
        """Add `job` outside of bundles, under `key` or the next free one."""
        self.room -= 1
        key = keys.free_key(self.inbox, key)
        job._place(self.shard, key)
        self.inbox[key] = item_for(job, job._interruptions)

    def add(self, key: int, job: Job, are_many: bool) -> None:
        """Add `job` under `key`, or the next free one."""
        self.room -= 1
        found, anchor = self._found(), self.anchor
        if found is None or anchor is None:
            self.anchor = key = keys.free_key(self.inbox, key)
            self.inbox[key] = job
            job._place(self.shard, key)
            return
        if not isinstance(found, Bundle):
            bundle = Bundle(keys.is_for_later(key))
            bundle.add(anchor, found)
            bundle.few = 1
            self.inbox[anchor] = found = bundle
        if not are_many:
            job._place(self.shard, found.add(key, job))
            found.few += 1
            return
        if found.shared is None:
            found.shared = SharedResults(self.shard.name)
            # Else another database with a job that refers to it may take it.
            self._jar.add(found.shared)
        found.shared.size += 1
        job._place(self.shard, found.add(key, job), found.shared)


class _Delivery:
    """What the current transaction puts into one queue: what is too much for one inbox goes on
    in the next shard, so that several workers can share it.

    A synchronizer of the transaction manager until that transaction has ended. An after-commit
    hook would have each resource of the transaction aborted after it was committed.
    """

    def __init__(self, queue: Queue) -> None:
        self._queue = queue  # also keeps the queue's id() from being used again
        self._manager = queue._p_jar.transaction_manager
        self._parts: dict[bool, list[_Part]] = {False: [], True: []}
        self._count = 0

    def has(self, job: Job) -> bool:
        """Whether `job` is there."""
        parts = self._parts[keys.is_for_later(job._key or 0)]
        return any(part.has(job) for part in parts if part.shard is job._shard)

    def add(self, key: int, job: Job) -> None:
        """Add `job` under `key`, or the next free one."""
        parts = self._parts[keys.is_for_later(key)]
        if not parts or not parts[-1].room:
            parts.append(_Part(self._queue, len(parts)))
        if job._quota_names or job._unique is not None or job._interruptions:
            # One that has its key until it has ended as well: shared results would keep it.
            parts[-1].add_alone(key, job)
            return
        self._count += 1
        parts[-1].add(key, job, self._count >= defaults.SHARED_TOGETHER)

    def newTransaction(self, txn: Any) -> None:
        """Nothing is to be done; a synchronizer has this method."""

    def beforeCompletion(self, txn: Any) -> None:
        """Nothing is to be done; a synchronizer has this method."""

    def afterCompletion(self, txn: Any) -> None:
        """Wake the workers of this process, or after a failed commit draw another inbox."""
        with contextlib.suppress(KeyError):  # somebody may have cleared the synchronizers
            self._manager.unregisterSynch(self)
        if txn.status == _COMMITTED:
            for wake in list(after_put):
                wake(self._queue._p_jar)
        elif txn.status in _FAILED:
            _producer.draw()


def enter(queue: Queue, job: Job, now: int, after: int | None, priority: int) -> None:
    """Give `job` the key by which it is due, at `after` or at once, and deliver it.

    Microseconds. Joins the transaction of the queue's connection.
    """
    deliver(queue, job, due_key(job, now, after, priority))
    if len(queue._p_jar.connections) > 1 and job._p_jar is None:
        queue._p_jar.add(job)  # else any other database that refers to it may take it


def due_key(job: Job, now: int, after: int | None, priority: int) -> int:
    """The key by which `job` is due at `after`, or at once; microseconds. Notes the time."""
    if after is not None:
        # The past means now, behind those that wait already.
        after = after if after > now else None
        if after is not None:
            job._created = now
        if job._begin_after != after:
            job._begin_after = after
    if after is None:
        return keys.key_for_now(priority, now)
    return keys.key_for_later(priority, after)


def own_inbox(shard: Shard) -> Any:
    """The inbox of this producer in a shard."""
    return shard.inboxes[_producer.number // defaults.SHARDS % len(shard.inboxes)]


def own_shard(queue: Queue) -> Shard:
    """The shard of this producer, for what isn't to be delivered yet."""
    shard: Shard = queue.shards[_producer.number % len(queue.shards)]
    return shard


def own_lane() -> int:
    """The number of this producer, for what has lanes of its own to be written to."""
    return _producer.number


def deliver(queue: Queue, job: Job, key: int) -> None:
    """Put `job` into an inbox of `queue` under `key`, or the next free one.

    Joins the transaction of the queue's connection.
    """
    manager = queue._p_jar.transaction_manager
    txn = manager.get()
    try:
        delivery: _Delivery = txn.data(queue)
    except KeyError:
        delivery = _Delivery(queue)
        txn.set_data(queue, delivery)  # which also keeps it alive
        manager.registerSynch(delivery)
    delivery.add(key, job)


def only_delivers(data: Mapping[int, Any]) -> bool:
    """Whether nothing but puts is noted in the data of a transaction: a savepoint's rollback takes
    them back.
    """
    return all(isinstance(value, _Delivery) for value in data.values())


def deliver_again(shard: Shard, job: Job, key: int) -> None:
    """Deliver a job that was taken out of `shard`; it was put before, and isn't counted again."""
    tallies.left(own_inbox(shard), -1)
    deliver(shard.queue, job, key)


def is_delivered(queue: Queue, job: Job) -> bool:
    """Whether the current transaction has put `job` into `queue`."""
    manager = queue._p_jar.transaction_manager
    if manager is None:
        return False  # its connection was closed
    try:
        delivery: _Delivery = manager.get().data(queue)
    except (KeyError, NoTransaction):
        return False
    return delivery.has(job)
