"""Complete: the only writer of what becomes of a job that was put.

An end is written into the job's record, or into the shared results of its bundle; the key is
taken off the tree or lease that has it; the job is booked into the history, or goes back to
where it waits. Everything here works in the caller's transaction.
"""

from __future__ import annotations

import contextlib
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from ZODB.broken import Broken

from zodbjobs import clock, defaults
from zodbjobs.errors import BadArgument, BadStatus, Cancelled, Skipped, TimedOut
from zodbjobs.interfaces import (
    ABORTED,
    ACTIVE,
    CALLBACKS,
    CANCELLED,
    COMPLETED,
    EXPIRED,
    FAILED,
    NEW,
    SKIPPED,
    SUCCEEDED,
)
from zodbjobs.stored.failure import Failure
from zodbjobs.stored.lifecycle import attempts, followers, keys
from zodbjobs.stored.lifecycle.attempts import INTERRUPTED, SNOOZED, Verdict
from zodbjobs.stored.lifecycle.claim import Claim
from zodbjobs.stored.lifecycle.delivery import deliver
from zodbjobs.stored.lifecycle.raw import Reference, state_of
from zodbjobs.stored.lifecycle.root import find_shard
from zodbjobs.stored.lifecycle.storable import can_be_stored, is_short
from zodbjobs.stored.shared_results import SharedResults

if TYPE_CHECKING:
    from zodbjobs.stored.gates import Gate
    from zodbjobs.stored.job import Job
    from zodbjobs.stored.queue import Queue
    from zodbjobs.stored.shard import Ended, Shard
    from zodbjobs.stored.workers import WorkerRecord

# Where a job goes after an attempt.
HISTORY = "history"
PARKED = "parked"
READY = "ready"
SCHEDULED = "scheduled"
WAITING = "waiting"  # for the job that it has returned


class Completion(NamedTuple):
    """When the last attempt of a job began and ended (microseconds), and its result."""

    started: int | None
    finished: int
    result: Any
    failed: bool


def completion_of(job: Any) -> Completion | None:
    """How a job ended, wherever that is stored; None until then.

    Also of one that can't be loaded in this process.
    """
    state = state_of(job)
    found = _completion(state, job._p_jar)
    if found is None or job._p_jar is not None or state.get("_key") is None:
        return found
    shard = shard_of(job)  # the transaction that put it and ended it may have been aborted
    return None if shard is None or not shard.has_ended(job, found.finished) else found


def has_own_end(job: Job) -> bool:
    """Whether the end is written in the job's own record; cheap, as a runner asks for each job.

    For one that a lease holds this tells whether it has ended: an end in the shared results is
    written by the transaction that takes the job off its lease.
    """
    return job._finished is not None


def attempts_before(job: Job) -> tuple[int, int]:
    """The numbers of attempts and of conflicts that are stored of a job that hasn't ended."""
    return job._attempts, job._conflicts


def policy_data(job: Job) -> dict[str, Any]:
    """What the job's policy has noted so far; to be copied before it is given away."""
    return job._policy_data or {}


def has_snoozed(job: Job) -> bool:
    """Whether the job has come back later by its own wish."""
    return job._snoozed


def _completion(state: Mapping[str, Any], connection: Any) -> Completion | None:
    finished = state.get("_finished")
    if finished is not None:
        failed = state.get("_unsuccessful") is not None
        return Completion(state.get("_started"), finished, state.get("_result"), failed)
    shared = _shared(state, connection)
    found = None if shared is None else shared.by_key.get(state.get("_key") or 0)
    return None if found is None else Completion(*found, failed=False)


def _shared(state: Mapping[str, Any], connection: Any) -> SharedResults | None:
    found = state.get("_shared")
    if isinstance(found, Reference):
        found = connection.get(found.oid)
    return found if isinstance(found, SharedResults) else None


def shard_of(job: Any) -> Shard | None:
    """The shard that a job names, if it is there; the job needn't be in it.

    Also of one that can't be loaded in this process.
    """
    state = state_of(job)
    name, connection = state.get("_shard_name"), job._p_jar
    if name is None:
        shared = _shared(state, connection)
        if shared is not None:
            name, connection = shared.shard_name, shared._p_jar
    if name is None or connection is None:
        return state.get("_v_shard")  # put in this transaction, and not stored yet
    return find_shard(connection, name)


def holder_of(queue: Queue, job: Job) -> WorkerRecord | None:
    """The record of the worker that holds `job`, or None."""
    workers: Iterable[WorkerRecord] = queue.parent.workers.values()
    return next((worker for worker in workers if worker.holds(job._key, job)), None)


# The end of an attempt


class AttemptResult:
    """What one attempt of a job led to: what is to be written, and where the job goes next.

    Times are microseconds. `attempts` and `conflicts` are numbers with this one included.
    """

    __slots__ = (
        "annotations",
        "attempts",
        "claim",
        "conflicts",
        "failure",
        "finished",
        "followed",
        "gate",
        "gates",
        "goes_to",
        "job",
        "log",
        "outcome",
        "policy_data",
        "portable",
        "result",
        "retry_at",
        "shared",
        "snoozed",
        "started",
    )

    def __init__(self, claim: Claim, goes_to: str, started: int, finished: int) -> None:
        self.claim = claim
        self.goes_to = goes_to
        self.started = started
        self.finished = finished
        self.attempts = 1
        self.conflicts = 0
        self.outcome: str | None = None
        #: What the job returned or its Failure; why it is parked.
        self.result: Any = None
        #: That of an attempt which another one is to follow; None if it snoozed.
        self.failure: Failure | None = None
        self.snoozed = False
        #: What the job's policy noted, if it was asked.
        self.policy_data: dict[str, Any] | None = None
        self.retry_at: int | None = None
        self.annotations: dict[str, Any] | None = None
        self.log: tuple[str, ...] = ()
        #: The object id of the shared results that it may go to, instead of into the job.
        self.shared: bytes | None = None
        #: Whether any connection may write it, for the job wrote nothing to the database.
        self.portable = True
        #: Whether something follows the end, so that its commit writes more than the job.
        self.followed = False
        #: That of a job which waits for the one that it has returned.
        self.gate: Gate | None = None
        #: The object ids of the gates that count the end, when it is booked.
        self.gates: tuple[bytes, ...] = ()
        #: The job as the connection has it that writes the result.
        self.job: Job | None = None

    @property
    def failed(self) -> bool:
        """Whether the job ended without success."""
        return self.outcome is not None and self.outcome != SUCCEEDED

    def let_go(self) -> None:
        """Make room in the connection's cache; it holds few objects, and needs the indexes."""
        if self.job is not None:
            self.job._p_deactivate()
            self.job = None

    def share(self, job: Job) -> bool:
        """Let it go into the shared results of the job's bundle, if it may; whether it may."""
        shared = job._shared
        if shared is None or shared.size < defaults.SHARED_TOGETHER:
            return False
        if self.followed or job._waiters:
            return False
        told = self.annotations or self.log or job._past
        if self.outcome != SUCCEEDED or self.attempts > 1 or self.conflicts or told:
            return False
        if is_short(self.result):
            self.shared = shared._p_oid
        return self.shared is not None


def parked(claim: Claim, reason: str | None, now: int) -> AttemptResult:
    """The result of a job that can't be run with the code that is there."""
    result = AttemptResult(claim, PARKED, now, now)
    result.result = reason
    return result


def unsuccessful(
    claim: Claim, outcome: str, failure: Failure, started: int, job: Job | None = None
) -> AttemptResult:
    """The result of a job that ends now with a failure, of which there is nothing to tell."""
    result = AttemptResult(claim, HISTORY, started, clock.now())
    result.followed = job is not None and followers.is_followed(job)
    result.outcome, result.result = outcome, failure
    return result


def stored_end(claim: Claim, job: Job) -> AttemptResult:
    """The result of a job whose record has its end, and which only was not booked."""
    result = AttemptResult(claim, HISTORY, 0, 0)
    _adopt(result, job)
    return result


def waits_for_returned(job: Job) -> bool:
    """Whether an attempt of the job, which hasn't ended, is stored that returned another job."""
    return job._gate is not None and job._gate.adopts is not None


def stored_wait(claim: Claim, now: int) -> AttemptResult:
    """The result of a job that waits for another one already, and only was not booked."""
    return AttemptResult(claim, WAITING, now, now)


def _adopt(result: AttemptResult, job: Job) -> None:
    finished = job._finished or 0
    result.goes_to = HISTORY
    result.outcome = job._unsuccessful or SUCCEEDED
    result.started, result.finished = job._started or finished, finished
    result.gates = _gate_oids(job)


def write(record: WorkerRecord, results: Sequence[AttemptResult]) -> list[AttemptResult]:
    """Write results where they belong; return those whose jobs the lease in `record` has.

    The others were taken away, and whoever did has booked them. Those of one bundle of which
    there are many go into one record. They are booked at once: to take the job off its lease
    is what conflicts with whoever takes it away.
    """
    together: defaultdict[bytes | None, list[AttemptResult]] = defaultdict(list)
    for result in results:
        together[result.shared].append(result)
    written: list[AttemptResult] = []
    for oid, group in together.items():
        if oid is None or len(group) < defaults.SHARED_TOGETHER:
            written += write_each(record, group)
        else:
            written += _write_shared(record, record._p_jar.get(oid), group)
    return written


def write_each(record: WorkerRecord, results: Iterable[AttemptResult]) -> list[AttemptResult]:
    """Write each result into the record of its job; return those that the lease has.

    Whoever takes a job away writes the job, so of two who do at once one gets a ConflictError.
    """
    return [result for result in results if _write(record, result)]


def _write(record: WorkerRecord, result: AttemptResult) -> bool:
    job = result.job = record.job_of(result.claim)
    if job is None:
        return False
    if has_own_end(job):
        # An earlier commit, which seemed to fail, has stored an end already; that one counts.
        _adopt(result, job)
        return True
    if job._gate is not None and waits_for_returned(job):
        result.goes_to = WAITING
        return True
    if result.outcome is not None:
        job._end(result.outcome, result.result, result.started, result.finished)
        if (result.failed or job._past) and result.outcome != EXPIRED:
            job._worker = record.id
    elif result.goes_to == PARKED:
        job._parked = result.result
    elif result.goes_to == WAITING:
        job._gate, job._started = result.gate, result.started
    else:
        _write_again(record, job, result)
    if result.policy_data is not None:
        job._policy_data = result.policy_data
    if result.attempts > 1:
        job._attempts = result.attempts
    if result.conflicts:
        job._conflicts = result.conflicts
    if result.annotations is not None:
        job._annotations = {**(job._annotations or {}), **result.annotations}
    if result.log:
        job._log = result.log
    if result.outcome is not None:
        _at_end(job)
        if job._waiters != ():
            result.gates = _gate_oids(job)
    return True


def _write_again(record: WorkerRecord, job: Job, result: AttemptResult) -> None:
    """Write what there is of an attempt that another one follows."""
    job._attempts = result.attempts
    job._started = result.started
    job._last_failure = result.failure
    if result.retry_at is not None:
        job._retry_at = result.retry_at
    if result.snoozed:
        job._snoozed = True
    outcome = SNOOZED if result.snoozed else FAILED
    attempts.note(job, record.id, outcome, result.started, result.finished, result.failure)


def _at_end(job: Job) -> None:
    """Start what follows an end that is written into the job's own record; each such end
    comes here.
    """
    if followers.is_followed(job):
        followers.at_end(job)


def _write_shared(
    record: WorkerRecord, shared: SharedResults, group: Sequence[AttemptResult]
) -> list[AttemptResult]:
    by_key: dict[int, tuple[int, int, Any]] = {}
    written, ended = [], []
    if shared.left:
        written = write_each(record, [r for r in group if r.claim.key in shared.left])
        group = [result for result in group if result.claim.key not in shared.left]
    for result in group:
        job = result.job = record.job_of(result.claim)
        if job is None:
            continue
        key = result.claim.key
        record.release(key)
        by_key[key] = (result.started, result.finished, result.result)
        ended.append((job, result.finished, False, result.finished - result.started))
        written.append(result)
    if by_key:
        shared.add(by_key)
        shard: Shard = record._p_jar.get(group[0].claim.shard)
        shard.finish(ended)
    return written


def book(record: WorkerRecord, results: Iterable[AttemptResult]) -> None:
    """Take jobs of which the results are written off the lease, to where they go next."""
    finished: defaultdict[bytes, list[Ended]] = defaultdict(list)
    counting: list[tuple[Gate, bool]] = []
    for result in results:
        claim = result.claim
        job = record.job_of(claim)
        if job is None:
            continue  # booked before, or taken away and booked by whoever did
        record.release(claim.key)
        if result.goes_to is HISTORY:
            work = result.finished - result.started
            finished[claim.shard].append((job, result.finished, result.failed, work))
            for gate in result.gates:
                counting.append((record._p_jar.get(gate), not result.failed))
            continue
        shard: Shard = record._p_jar.get(claim.shard)
        if result.goes_to == PARKED:
            shard.park(claim.key, job)
        elif result.goes_to == SCHEDULED:
            _schedule(shard, job)
        elif result.goes_to == WAITING:
            shard.make_wait(claim.key, job)
        else:
            shard.make_ready(claim.key, job)
    for oid, ended in finished.items():
        shard = record._p_jar.get(oid)
        shard.finish(ended)
    if counting:
        _count(counting)
    settle_late(record)


def _schedule(shard: Shard, job: Job) -> None:
    """File a job that is to have another attempt until that is due."""
    key = _key_for_later(job, shard, job._retry_at or 0)
    job._retry_at = None
    shard.file(key, job)


def _key_for_later(job: Job, shard: Shard, due: int) -> int:
    """Give a job the key of one that is due then; it is to be filed under that."""
    job._created = job._created_micros()
    key = keys.key_for_later(job.priority, due)
    job._place(shard, key)
    return key


def claim_of(key: int, job: Any) -> Claim:
    """The claim of a job that a lease holds under `key`."""
    shard = shard_of(job)
    interruptions = state_of(job).get("_interruptions") or 0
    return Claim(key, job._p_oid, b"" if shard is None else shard._p_oid, interruptions)


# A lease whose worker doesn't end the job


def settle_late(record: WorkerRecord) -> bool:
    """See to what was added to jobs while the worker held them; whether nothing is left but for
    those that it still holds.
    """
    done, counting = followers.settle_late(record)
    _count(counting)
    return done


def give_back(record: WorkerRecord, claim: Claim) -> None:
    """Return a claimed job that was not begun to where it waited."""
    job = record.job_of(claim)
    if job is None:
        return
    record.release(claim.key)
    shard: Shard = record._p_jar.get(claim.shard)
    if claim.interruptions:
        shard.make_interrupted(claim.key, job, claim.interruptions)
    else:
        shard.make_ready(claim.key, job)


def take_back(
    record: WorkerRecord,
    key: int,
    job: Job,
    elsewhere: Shard,
    decide: Callable[[Job, int], Verdict],
) -> bool:
    """Take a job off a lease whose worker will not end it; whether it is parked by that.

    It waits again among those that were interrupted, or ends as aborted, as `decide` says by
    the job and the time. The job is written, so that a runner that isn't as dead as it seems
    gets a conflict. One that can't be written is parked, and `Queue.retry` looks whether it
    has ended; `elsewhere` takes it if its record doesn't even tell its shard.
    """
    running = record.running.get(key)
    record.release(key)
    shard = shard_of(job) or elsewhere
    completion = completion_of(job)
    if completion is not None:
        shard.finish([_ended(job, completion)])  # committed; only its booking was missing
        _count(_gates_of(job, not completion.failed))
        return False
    if isinstance(job, Broken) or job._p_changed is None or not can_be_stored(job):
        shard.park(key, job)
        return True
    job._p_changed = True
    if running is not None:
        job._started = running.started
    if job._parked is not None:
        shard.park(key, job)
    elif waits_for_returned(job):
        shard.make_wait(key, job)
    elif job._retry_at is not None:
        _schedule(shard, job)
    else:
        now = clock.now()
        started = None if running is None else running.started
        attempts.note(job, record.id, INTERRUPTED, started, now)
        job._interruptions += 1
        _go_on(job, shard, key, now, decide(job, now))
    return False


def _go_on(job: Job, shard: Shard, key: int, now: int, verdict: Verdict) -> None:
    """Let an interrupted job wait for its next attempt, or end."""
    if verdict.data is not None:
        job._policy_data = verdict.data
    if verdict.micros is None:
        assert verdict.error is not None
        _finish(job, shard, ABORTED, verdict.error)
    elif verdict.micros:
        key = _key_for_later(job, shard, now + verdict.micros)
        shard.schedule_interrupted(key, job, job._interruptions)
    else:
        shard.make_interrupted(key, job, job._interruptions)


def _ended(job: Any, completion: Completion) -> Ended:
    work = completion.finished - (completion.started or completion.finished)
    return job, completion.finished, completion.failed, work


def _finish(job: Job, shard: Shard, outcome: str, error: BaseException) -> None:
    _end_now(job, shard, outcome, error)
    _count(_gates_of(job, False))


def _end_now(job: Job, shard: Shard, outcome: str, error: BaseException) -> None:
    now = clock.now()
    job._end(outcome, Failure.from_exception(error), None, now)
    shard.finish([(job, now, True, 0)])
    _at_end(job)


# Gates. An end is counted by whoever takes the ended job off its lease, or ends it elsewhere:
# once, for of two who do so one conflicts.


def _gate_oids(job: Job) -> tuple[bytes, ...]:
    return tuple(gate._p_oid for gate in job._waiters)


def _gates_of(job: Any, succeeded: bool) -> list[tuple[Gate, bool]]:
    """The gates that count the end of a job, which may be one that can't be loaded here."""
    found = state_of(job).get("_waiters") or ()
    gates = [job._p_jar.get(g.oid) if isinstance(g, Reference) else g for g in found]
    return [(gate, succeeded) for gate in gates]


def _count(counting: list[tuple[Gate, bool]]) -> None:
    """Let gates count an end, with whether it was a success; what is open by that goes on."""
    while counting:
        gate, succeeded = counting.pop()
        opened = gate.ended(succeeded)
        if opened is not None:
            counting += open_gate(opened)


def open_gate(gate: Gate) -> list[tuple[Gate, bool]]:
    """Deliver the job behind an open gate, under its key, or end it as skipped; returns the
    gates that are to count that end.
    """
    job = gate.job
    shard, found = shard_of(job), state_of(job).get("_gate")
    is_its_own = found is gate or (isinstance(found, Reference) and found.oid == gate._p_oid)
    if gate.adopts is not None:
        return _take_over(job, shard, gate.adopts) if is_its_own and shard is not None else []
    if shard is None or not is_its_own or not shard.unblock(_key_of(job), job):
        return []  # it was taken out, or has ended
    if not can_be_stored(job):
        shard.park(_key_of(job), job)
        return []
    if not gate.skips or not gate.has_failed:
        deliver(shard.queue, job, _key_of(job))
        return []
    why = Skipped(
        f"job {job.id} of queue {shard.queue.name!r} was put after others with "
        "on_failure='skip', and one of them ended without success, or was removed"
    )
    _end_now(job, shard, SKIPPED, why)
    return _gates_of(job, False)


def _take_over(job: Job, shard: Shard, inner: Job) -> list[tuple[Gate, bool]]:
    """End a job as the one ended that it has returned; returns the gates that count this."""
    key = _key_of(job)
    if not shard.unwait(key, job):
        holder = holder_of(shard.queue, job)
        if holder is None or has_own_end(job):
            return []  # it was cancelled
        holder.release(key)  # which hasn't booked it yet
    if not can_be_stored(job):
        shard.park(key, job)
        return []
    now = clock.now()
    completion = completion_of(inner)
    outcome, value = inner.outcome, None if completion is None else completion.result
    if outcome is None:
        outcome = FAILED
        gone = BadStatus(f"{inner!r}, which {job!r} had returned, was taken out of its queue")
        value = Failure.from_exception(gone)
    job._end(outcome, value, None, now)
    shard.finish([(job, now, outcome != SUCCEEDED, 0)])
    _at_end(job)
    return _gates_of(job, outcome == SUCCEEDED)


def is_known(job: Job) -> bool:
    """Whether a job that has ended is one of a queue still, and wasn't forgotten."""
    shard, finished = shard_of(job), completion_of(job)
    if shard is None or finished is None:
        return False
    if shard.has_ended(job, finished.finished) or shard.has_parked(_key_of(job), job):
        return True
    return holder_of(shard.queue, job) is not None


# What people ask for


def cancel(job: Job) -> None:
    """What Job.cancel() does; what the job has returned, and waits for, is cancelled as well."""
    _cancel(job)
    todo = _inner(job)
    while todo:
        inner = todo.pop()
        with contextlib.suppress(BadStatus):  # it has ended, or can't be stored again
            _cancel(inner)
            todo += _inner(inner)


def _inner(job: Job) -> list[Job]:
    """The job that `job` waits for as it has returned it; the parts of a composition before."""
    inner = None if job._gate is None else job._gate.adopts
    if inner is None:
        return []
    parts = inner._predecessors if job._is_composed else None
    return [*(() if parts is None else parts.jobs), inner]  # from the end: this one first


def _cancel(job: Job) -> None:
    shard = shard_of(job)
    if shard is None or job._key is None or completion_of(job) is not None:
        raise BadStatus(f"{job!r} is {job.status}; only a job in a queue can be cancelled")
    error = Cancelled(f"job {job.id} of queue {shard.queue.name!r} was cancelled")
    _end_by_hand(job, shard, CANCELLED, error)


def fail(job: Job, error: BaseException | None) -> None:
    """What Job.fail() does."""
    if error is not None and not isinstance(error, BaseException):
        raise BadArgument(f"{job!r} can be made to fail with an exception, not with {error!r}")
    status = job.status
    if status in (ACTIVE, CALLBACKS, COMPLETED):
        raise BadStatus(
            f"{job!r} is {status}; only a job that hasn't begun can be made to fail, one that "
            "runs is taken from its worker by cancel()"
        )
    shard = None if job._key is None else shard_of(job)
    if status == NEW or shard is None:
        if job._callbacks:
            raise BadArgument(
                f"{job!r} isn't in a queue that its callbacks could be put into; put it first"
            )
        error = error or TimedOut(f"{job!r} was made to fail before it was put")
        job._renew()
        job._end(FAILED, Failure.from_exception(error), None, clock.now())
        return
    error = error or TimedOut(
        f"job {job.id} of queue {shard.queue.name!r} was made to fail before it began"
    )
    _end_by_hand(job, shard, FAILED, error)


def _end_by_hand(job: Job, shard: Shard, outcome: str, error: BaseException) -> None:
    """Take a job out of its queue or away from its worker, and end it."""
    queue, key = shard.queue, job._key or 0
    if not can_be_stored(job):
        raise BadStatus(
            f"{job!r} can't be ended as {outcome}: it can't be stored again with the code that is "
            f"here; take it out with remove() of queue {queue.name!r}, or mend the code"
        )
    holder = holder_of(queue, job)
    if holder is not None:
        running = holder.running.get(key)
        if running is not None:
            job._started, job._worker = running.started, holder.id
        holder.release(key)
    elif not shard.unwait(key, job) and not shard.discard(key, job):
        raise BadStatus(
            f"{job!r} isn't in queue {queue.name!r} any more; if its end was undone, retry or "
            "forget it"
        )
    # Written in every case: that is what keeps a runner from committing.
    _finish(job, shard, outcome, error)


def remove(queue: Queue, job: Job) -> None:
    """What Queue.remove() does."""
    shard = shard_of(job)
    if shard is None or shard.queue is not queue or not shard.discard(_key_of(job), job):
        raise LookupError(f"{job!r} doesn't wait in queue {queue.name!r}; it is {_status(job)}")
    shard.keep_ids([job])
    _count(_gates_of(job, False))
    if job._p_changed is not None and not isinstance(job, Broken) and can_be_stored(job):
        job._renew()
        _counted(job)


def retry(queue: Queue, job: Job) -> None:
    """What Queue.retry() does."""
    if followers.start_parked(job, queue):
        return
    shard = _shard_in(queue, job)
    if job._v_running:
        raise BadStatus(
            f"{job!r} runs here and can't put itself in again; give it a retry policy, "
            "or let it put another job"
        )
    if not can_be_stored(job):
        job._p_invalidate()  # the code may be there since it was loaded
    if not can_be_stored(job):
        raise BadStatus(
            f"{job!r} can't be retried: it can't be stored again with the code that is here; "
            "mend the code, or take the job out with remove()"
        )
    if job.status == CALLBACKS or _has_waiting_callback(job):
        raise BadStatus(
            f"{job!r} has ended, and its callbacks haven't; it can be retried once they have"
        )
    if shard.has_parked(_key_of(job), job):
        completion = completion_of(job)
        shard.discard(_key_of(job), job)
        if completion is not None:
            _count(_gates_of(job, not completion.failed))
            _counted(job)
            if not completion.failed:
                shard.finish([_ended(job, completion)])
                return
    elif job._unsuccessful is not None:
        _forget(job, shard, job._finished or 0)
        _counted(job)
    elif not drop_undone(job):
        raise BadStatus(
            f"{job!r} is {job.outcome or job.status}; only a parked job, or one that "
            "ended without success, can be retried"
        )
    priority, policy = job.priority, job._given_policy
    job._renew()
    job._begin_after = None
    if policy is not None:
        job._given_policy = policy  # fixed at the first put
    deliver(queue, job, keys.key_for_now(priority, clock.now()))


def _has_waiting_callback(job: Job) -> bool:
    """Whether a callback is still to be called with the end of `job`; also one that was added
    after the end, and doesn't count for the status.
    """
    return completion_of(job) is not None and any(
        state_of(callback).get("_key") is not None and completion_of(callback) is None
        for callback in followers.direct(job)
    )


def forget(queue: Queue, job: Job) -> None:
    """What Queue.forget() does."""
    shard = _shard_in(queue, job)
    completion = completion_of(job)
    if completion is None and drop_undone(job):
        return
    if completion is None:
        raise BadStatus(f"{job!r} is {job.status}; only a job that has ended can be forgotten")
    _forget(job, shard, completion.finished)


def is_undone(job: Job) -> bool:
    """Whether somebody has undone the transaction of its end: it is NEW, and in the history."""
    return bool(_undone(job)[1])


def renew(job: Job) -> None:
    """Make a NEW job one that was never put nor added to another: the transaction of that was
    aborted, its end was undone, or it is a copy. Leaves any other job as it is.
    """
    followers.drop_aborted(job)
    if job._key is not None and job.status == NEW:
        drop_undone(job)
        job._renew()


def drop_undone(job: Job) -> bool:
    """Take a job whose end was undone out of the history; whether it was one."""
    shard, places = _undone(job)
    if shard is not None:
        shard.drop_places(places)
    return bool(places)


def _undone(job: Job) -> tuple[Shard | None, list[int]]:
    shard = shard_of(job) if job._p_jar is not None and job.status == NEW else None
    return shard, [] if shard is None else shard.undone_places(job)


def _forget(job: Job, shard: Shard, finished: int) -> None:
    if shard.drop_ended(job, finished):
        return
    was_there = shard.has_parked(_key_of(job), job)
    if was_there:
        shard.discard(_key_of(job), job)
    holder = holder_of(shard.queue, job)
    if holder is not None:  # which has ended it, and not booked it yet
        holder.release(_key_of(job))
    if was_there or holder is not None:
        _count(_gates_of(job, job.outcome == SUCCEEDED))


def _counted(job: Job) -> None:
    """Let no gate count another end of a job that is put in again."""
    if job._waiters:
        job._waiters = ()


def _shard_in(queue: Queue, job: Job) -> Shard:
    shard = shard_of(job)
    if shard is None or shard.queue is not queue:
        raise LookupError(f"{job!r} isn't a job of queue {queue.name!r}")
    return shard


def _key_of(job: Any) -> int:
    return state_of(job).get("_key") or 0


def _status(job: Any) -> str:
    return "lost" if job._p_changed is None else str(getattr(job, "status", "not readable here"))
