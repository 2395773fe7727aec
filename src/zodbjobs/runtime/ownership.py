"""Which worker claims from which shard of a queue.

Rendezvous hashing: each worker that is registered for the queue draws a number for each
shard, always the same one, and the highest owns the shard. All find the same without asking
each other, and when a worker comes or goes only its own shards change hands.
"""

from __future__ import annotations

import random
from hashlib import blake2b

from zodbjobs.runtime.session import Session
from zodbjobs.stored.queue import Queue
from zodbjobs.stored.shard import Shard


class Ownership:
    """The shards of one worker, as far as it knows of the others. `owns_all`: all are its own."""

    def __init__(self, worker_id: str, owns_all: bool = False) -> None:
        self._worker_id = worker_id
        self._owns_all = owns_all
        self._workers: tuple[str, ...] = ()
        self._resubscribed = 0
        self._owned: dict[str, frozenset[int]] = {}

    @property
    def is_shared(self) -> bool:
        """Whether there are other workers."""
        return len(self._workers) > 1 and not self._owns_all

    def own(self, session: Session, queue: Queue) -> list[Shard]:
        """The shards of `queue` that are this worker's, as the snapshot of `session` has it."""
        if self._owns_all:
            return list(queue.shards)
        stored = session.stored
        workers = tuple(stored.workers)
        if workers != self._workers or stored.resubscribed != self._resubscribed:
            self._workers, self._resubscribed = workers, stored.resubscribed
            self._owned = {}
        owned = self._owned.get(queue.name)
        if owned is None:
            rivals = [i for i, r in session.stored.workers.items() if r.serves(queue.name)]
            owned = self._owned[queue.name] = frozenset(
                shard.index
                for shard in queue.shards
                if self._worker_id == owner(rivals, queue.name, shard.index)
            )
        return [shard for shard in queue.shards if shard.index in owned]

    def others(self, session: Session, queue: Queue) -> list[Shard]:
        """The shards that aren't, in an order drawn by lot: thieves shall not meet."""
        own = self.own(session, queue)
        others = [shard for shard in queue.shards if shard not in own]
        random.shuffle(others)
        return others


def owner(workers: list[str], queue: str, shard: int) -> str | None:
    """Which of `workers`, given by their ids, owns a shard; None if there are none."""

    def draw(worker: str) -> bytes:
        return blake2b(f"{worker} {shard} {queue}".encode(), digest_size=8).digest()

    return max(workers, key=draw, default=None)
