"""How what is put reaches a queue: by a job, or a bundle of jobs, under one key of an inbox.

A producer, which is a thread of a process, stays with the inbox that it drew. After a
transaction of its that failed it draws another, for it may not be alone there.
"""

from __future__ import annotations

import os
import random
import threading
from collections.abc import Callable
from itertools import islice
from typing import TYPE_CHECKING, Any

from persistent import Persistent

from zodbjobs import defaults
from zodbjobs.stored import keys
from zodbjobs.stored.ends import Ends
from zodbjobs.stored.trees import WideTree

if TYPE_CHECKING:
    from zodbjobs.stored.job import Job
    from zodbjobs.stored.queue import Queue
    from zodbjobs.stored.shard import Shard

#: Called after each commit in this process that put jobs.
after_put: set[Callable[[], None]] = set()


class Bundle(Persistent):
    """The jobs that one transaction put into one queue, in the order of their keys.

    A bundle has either jobs for now, by key, or jobs for later, by held key. `lowest` is the
    smallest of these that it has had. `ends` is where most of them may end, if there are many.
    """

    for_later = False
    lowest = keys.LAST
    ends: Ends | None = None

    def __init__(self, for_later: bool) -> None:
        self.jobs = WideTree()
        if for_later:
            self.for_later = True

    def add(self, key: int, job: Job) -> int:
        """Add a job under `key`, or the next free one, and return that."""
        place = self._place(key)
        if not self.jobs.insert(place, job):
            place = keys.free_key(self.jobs, place)
            self.jobs[place] = job
        if place < self.lowest:
            self.lowest = place
        return keys.from_held(place) if self.for_later else place

    def first(self) -> int | None:
        """The smallest key of the tree, or None if it is empty."""
        return self.jobs.minKey() if self.jobs else None

    def take(self, last: int, limit: int) -> list[tuple[int, Job]]:
        """Take out up to `limit` of the first jobs, up to the tree's key `last`."""
        jobs = self.jobs
        taken = list(islice(jobs.items(None, last), limit))
        for key, _ in taken:
            del jobs[key]
        return taken

    def has(self, key: int, job: Job) -> bool:
        """Whether `job` is here."""
        return self.jobs.get(self._place(key)) is job

    def discard(self, key: int, job: Job) -> bool:
        """Take `job` out if it is here."""
        if not self.has(key, job):
            return False
        del self.jobs[self._place(key)]
        return True

    def _place(self, key: int) -> int:
        return keys.held_key(key) if self.for_later else key


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
        return found.has(job._key or 0, job) if isinstance(found, Bundle) else found is job

    def add(self, key: int, job: Job, are_many: bool) -> None:
        """Add `job` under `key`, or the next free one."""
        self.room -= 1
        found, anchor = self._found(), self.anchor
        if found is None or anchor is None:
            self.anchor = key = keys.free_key(self.inbox, key)
            self.inbox[key] = job
            job._move(key, self.shard)
            return
        if not isinstance(found, Bundle):
            bundle = Bundle(keys.is_for_later(key))
            bundle.add(anchor, found)
            self.inbox[anchor] = found = bundle
        if not are_many:
            job._move(found.add(key, job), self.shard)
            return
        if found.ends is None:
            found.ends = Ends(self.shard)
            # Else another database with a job that refers to it may take it.
            self.shard.queue._p_jar.add(found.ends)
        found.ends.size += 1
        job._move(found.add(key, job), found.ends)


class _Delivery:
    """What the current transaction puts into one queue: what is too much for one inbox goes on
    in the next shard, so that several workers can share it.
    """

    def __init__(self, queue: Queue) -> None:
        self._queue = queue  # also keeps the queue's id() from being used again
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
        self._count += 1
        parts[-1].add(key, job, self._count >= defaults.ENDS_TOGETHER)


def deliver(queue: Queue, job: Job, key: int) -> None:
    """Put `job` into an inbox of `queue` under `key`, or the next free one.

    Joins the transaction of the queue's connection.
    """
    txn = queue._p_jar.transaction_manager.get()
    try:
        delivery: _Delivery = txn.data(queue)
    except KeyError:
        delivery = _Delivery(queue)
        txn.set_data(queue, delivery)
        txn.addAfterCommitHook(_after_commit)
    delivery.add(key, job)


def is_delivered(queue: Queue, job: Job) -> bool:
    """Whether the current transaction has put `job` into `queue`."""
    manager = queue._p_jar.transaction_manager
    if manager is None:
        return False  # its connection was closed
    try:
        delivery: _Delivery = manager.get().data(queue)
    except KeyError:
        return False
    return delivery.has(job)


def _after_commit(committed: bool) -> None:
    if not committed:
        _producer.draw()
        return
    for wake in list(after_put):
        wake()
