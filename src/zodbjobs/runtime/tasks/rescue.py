"""Rescue: what becomes of the jobs of a worker that died, or that stopped before they ended."""

from __future__ import annotations

import logging
from itertools import islice
from typing import Any

from ZODB.POSException import StorageError
from ZODB.utils import u64

from zodbjobs import clock, defaults, events
from zodbjobs.events import WorkerLost
from zodbjobs.runtime import policy, transactions
from zodbjobs.runtime.storage import errors
from zodbjobs.stored.conflicts import Conflicts
from zodbjobs.stored.job import Job
from zodbjobs.stored.lifecycle import complete
from zodbjobs.stored.lifecycle.keys import SENTINEL
from zodbjobs.stored.queues import Queues
from zodbjobs.stored.workers import WorkerRecord

log = logging.getLogger("zodbjobs")


def rescue(manager: Any, queues: Queues, worker_id: str) -> int:
    """Give back what a dead worker held, and drop its record; returns the number of jobs.

    Runs transactions of its own in `manager`, RESCUE_BATCH jobs in each. If another worker
    does the same, one of the two gets a conflict and goes on behind the other. A job that can't
    be taken back stays, with the record of the worker, and harms no other. Raises what the
    storage raises; what was committed until then stays.
    """
    count = 0
    batch: list[int] = []
    left: set[int] = set()

    def take() -> str | None:
        """Take a batch back; the host of the worker once there is none."""
        record: WorkerRecord | None = queues.workers.get(worker_id)
        batch[:] = [] if record is None else _batch(record, left)
        if record is None:
            return ""
        take_back(queues, record, [(key, record.lease[key]) for key in batch])
        if not batch and not left:
            strike_off(queues, record)
        return None if batch else record.host

    host: str | None = None
    while host is None:
        try:
            host = transactions.run(manager, take)
            count += len(batch)
        except Exception as error:
            if not batch or not _may_be_a_jobs_fault(error):
                raise
            count += _each_alone(manager, queues, worker_id, batch, left)
    if host and not left:
        log.warning("worker %s on %s is gone; %s jobs were taken back", worker_id, host, count)
    manager.abort()
    if host and not left and events.wanted(WorkerLost):
        events.notify(WorkerLost(worker_id, host, count))
    return count


def _batch(record: WorkerRecord, left: set[int]) -> list[int]:
    keys = (key for key in record.lease.keys(SENTINEL + 1) if key not in left)
    return list(islice(keys, defaults.RESCUE_BATCH))


def _may_be_a_jobs_fault(error: Exception) -> bool:
    """Whether it isn't the storage's: then each job of the batch is taken back alone."""
    return not (errors.is_unavailable(error) or isinstance(error, OSError | StorageError))


def _each_alone(
    manager: Any, queues: Queues, worker_id: str, keys: list[int], left: set[int]
) -> int:
    """Take jobs back one by one, as one of them can't be; returns the number of the others."""
    for key in keys:

        def take(key: int = key) -> None:
            record = queues.workers.get(worker_id)
            if record is not None and key in record.lease:
                take_back(queues, record, [(key, record.lease[key])])

        try:
            transactions.run(manager, take)
        except Exception as error:
            if not _may_be_a_jobs_fault(error):
                raise
            left.add(key)
            log.critical(
                "a job of worker %s can't be taken back; it stays where it is: %r",
                worker_id,
                error,
            )
    return sum(key not in left for key in keys)


def take_back(queues: Queues, record: WorkerRecord, leased: list[tuple[int, Job]]) -> None:
    """Move jobs out of a lease whose worker will not end them; joins the transaction."""
    for key, job in leased:
        parks = complete.take_back(record, key, job, _any_shard(queues), policy.after_interruption)
        if parks:
            log.critical("job %s can't be loaded or stored again: it is parked", u64(job._p_oid))
    complete.settle_late(record)


def _any_shard(queues: Queues) -> Any:
    return queues.values()[0].shards[0]


def strike_off(queues: Queues, record: WorkerRecord) -> None:
    """Remove the record of a worker whose lease is empty; joins the transaction.

    The sentinels go too, so that a claim of that worker, should it be alive after all,
    conflicts with this, and so does who adds to a job that it held: else what it had claimed, or
    what was added, would be lost with the record. So does an undo that would give it a job back.
    It stays while a job to which something was added can't be loaded here. Its counters are added
    to those of the database, so that no total ever goes back, and so is what its jobs fought over.
    """
    if not complete.settle_late(record):
        return
    del record.lease[SENTINEL]
    del record.late[SENTINEL]
    if record.conflicts is not None:
        if queues.conflicts is None:
            queues.conflicts = Conflicts()
        queues.conflicts.add(record.conflicts.fights, clock.now())
    queues.counters.add(record.counters)
    del queues.workers[record.id]
