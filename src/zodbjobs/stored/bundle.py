"""A bundle: the jobs that one transaction put together into one shard."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING

from persistent import Persistent

from zodbjobs.stored.lifecycle import keys
from zodbjobs.stored.trees import WideTree

if TYPE_CHECKING:
    from zodbjobs.stored.job import Job
    from zodbjobs.stored.shared_results import SharedResults


class Bundle(Persistent):
    """Jobs in the order of their keys; one entry of an inbox, of `ready` or of `scheduled`.

    A bundle has either jobs for now, by key, or jobs for later, by scheduled key. `lowest` is
    the smallest of these that it has had. `shared` is the record of their short results, if
    the jobs are many; `few` is how many were put as this that it doesn't count.
    """

    for_later = False
    lowest = keys.LAST
    few = 0
    shared: SharedResults | None = None

    def __init__(self, for_later: bool) -> None:
        self.jobs = WideTree()
        if for_later:
            self.for_later = True

    def add(self, key: int, job: Job) -> int:
        """Add a job under `key`, or the next free one, and return that."""
        if self.for_later:
            place = keys.free_scheduled_key(self.jobs, keys.scheduled_key(key))
            key = keys.from_scheduled(place)
        else:
            place = key = keys.free_key(self.jobs, key)
        self.jobs[place] = job
        if place < self.lowest:
            self.lowest = place
        return key

    def put_count(self) -> int:
        """How many jobs were put as this, also if they aren't here any more."""
        return self.few if self.shared is None else self.few + self.shared.size

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

    def place(self, key: int) -> int:
        """Where its tree has a job of that key."""
        return keys.scheduled_key(key) if self.for_later else key

    def has(self, key: int, job: Job) -> bool:
        """Whether `job` is here."""
        return self.jobs.get(self.place(key)) is job
