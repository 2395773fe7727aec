"""The queues of a database by name."""

from __future__ import annotations

import os
from collections.abc import Iterator

from BTrees.OOBTree import OOBTree
from persistent import Persistent
from zope.interface import implementer

from zodbjobs import defaults
from zodbjobs.errors import BadArgument, UnknownQueue
from zodbjobs.interfaces import IQueues
from zodbjobs.queue_names import spoken
from zodbjobs.stored.audit import AuditTrail
from zodbjobs.stored.conflicts import Conflicts
from zodbjobs.stored.counters import Counters
from zodbjobs.stored.default_policy import GivesPolicy
from zodbjobs.stored.job_index import JobIndex
from zodbjobs.stored.queue import Queue
from zodbjobs.stored.schedules import Schedules


@implementer(IQueues)
class Queues(GivesPolicy, Persistent):
    """The queues of a database by name, its schedules, and the records of the workers.

    `resubscribed`: how often a worker that works was given another queue, or lost one. They look
    at it to know anew whose the shards are. `counters`: what was counted of workers that are gone.
    `conflicts`: what their jobs fought over, or None.
    """

    #: Zope's publisher calls what has a docstring, by any URL that leads to it.
    __zpublishable__ = False

    def __init__(self) -> None:
        self._queues = OOBTree()
        self.workers = OOBTree()
        self.resubscribed = 0
        self._audit = AuditTrail()
        #: What tokens of the pages are signed with. It is made here so that no page writes it.
        self._secret = os.urandom(32)
        self.job_index = JobIndex()
        self.counters = Counters()
        self.conflicts: Conflicts | None = None
        self.schedules = Schedules(self)

    def create(self, name: str, shards: int = defaults.SHARDS) -> Queue:
        """Make the queue `name`, or return the one that is there.

        Joins the current transaction. Raises BadArgument for what can't be a name or a number.
        """
        if not isinstance(name, str):
            raise BadArgument(f"a queue's name is a str, not {name!r}")
        queue: Queue | None = self._queues.get(name)
        if queue is None:
            if shards < 1:
                raise BadArgument(f"{spoken(name)} needs at least one shard, not {shards}")
            queue = self._queues[name] = Queue(name, self, shards)
            if self._p_jar is not None:
                self._p_jar.add(queue)  # it can be put into before the commit
        return queue

    def __getitem__(self, name: str) -> Queue:
        try:
            queue: Queue = self._queues[name]
        except KeyError:
            known = ", ".join(map(repr, self._queues)) or "none"
            raise UnknownQueue(
                f"there is no queue {name!r} (there are: {known}); "
                f"make it with zodbjobs.get_queues(...).create({name!r})"
            ) from None
        return queue

    def get(self, name: str) -> Queue | None:
        """The queue of that name, or None."""
        queue: Queue | None = self._queues.get(name)
        return queue

    def __contains__(self, name: object) -> bool:
        return name in self._queues

    def __iter__(self) -> Iterator[str]:
        return iter(self._queues)

    def __len__(self) -> int:
        return len(self._queues)

    def values(self) -> list[Queue]:
        """The queues in the order of their names."""
        return list(self._queues.values())
