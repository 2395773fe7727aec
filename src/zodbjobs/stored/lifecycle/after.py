"""After: a job is put behind a gate, which opens when others have ended.

Everything here works in the caller's transaction.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from ZODB.broken import Broken
from ZODB.POSException import POSKeyError
from ZODB.utils import p64

from zodbjobs import defaults
from zodbjobs.errors import BadArgument, BadStatus
from zodbjobs.interfaces import NEW, SUCCEEDED
from zodbjobs.queue_names import spoken
from zodbjobs.stored.gates import Gate, Predecessors
from zodbjobs.stored.job import Job
from zodbjobs.stored.lifecycle import complete, completion, followers, keys
from zodbjobs.stored.lifecycle.delivery import own_shard
from zodbjobs.stored.lifecycle.options import deadline_of
from zodbjobs.stored.result_of import ResultOf

if TYPE_CHECKING:
    from zodbjobs.stored.queue import Queue

#: What becomes of a job if one that it waits for ends without success.
ON_FAILURE = ("run", "skip")

# What a chain in a message shows of itself.
_SHOWN = 5


def checked(queue: Queue, after: Any, on_failure: Any) -> tuple[Job, ...]:
    """The jobs of `after=`, which are jobs or ids of the queue's database.

    Raises BadArgument for what can't be waited for, and for another word of `on_failure`.
    """
    if on_failure not in ON_FAILURE:
        raise BadArgument(f"on_failure is 'run' or 'skip', not {on_failure!r}")
    if isinstance(after, str | Job):
        raise BadArgument(f"after takes a list of jobs and ids, not {after!r}; write [{after!r}]")
    found = {id(job): job for job in (_found(queue, each) for each in after)}
    return tuple(found.values())


def _found(queue: Queue, each: Any) -> Job:
    connection = queue._p_jar
    if isinstance(each, str):
        try:
            job = connection.get(p64(int(each)))
        except (POSKeyError, ValueError, OverflowError):
            job = None
        if not isinstance(job, Job):
            raise BadArgument(f"there is no job {each!r} in the database of {spoken(queue.name)}")
    else:
        job = each
    if isinstance(job, Broken) or not isinstance(job, Job):
        raise BadArgument(f"{each!r} can't be waited for; after takes jobs and their ids")
    if job._p_jar is not None and job._p_jar is not connection:
        raise BadArgument(
            f"{job!r} is of another database or connection than {spoken(queue.name)}; "
            "give a job that its connection has loaded"
        )
    if job._completion() is not None:
        if not completion.is_known(job):
            raise BadArgument(f"{job!r} was forgotten, or called by hand; leave it out")
    elif job.status == NEW and not followers.waits_for_parent(job):
        raise BadArgument(f"{job!r} is new; put it first, then what is to come after it")
    return job


def referred(job: Job) -> list[Job]:
    """The jobs of which the results are arguments of `job`."""
    values = (*job._args, *(job._kwargs or {}).values())
    return [value.job for value in values if type(value) is ResultOf]


def check_cycle(job: Job, predecessors: Iterable[Job]) -> None:
    """Raise BadArgument if one of them waits, in the end, for `job`."""
    if job._key is None and not job._callbacks:
        return  # nothing can wait for a new job but for its callbacks
    todo: list[tuple[Job, ...]] = [(found,) for found in predecessors]
    seen: set[int] = set()
    while todo:
        chain = todo.pop()
        last = chain[-1]
        if last is job:
            shown = " -> ".join(repr(each) for each in (job, *chain)[: _SHOWN + 2])
            raise BadArgument(f"{job!r} would wait for itself: {shown}")
        if id(last) in seen or last._completion() is not None:
            continue
        seen.add(id(last))
        if followers.waits_for_parent(last):
            todo.append((*chain, followers.source_of(last)))
        if last._gate is not None and last._gate.adopts is not None:
            todo.append((*chain, last._gate.adopts))
        if last._predecessors is not None:
            todo += [(*chain, before) for before in last._predecessors.jobs]


def put_behind(
    queue: Queue, job: Job, key: int, predecessors: Sequence[Job], on_failure: str
) -> bool:
    """Put `job` behind a gate under `key`; False if it need not wait, and is to be delivered.

    One that is to be skipped ends at once.
    """
    waits_for = [before for before in predecessors if before._completion() is None]
    skips = on_failure == "skip"
    has_failed = any(
        before._completion() is not None and before.outcome != SUCCEEDED for before in predecessors
    )
    if not waits_for and not (skips and has_failed):
        return False
    shard = own_shard(queue)
    key = keys.free_key(shard.blocked, key)
    shard.blocked[key] = job
    if job._p_jar is None:
        queue._p_jar.add(job)  # its status is told by the tree, and that goes by its id
    job._place(shard, key)
    job._predecessors = Predecessors(tuple(predecessors))
    job._gate = gate = Gate(job, 0, skips)
    if has_failed:
        gate.has_failed = True
    for made in (job._predecessors, gate):  # else another database may take them, as the job's
        queue._p_jar.add(made)
    if not waits_for:
        complete.open_gate(gate)
        return True
    deadline = deadline_of(job)
    if deadline is not None:
        shard.add_deadline(deadline, key, job)
    _wait_for(gate, waits_for)
    return True


def _wait_for(gate: Gate, jobs: Sequence[Job]) -> None:
    """Let the gate, or gates below it, count each of `jobs`."""
    size = defaults.GATE_JOBS
    if len(jobs) <= size:
        gate.missing += len(jobs)
        for job in jobs:
            followers.add_gate(job, gate)
        return
    # Neighbours in one gate: they were put together, and end in one worker.
    for first in range(0, len(jobs), size):
        below = Gate(gate.job, 0, gate.skips, gate)
        gate._p_jar.add(below)
        gate.missing += 1
        _wait_for(below, jobs[first : first + size])


def count_of(jobs: int) -> int:
    """How many a gate counts at first for so many jobs: themselves, or the gates below it."""
    size = defaults.GATE_JOBS
    return jobs if jobs <= size else -(-jobs // size)


def wait_for_returned(outer: Job, inner: Job) -> Gate | None:
    """Let a job wait for the one that it has returned, which is put if it is new.

    None if that has ended already. Raises BadArgument for a cycle, or for a job of elsewhere.
    """
    shard = outer._shard
    if inner is outer or shard is None:
        raise BadArgument(f"{outer!r} returned itself, and would wait for itself for ever")
    if inner._completion() is not None:
        return None
    if inner.status == NEW and not followers.waits_for_parent(inner):
        wanted = inner.queue
        (shard.queue if wanted is None else wanted)._put_inner(inner, outer)
    elif inner._p_jar not in (None, *outer._p_jar.connections.values()):
        raise BadArgument(f"{outer!r} returned {inner!r}, which is of another connection")
    check_cycle(outer, [inner])
    gate = Gate(outer, 1, skips=False)
    gate.adopts = inner
    shard._p_jar.add(gate)  # the queue's database: a worker finds it there by its id
    followers.add_gate(inner, gate)
    return gate


def wait_for_more(job: Job, jobs: Sequence[Job]) -> None:
    """Let a blocked job wait for further ones, which haven't ended."""
    gate, before = job._gate, job._predecessors
    if gate is None or before is None:
        raise BadStatus(f"{job!r} isn't blocked any more")
    before.jobs = (*before.jobs, *jobs)
    _wait_for(gate, jobs)


def blockers(job: Job) -> list[Job]:
    """The jobs that one still waits for which is blocked, or has returned another one."""
    inner = waits_for(job)
    if inner is not None:
        return [inner]
    found = job._predecessors if is_blocked(job) else None
    return [] if found is None else [b for b in found.jobs if b._completion() is None]


def is_blocked(job: Job) -> bool:
    """Whether a job waits behind its gate."""
    shard = None if job._gate is None else job._shard
    return shard is not None and shard.is_blocked(job._key or 0, job)


def waits_for(job: Job) -> Job | None:
    """The job that `job` has returned, and waits for; None if there is none."""
    if job._gate is None or job._completion() is not None:
        return None
    return completion.returned_job(job)
