"""Queues by name, and what one can do with a queue: put, claim, finish, look up."""

from __future__ import annotations

import heapq
import operator
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import datetime, timedelta
from itertools import islice
from typing import Any, NamedTuple

from BTrees.OOBTree import OOBTree
from persistent import Persistent
from ZODB.POSException import POSKeyError
from ZODB.utils import p64, u64
from zope.interface import implementer

from zodbjobs import clock, defaults
from zodbjobs.errors import BadArgument, BadStatus, Cancelled, NotStored, UnknownQueue
from zodbjobs.interfaces import ABORTED, CANCELLED, NEW, IQueue, IQueues
from zodbjobs.stored import inbox, keys, waiting
from zodbjobs.stored.failure import Failure
from zodbjobs.stored.job import Job
from zodbjobs.stored.shard import Shard, as_ended
from zodbjobs.stored.terms import checked_priority, due_micros, duration_micros
from zodbjobs.stored.workers import BoardEntry, WorkerRecord


class Ticket(NamedTuple):
    """A claimed job: its key in the lease, its object id, that of its shard.

    `alone`: it was interrupted before, and its worker runs one of those at a time.
    """

    key: int
    oid: bytes
    shard: bytes
    alone: bool

    def __str__(self) -> str:
        return f"job {u64(self.oid)}"


@implementer(IQueues)
class Queues(Persistent):
    """The queues of a database by name, and the records of the workers."""

    def __init__(self) -> None:
        self._queues = OOBTree()
        self.workers = OOBTree()

    def create(self, name: str, shards: int = defaults.SHARDS) -> Queue:
        """Make the queue `name`, or return the one that is there."""
        if not isinstance(name, str):
            raise BadArgument(f"a queue's name is a str, not {name!r}")
        queue: Queue | None = self._queues.get(name)
        if queue is None:
            if shards < 1:
                raise BadArgument(f"queue {name!r} needs at least one shard, not {shards}")
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

    def __contains__(self, name: object) -> bool:
        return name in self._queues

    def __iter__(self) -> Iterator[str]:
        return iter(self._queues)

    def __len__(self) -> int:
        return len(self._queues)

    def values(self) -> list[Queue]:
        """The queues in the order of their names."""
        return list(self._queues.values())


@implementer(IQueue)
class Queue(Persistent):
    """A named place where jobs wait."""

    def __init__(self, name: str, parent: Queues, shards: int) -> None:
        self.name = name
        self.parent = parent
        self.shards = tuple(Shard(self, n, defaults.INBOXES) for n in range(shards))

    def __repr__(self) -> str:
        return f"<{type(self).__module__}.{type(self).__name__} {self.name!r}>"

    # Put

    def put(
        self,
        job: Job | Callable[..., Any],
        *,
        begin_after: datetime | timedelta | None = None,
        begin_by: timedelta | None = None,
        priority: int | None = None,
    ) -> Job:
        """Add a job, or a callable as a job, and return the job; see IQueue."""
        terms = self._terms(begin_after, begin_by, priority)
        job = self._checked(job)
        self._put(job, *terms)
        return job

    def put_many(
        self,
        jobs: Iterable[Job | Callable[..., Any]],
        *,
        begin_after: datetime | timedelta | None = None,
        begin_by: timedelta | None = None,
        priority: int | None = None,
    ) -> list[Job]:
        """`put` each of `jobs`, all or none; see IQueue."""
        terms = self._terms(begin_after, begin_by, priority)
        checked = [self._checked(job) for job in jobs]
        if len({id(job) for job in checked}) < len(checked):
            raise BadStatus(f"the same job was given twice to put_many of queue {self.name!r}")
        for job in checked:
            self._put(job, *terms)
        return checked

    def _terms(
        self,
        begin_after: datetime | timedelta | None,
        begin_by: timedelta | None,
        priority: int | None,
    ) -> tuple[int | None, int | None, int | None]:
        if self._p_jar is None:
            raise NotStored(f"queue {self.name!r} isn't stored; take it from zodbjobs.get_queue()")
        if self._p_jar.transaction_manager is None:
            raise NotStored(
                f"the connection of queue {self.name!r} is closed; "
                "take the queue from zodbjobs.get_queue() with an open one"
            )
        if priority is not None:
            priority = checked_priority(priority)
        return due_micros(begin_after), duration_micros(begin_by), priority

    def _checked(self, job: Job | Callable[..., Any]) -> Job:
        if not isinstance(job, Job):
            job = Job(job)
        if not hasattr(job, "_call"):
            raise BadStatus(
                f"a job that was put before a savepoint, and whose transaction was aborted, can't "
                f"be put into queue {self.name!r}: ZODB has dropped what was in it; make another"
            )
        if job._home is not None and job.status == NEW:
            job.renew()  # the transaction of its put was aborted
        if job._home is not None or job._finished is not None:  # the latter if called by hand
            raise BadStatus(
                f"{job!r} is {job.status}, only a new one can be put into queue "
                f"{self.name!r}; make another job"
            )
        job.check(self._p_jar)
        return job

    def _put(self, job: Job, after: int | None, within: int | None, priority: int | None) -> None:
        now = clock.now()
        if after is None:
            after = job._begin_after
        if after is not None:
            # The past means now, behind those that wait already.
            after = after if after > now else None
            if after is not None:
                job._created = now
            if job._begin_after != after:
                job._begin_after = after
        if within is not None:
            job._begin_by = within
        self._deliver(job, now, after, job._priority if priority is None else priority)
        if len(self._p_jar.connections) > 1 and job._p_jar is None:
            self._p_jar.add(job)  # else any other database that refers to it may take it

    def _deliver(self, job: Job, now: int, later: int | None, priority: int) -> None:
        if later is None:
            key = keys.key_for_now(priority, now)
        else:
            key = keys.key_for_later(priority, later)
        inbox.deliver(self, job, key)

    # Look up

    def get(self, job_id: str) -> Job | None:
        """The job of this queue with that decimal id, in any status, or None."""
        try:
            job = self._p_jar.get(p64(int(job_id)))
        except (POSKeyError, ValueError, OverflowError, TypeError):
            return None
        return job if isinstance(job, Job) and job.queue is self else None

    def holder(self, job: Job) -> WorkerRecord | None:
        """The record of the worker that holds `job`, or None."""
        for worker in self.parent.workers.values():
            if worker.holds(job._key, job):
                record: WorkerRecord = worker
                return record
        return None

    def __iter__(self) -> Iterator[Job]:
        return (job for _, job in waiting.in_order(self.shards, clock.now()))

    def __len__(self) -> int:
        return waiting.count(self.shards)

    def __bool__(self) -> bool:
        return next(iter(self), None) is not None

    def __getitem__(self, index: int) -> Job:
        index = operator.index(index)
        if index < 0:
            return list(self)[index]
        for job in islice(self, index, None):
            return job
        raise IndexError(f"queue {self.name!r} has no waiting job number {index}")

    def __contains__(self, job: object) -> bool:
        return any(found is job for found in self)

    def finished(self, newest_first: bool = True) -> Iterator[Job]:
        """The jobs of the history by the time of their end."""
        runs = [_history(shard, newest_first) for shard in self.shards]
        merged = heapq.merge(*runs, key=operator.itemgetter(0), reverse=newest_first)
        return (job for _, job in merged)

    # Take out again

    def forget(self, job: Job) -> None:
        """Drop a job that has ended from the history; no matter if it was pruned before.

        Raises BadStatus if it hasn't ended, LookupError if it isn't one of this queue.
        """
        shard = self._shard_of(job)
        ending = job._ending()
        if ending is None:
            raise BadStatus(f"{job!r} is {job.status}; only a job that has ended can be forgotten")
        self._forget(job, shard, ending.finished)

    def _forget(self, job: Job, shard: Shard, finished: int) -> None:
        if shard.forget(job, finished):
            return
        if shard.has_parked(job):
            shard.discard(job._key or 0, job)
        holder = self.holder(job)
        if holder is not None:  # which has ended it, and not booked it yet
            holder.release(job._key or 0)

    def _shard_of(self, job: Job) -> Shard:
        shard = job._shard
        if shard is None or shard.queue is not self:
            raise LookupError(f"{job!r} isn't a job of queue {self.name!r}")
        return shard

    def pull(self, index: int = 0) -> Job:
        """Take the waiting job at `index` out, as NEW again; IndexError if missing."""
        job = self[index]
        self.remove(job)
        return job

    def remove(self, job: Job) -> None:
        """Take a waiting or parked job out, as NEW again; LookupError if it isn't here."""
        shard = job._shard
        if shard is None or shard.queue is not self or not shard.discard(job._key or 0, job):
            raise LookupError(f"{job!r} doesn't wait in queue {self.name!r}; it is {job.status}")
        job.renew()

    def cancel(self, job: Job) -> None:
        """What Job.cancel() does."""
        key, shard = job._key, job._shard
        assert key is not None
        assert shard is not None
        error = Cancelled(f"job {job.id} of queue {self.name!r} was cancelled")
        holder = self.holder(job)
        if holder is not None:
            holder.release(key)
        elif not shard.discard(key, job):
            raise BadStatus(f"{job!r} isn't in queue {self.name!r} any more")
        # Written in every case: that is what keeps a runner from committing.
        self._end(job, shard, CANCELLED, error)

    def abort(self, job: Job, error: Exception) -> None:
        """End a job that was taken from a dead worker's lease and isn't to run again."""
        self._end(job, self._shard_of(job), ABORTED, error)

    def _end(self, job: Job, shard: Shard, outcome: str, error: Exception) -> None:
        now = clock.now()
        job.end(outcome, Failure.from_exception(error), None, now)
        shard.finish([(job, now, True, 0)])

    def retry(self, job: Job) -> None:
        """Put a parked job, or one that ended without success, in again, due at once.

        One that had succeeded before it was parked is not run again, but booked.
        """
        shard = self._shard_of(job)
        if shard.has_parked(job):
            shard.discard(job._key or 0, job)
            ended = as_ended(job)
            if ended is not None and job._unsuccessful is None:
                shard.finish([ended])
                return
        elif job._unsuccessful is not None:
            self._forget(job, shard, job._finished or 0)
        else:
            raise BadStatus(
                f"{job!r} is {job.outcome or job.status}; only a parked job, or one that "
                "ended without success, can be retried"
            )
        priority = job.priority
        job.renew()
        job._begin_after = None
        self._deliver(job, clock.now(), None, priority)

    # Claim

    def claim(
        self, worker: WorkerRecord, limit: int, now: int, shards: Sequence[Shard]
    ) -> list[Ticket]:
        """Move up to `limit` due jobs of `shards`, which are some of this queue's, into the
        lease of `worker`, in the order of their keys.

        Joins the current transaction; the caller commits, and runs them only then.
        """
        complete = min(shard.drain(now) for shard in shards)
        claimed = _claim_rescued(worker, now, shards)
        heap = [(first, s.index) for s in shards if (first := s.first()) is not None]
        heapq.heapify(heap)
        while heap and len(claimed) < limit:
            shard = self.shards[heapq.heappop(heap)[1]]
            last = min(complete, heap[0][0]) if heap else complete
            taken = shard.take(last, limit - len(claimed))
            claimed += _lease(worker, shard, taken)
            first = shard.first()
            if first is not None and first <= complete:
                heapq.heappush(heap, (first, shard.index))
        return claimed

    def next_due(self) -> int | None:
        """When the first held job is due, in microseconds, or None."""
        dues = [due for shard in self.shards if (due := shard.next_due()) is not None]
        return min(dues, default=None)


def _claim_rescued(worker: WorkerRecord, now: int, shards: Sequence[Shard]) -> list[Ticket]:
    """One job that was interrupted before, if the worker has none of these."""
    if any(entry.alone for entry in worker.board.values()):
        return []
    for shard in shards:
        if shard.rescued:
            key = shard.rescued.minKey()
            tickets = _lease(worker, shard, [(key, shard.rescued.pop(key))], alone=True)
            worker.board[tickets[0].key] = BoardEntry(now, alone=True)
            return tickets
    return []


def _lease(
    worker: WorkerRecord, shard: Shard, taken: list[tuple[int, Job]], alone: bool = False
) -> list[Ticket]:
    tickets = []
    lease = worker.lease
    place = shard._p_oid
    for key, job in taken:
        if not lease.insert(key, job):
            key = keys.free_key(lease, key)
            lease[key] = job
            job._move(key)
        tickets.append(Ticket(key, job._p_oid, place, alone))
    return tickets


def _history(shard: Shard, newest_first: bool) -> Iterator[tuple[int, Job]]:
    history = shard.history
    if not newest_first:
        yield from history.items()
        return
    # BTrees don't iterate backwards.
    place = history.maxKey() if history else None
    while place is not None:
        yield place, history[place]
        try:
            place = history.maxKey(place - 1)
        except ValueError:
            place = None
