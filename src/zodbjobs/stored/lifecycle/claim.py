"""Claim: due jobs move from the shards of a queue into the lease of a worker.

Claims load no jobs, but those for an agent with a filter.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any, NamedTuple

from ZODB.utils import u64

from zodbjobs import defaults
from zodbjobs.stored.lifecycle import keys, pausing, refused
from zodbjobs.stored.lifecycle.entries import Entry, entry_of, job_of
from zodbjobs.stored.lifecycle.storable import can_be_stored

if TYPE_CHECKING:
    from zodbjobs.stored.lifecycle.rates import Turn
    from zodbjobs.stored.lifecycle.refused import Filter
    from zodbjobs.stored.queue import Queue
    from zodbjobs.stored.shard import Shard
    from zodbjobs.stored.workers import WorkerRecord


class Claim(NamedTuple):
    """A claimed job: its key in the lease, its object id, that of its shard.

    `interruptions`: how often a worker died or stopped while it held the job. `names`: the quotas
    of which it has slots. `turn`: when it may begin by the rates of these, None if none has one.
    `too_late`: it is only to be ended, for it wasn't begun in time.
    `unique`: it has lost a unique key by being claimed.
    """

    key: int
    oid: bytes
    shard: bytes
    interruptions: int = 0
    names: tuple[str, ...] = ()
    too_late: bool = False
    unique: bool = False
    turn: Turn | None = None

    def __str__(self) -> str:
        return f"job {u64(self.oid)}"


class Interrupted:
    """What a worker holds of jobs that were interrupted before: how many, and how many it may.

    The oftener one of them was, the fewer, so that a job which kills its process soon does so
    alone. What is held already counts as well: one that was interrupted once, as its last
    checkpoint made its count start anew, doesn't join one that must be alone.
    """

    def __init__(self, counts: Iterable[int] = ()) -> None:
        self._number = 0
        self._most = defaults.INTERRUPTED_TOGETHER
        for times in counts:
            self.add(times)

    def has_room(self, times: int) -> bool:
        """Whether one may join them that was interrupted so often, 0 for not at all."""
        return not times or self._number < min(self._most, _most_with(times))

    def add(self, times: int) -> None:
        """Add one that was interrupted so often, 0 for not at all."""
        if times:
            self._number += 1
            self._most = min(self._most, _most_with(times))


def _most_with(times: int) -> int:
    """How many a worker may hold if one of them was interrupted so often."""
    return max(1, defaults.INTERRUPTED_TOGETHER >> 2 * (times - 1))


def claim(
    queue: Queue,
    worker: WorkerRecord,
    limit: int,
    now: int,
    shards: Sequence[Shard],
    interrupted: Interrupted | None = None,
    with_quotas: int = 1,
    chooser: Filter | None = None,
) -> list[Claim]:
    """Move up to `limit` due jobs of `shards`, which are some of the queue's, into the lease
    of `worker`, in the order of their keys; none while the queue is paused.

    `interrupted`: the jobs that the worker holds already which were interrupted before; what is
    claimed is added.
    `with_quotas`: how many may be jobs with quotas. Joins the current transaction; the caller
    commits, and runs them only then.

    `chooser` takes none but those that it accepts. It is asked for MOST_ASKED at most, so fewer
    may be found though there are more.
    """
    complete = min(shard.drain(now, limit) for shard in shards)
    others: set[int] = set()
    if queue._rates is not None:
        # Whoever sees that it is a job's turn takes that from any shard: its worker may be busy.
        opened = queue._rates.open_due(now)
        others = {shard.index for shard in opened} - {shard.index for shard in shards}
    if pausing.is_paused(queue):
        return []
    held = Interrupted() if interrupted is None else interrupted
    claimed = _claim_interrupted(worker, limit, shards, held, chooser)
    quotas = _WithQuotas(worker, with_quotas, held, chooser)

    def first_of(shard: Shard) -> int | None:
        if shard.index in others:
            return shard.admitted.minKey() if quotas.room > 0 and shard.admitted else None
        return refused.first(shard, chooser, quotas.room > 0)

    every = [*shards, *(queue.shards[index] for index in others)] if others else shards
    heap = [(first, s.index) for s in every if (first := first_of(s)) is not None]
    heapq.heapify(heap)
    while heap and len(claimed) < limit:
        if chooser is not None and chooser.asked >= defaults.MOST_ASKED:
            break
        shard = queue.shards[heapq.heappop(heap)[1]]
        last = min(complete, heap[0][0]) if heap else complete
        if quotas.room > 0 and shard.admitted and (key := shard.admitted.minKey()) <= last:
            if shard.index not in others:
                claimed += _take(worker, shard, key - 1, limit - len(claimed), chooser, quotas)
            if len(claimed) < limit and quotas.room > 0 and shard.admitted.minKey() == key:
                claimed += quotas.claim(shard, key)
        elif shard.index not in others:
            claimed += _take(worker, shard, last, limit - len(claimed), chooser, quotas)
        else:
            continue
        first = first_of(shard)
        if first is not None and first <= complete:
            heapq.heappush(heap, (first, shard.index))
    return claimed


def _take(
    worker: WorkerRecord,
    shard: Shard,
    last: int,
    limit: int,
    chooser: Filter | None,
    quotas: _WithQuotas,
) -> list[Claim]:
    """Claim up to `limit` ready jobs with keys up to `last`.

    One with quotas that a filter has refused is admitted again, and asked for there. A filter
    isn't asked for one that only is to be ended.
    """
    if chooser is None and shard.refused is None:
        return _lease(worker, shard, shard.take(last, limit))
    most = limit if chooser is None else min(limit, defaults.MOST_ASKED)
    found = refused.take(shard, last, most, chooser, quotas.room > 0)
    if chooser is not None:
        shard._p_jar.prefetch([job_of(item) for _, item, _ in found])
    taken = []
    for key, item, names in found:
        entry = entry_of(item)
        if entry.names:
            shard.make_ready(key, entry._replace(refused=names).item())
            if key not in shard.admitted:
                quotas.moved()
        elif chooser is None or entry.names is None or chooser.accepts(entry.job):
            taken.append((key, item))
        else:
            refused.refuse(shard, key, item, names, chooser)
    return _lease(worker, shard, taken)


def _accepts(entry: Entry, chooser: Filter | None) -> bool:
    """Whether an entry is taken; a filter that has refused it isn't asked again."""
    if chooser is None:
        return True
    return chooser.name not in entry.refused and chooser.accepts(entry.job)


class _WithQuotas:
    """Claims jobs with quotas, up to `room` of them, of those that `chooser` accepts.

    `held`: the jobs that the worker holds which were interrupted before. There is no room left
    once REFUSALS of them were put elsewhere: the next claim goes on.
    """

    def __init__(
        self, worker: WorkerRecord, room: int, held: Interrupted, chooser: Filter | None
    ) -> None:
        self.room = room
        self._chooser = chooser
        self._worker = worker
        self._held = held
        self._moved = 0

    def claim(self, shard: Shard, key: int) -> list[Claim]:
        """Claim the job that was admitted under `key` with all its slots; if one isn't free it
        waits for that.
        """
        if shard.refuse(key):
            self.moved()
            return []
        entry = Entry(*shard.admitted[key])
        if not self._held.has_room(entry.times):
            self.room = 0
            return []
        del shard.admitted[key]
        if self._chooser is not None and not _accepts(entry, self._chooser):
            refused.refuse(shard, key, entry.item(), entry.refused, self._chooser)
            shard.queue.quotas.passed(entry.names or ())
            self.moved()
            return []
        claims = _lease(self._worker, shard, [(key, entry.item())])
        if not claims:  # it is parked
            shard.queue.quotas.passed(entry.names or ())
        self.room -= len(claims)
        for each in claims:
            self._held.add(each.interruptions)
        return [self._with_slots(shard, claim) for claim in claims]

    def _with_slots(self, shard: Shard, claim: Claim) -> Claim:
        taken, turn = shard.queue.quotas.take(claim.names, (self._worker.id, claim.key))
        self._worker.slots[claim.key] = taken
        return claim if turn is None else claim._replace(turn=turn)

    def moved(self) -> None:
        """Count one that was put elsewhere, and not claimed."""
        self._moved += 1
        if self._moved >= defaults.REFUSALS:
            self.room = 0


def _claim_interrupted(
    worker: WorkerRecord,
    limit: int,
    shards: Iterable[Shard],
    held: Interrupted,
    chooser: Filter | None,
) -> list[Claim]:
    claimed: list[Claim] = []
    for shard in shards:
        if not shard.interrupted and shard.refused is None:
            continue
        found = list(islice(refused.interrupted(shard, chooser), defaults.CLAIM_MOST))
        for key, item, names, tree in found:
            if len(claimed) >= limit:
                return claimed
            if chooser is not None and chooser.asked >= defaults.MOST_ASKED:
                return claimed  # what is refused is out of the way of the next claim
            if not held.has_room(item[0]):
                continue
            del tree[key]
            if chooser is None or chooser.accepts(entry_of(item).job):
                for each in _lease(worker, shard, [(key, item)]):
                    held.add(each.interruptions)
                    claimed.append(each)
            else:
                refused.refuse(shard, key, item, names, chooser)
    return claimed


def _lease(worker: WorkerRecord, shard: Shard, taken: list[tuple[int, Any]]) -> list[Claim]:
    lease = worker.lease
    oid = shard._p_oid
    claimed = []
    for key, item in taken:
        entry = None
        job = item
        if type(item) is tuple:
            entry = Entry(*item)
            job = entry.job
        if not lease.insert(key, job):
            if not can_be_stored(job):
                shard.park(key, job)
                continue
            key = keys.free_key(lease, key)
            lease[key] = job
            job._place(shard, key)
        if entry is None:
            claimed.append(Claim(key, job._p_oid, oid))
            continue
        if entry.unique is not None:
            entry.unique.release()
        names, is_late = entry.names or (), entry.names is None
        if is_late:
            worker.slots[key] = None
        has_unique = entry.unique is not None
        claimed.append(Claim(key, job._p_oid, oid, entry.times, names, is_late, has_unique))
    return claimed


def next_due(queue: Queue) -> int | None:
    """When the first scheduled job of the queue is due, or one that waits for its turn, in
    microseconds, or None.
    """
    dues = [due for shard in queue.shards if (due := shard.next_due()) is not None]
    if queue._rates is not None and (due := queue._rates.next_due()) is not None:
        dues.append(due)
    return min(dues, default=None)
