"""What becomes of the jobs of a worker that died, or that stopped before they ended."""

from __future__ import annotations

import contextlib
import logging
import random
import time
from collections.abc import Iterable
from itertools import islice
from typing import Any

from ZODB.broken import Broken
from ZODB.POSException import POSKeyError
from ZODB.serialize import referencesf
from ZODB.utils import u64

from zodbjobs import defaults
from zodbjobs.errors import Aborted
from zodbjobs.runtime import storage
from zodbjobs.stored.ends import Ends
from zodbjobs.stored.job import Job
from zodbjobs.stored.keys import SENTINEL
from zodbjobs.stored.queue import Queues
from zodbjobs.stored.shard import Shard, as_ended, shard_of
from zodbjobs.stored.unreadable import why_unreadable
from zodbjobs.stored.workers import WorkerRecord

log = logging.getLogger("zodbjobs")


def rescue(manager: Any, queues: Queues, worker_id: str) -> int:
    """Give back what a dead worker held, and drop its record; returns the number of jobs.

    Runs transactions of its own in `manager`, RESCUE_BATCH jobs in each. If another worker
    does the same, one of the two gets a conflict and goes on behind the other. Raises what
    the storage raises; what was committed until then stays.
    """
    count = 0
    while True:
        try:
            manager.begin()
            record = queues.workers.get(worker_id)
            if record is None:
                break
            batch = list(islice(record.lease.items(SENTINEL + 1), defaults.RESCUE_BATCH))
            take_back(queues, record, batch)
            if not batch:
                strike_off(queues, record)
            manager.commit()
        except BaseException as error:
            manager.abort()
            if storage.is_trouble(error) or not storage.is_transient(error):
                raise
            time.sleep(defaults.CONFLICT_SECONDS * random.random())
        else:
            count += len(batch)
            if not batch:
                log.warning(
                    "worker %s on %s is gone; %s jobs were taken back from it",
                    worker_id,
                    record.host,
                    count,
                )
                break
    manager.abort()
    return count


def take_back(queues: Queues, record: WorkerRecord, leased: Iterable[tuple[int, Job]]) -> None:
    """Move jobs out of a lease whose worker will not end them; joins the transaction.

    Each job is written, so that a runner that isn't as dead as it seems gets a conflict.
    Those that can't be loaded here, or not whole, can't be written; they are parked, and
    `Queue.retry` looks whether they have ended.
    """
    for key, job in leased:
        was_running = key in record.board
        record.release(key)
        try:
            ended, shard = as_ended(job), shard_of(job)
        except Exception as error:
            if not (isinstance(error, POSKeyError) or why_unreadable(error)):
                raise
            log.critical("job %s can't be loaded, it is parked: %r", u64(job._p_oid), error)
            _shard_of_unreadable(queues, job).park(key, job)
            continue
        if ended is not None:
            shard.finish([ended])  # committed; only its booking was missing
        elif isinstance(job, Broken):
            shard.park(key, job)
        else:
            _take_back(job, shard, key, was_running)
        if not isinstance(job, Broken):
            job._p_changed = True


def strike_off(queues: Queues, record: WorkerRecord) -> None:
    """Remove the record of a worker whose lease is empty; joins the transaction.

    The sentinel goes too, so that a claim of that worker, should it be alive after all,
    conflicts with this: else what it had claimed would be lost with the record.
    """
    del record.lease[SENTINEL]
    del queues.workers[record.id]


def _shard_of_unreadable(queues: Queues, job: Job) -> Shard:
    """The shard that the record of `job` refers to; any if the record is lost."""
    shards = {shard._p_oid: shard for queue in queues.values() for shard in queue.shards}
    with contextlib.suppress(POSKeyError):
        data, _ = job._p_jar._storage.load(job._p_oid)
        for oid in referencesf(data):
            shard = shards.get(oid) or _shard_by_ends(job._p_jar, oid)
            if shard is not None:
                return shard
    return next(iter(shards.values()))


def _shard_by_ends(connection: Any, oid: bytes) -> Shard | None:
    with contextlib.suppress(Exception):  # it may be what makes the job unreadable
        found = connection.get(oid)
        if isinstance(found, Ends):
            shard: Shard = found.shard
            return shard
    return None


def _take_back(job: Job, shard: Shard, key: int, was_running: bool) -> None:
    if job._parked is not None:
        shard.park(key, job)
    elif job._retry_at is not None:
        shard.put_off(job)
    else:
        # After the first time only what surely ran is counted: a job that kills its
        # process must not have its neighbours aborted.
        if was_running or job._interruptions == 0:
            job._interruptions += 1
        if job._interruptions > defaults.INTERRUPTIONS:
            error = Aborted(
                f"job {job.id} ({job.description}) of queue {shard.queue.name!r} was given up: "
                f"its worker died or was stopped {job._interruptions} times while it ran"
            )
            log.critical("%s", error)
            shard.queue.abort(job, error)
        else:
            shard.make_rescued(key, job)
