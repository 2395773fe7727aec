"""What becomes of the jobs of a worker that died, or that stopped before they ended."""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Iterable
from itertools import islice
from typing import Any

from transaction.interfaces import TransientError
from ZODB.broken import Broken

from zodbjobs import defaults
from zodbjobs.errors import Aborted
from zodbjobs.stored.job import Job
from zodbjobs.stored.keys import SENTINEL
from zodbjobs.stored.queue import Queues
from zodbjobs.stored.shard import Shard
from zodbjobs.stored.workers import WorkerRecord

log = logging.getLogger("zodbjobs")

#: The ids of the workers of this process.
alive: set[str] = set()


def process_started(pid: int) -> str:
    """A text that is another one for a later process with the same number; '' if unknown."""
    try:
        with open(f"/proc/{pid}/stat") as stat:
            return stat.read().rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        return ""


def is_dead(record: WorkerRecord, only_process: bool) -> bool:
    """Whether it is known, without waiting, that the worker of `record` is gone.

    `only_process`: no other process than this one can have the storage open.
    """
    if record.id in alive:
        return False
    if only_process:
        return True
    if record.host != socket.gethostname():
        return False
    if record.pid == os.getpid():
        return True
    try:
        os.kill(record.pid, 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        pass
    return record.process_started != process_started(record.pid)


def rescue_dead(manager: Any, queues: Queues, only_process: bool) -> int:
    """Give back what dead workers held, and drop their records; returns the number of jobs.

    Runs transactions of its own in `manager`, RESCUE_BATCH jobs in each.
    """
    manager.begin()
    dead = [id for id, record in queues.workers.items() if is_dead(record, only_process)]
    count = 0
    for worker_id in dead:
        while True:
            try:
                manager.begin()
                record = queues.workers.get(worker_id)
                if record is None:
                    break
                batch = list(islice(record.lease.items(SENTINEL + 1), defaults.RESCUE_BATCH))
                take_back(record, batch)
                if not batch:
                    del queues.workers[worker_id]
                manager.commit()
            except TransientError:
                manager.abort()
                continue
            count += len(batch)
            if not batch:
                log.warning("rescued the jobs of worker %s, which is gone", worker_id)
                break
    manager.abort()
    return count


def take_back(record: WorkerRecord, leased: Iterable[tuple[int, Job]]) -> None:
    """Move jobs out of a lease whose worker will not end them; joins the transaction.

    Each job is written, so that a runner that isn't as dead as it seems gets a conflict.
    """
    for key, job in leased:
        was_running = key in record.board
        record.release(key)
        if isinstance(job, Broken):
            shard: Shard = job.__Broken_state__["_shard"]
            shard.parked[key] = job
            continue
        assert job._shard is not None
        _take_back(job, job._shard, key, was_running)
        job._p_changed = True


def _take_back(job: Job, shard: Shard, key: int, was_running: bool) -> None:
    if job._finished is not None:
        # Ended and committed; only its booking was missing.
        work = job._finished - (job._started or job._finished)
        shard.finish([(job, job._finished, job._unsuccessful is not None, work)])
    elif job._parked is not None:
        shard.parked[key] = job
    elif job._key != key:
        # Put off for another attempt; only its booking was missing.
        assert job._key is not None
        shard.file(job._key, job)
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
            shard.rescued[key] = job
