"""Complete: the only writer of what becomes of a job that was put.

An end is written into the job's record, or into the shared results of its bundle; the key is
taken off the tree or lease that has it; the job is booked into the history, or goes back to
where it waits. Everything here works in the caller's transaction.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

from ZODB.broken import Broken

from zodbjobs import clock, defaults
from zodbjobs.errors import BadStatus, Skipped
from zodbjobs.interfaces import ABORTED, EXPIRED, FAILED, SKIPPED, SUCCEEDED
from zodbjobs.queue_names import spoken
from zodbjobs.stored.failure import Failure
from zodbjobs.stored.lifecycle import attempts, followers, history, keys, pausing, tallies, telling
from zodbjobs.stored.lifecycle.attempt_result import (
    HISTORY,
    PARKED,
    PAUSED,
    SCHEDULED,
    WAITING,
    AttemptResult,
    gate_oids,
)
from zodbjobs.stored.lifecycle.attempts import INTERRUPTED, SNOOZED, Verdict
from zodbjobs.stored.lifecycle.claim import Claim
from zodbjobs.stored.lifecycle.completion import (
    Completion,
    completion_of,
    has_own_end,
    holder_of,
    key_of,
    shard_of,
    waits_for_returned,
)
from zodbjobs.stored.lifecycle.delivery import deliver
from zodbjobs.stored.lifecycle.entries import item_for, too_late
from zodbjobs.stored.lifecycle.rates import Turn
from zodbjobs.stored.lifecycle.raw import Reference, state_of
from zodbjobs.stored.lifecycle.storable import can_be_stored, is_simple
from zodbjobs.stored.unique_keys import UniqueKey

if TYPE_CHECKING:
    from zodbjobs.stored.gates import Gate
    from zodbjobs.stored.job import Job
    from zodbjobs.stored.lifecycle.history import Ended
    from zodbjobs.stored.shard import Shard
    from zodbjobs.stored.shared_results import SharedResults
    from zodbjobs.stored.workers import WorkerRecord


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
        result.adopt(job)
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
        result.listed = job._listed is not None
        _at_end(job)
        if job._waiters != ():
            result.gates = gate_oids(job)
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
    telling.retried(job)


def _at_end(job: Job) -> None:
    """Start what follows an end that is written into the job's own record; each such end
    comes here.
    """
    telling.ended(job)
    if followers.is_followed(job):
        followers.at_end(job)
    if job._unique is not None:
        release_unique(job)


def release_unique(job: Any) -> None:
    """Let another job have the unique key of one that ends or is taken out, if it has it still."""
    key = state_of(job).get("_unique")
    if isinstance(key, Reference):
        key = key.load(job._p_jar)
    if isinstance(key, UniqueKey) and key.job is job:
        key.release()


def retake_unique(job: Any) -> None:
    """Let a job that was claimed, and waits again unbegun, have its unique key, if nobody has."""
    key = state_of(job).get("_unique")
    if isinstance(key, UniqueKey) and key.job is None:
        key.retake(job)


def _write_shared(
    record: WorkerRecord, shared: SharedResults, group: Sequence[AttemptResult]
) -> list[AttemptResult]:
    written: list[AttemptResult] = []
    ended, bookings = [], []
    if shared.left:
        written = write_each(record, [r for r in group if r.claim.key in shared.left])
        group = [result for result in group if result.claim.key not in shared.left]
    for result in group:
        job = result.job = record.job_of(result.claim)
        if job is None:
            continue
        record.release(result.claim.key)
        bookings.append(_ended(job, result))
        ended.append(result)
    if ended:
        shared.add([(r.claim.key, r.started, r.finished, r.result) for r in ended])
        shard: Shard = record._p_jar.get(group[0].claim.shard)
        history.book(shard, bookings)
        telling.ended_together(shard, ended)
    return [*written, *ended]


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
            finished[claim.shard].append(_ended(job, result))
            for gate in result.gates:
                counting.append((record._p_jar.get(gate), not result.failed))
            continue
        shard: Shard = record._p_jar.get(claim.shard)
        if result.goes_to == PARKED:
            shard.park(claim.key, job)
        elif result.goes_to == SCHEDULED:
            _schedule(shard, job)
            _count_retried(record, shard, result)
        elif result.goes_to == WAITING:
            shard.make_wait(claim.key, job)
        elif result.goes_to == PAUSED:
            pausing.put_aside(shard, claim, _unbegun(claim, job), result.result)
        else:
            shard.make_ready(claim.key, item_for(job) if claim.names else job)
            _count_retried(record, shard, result)
    for oid, ended in finished.items():
        shard = record._p_jar.get(oid)
        history.book(shard, ended)
    if counting:
        count(counting)
    settle_late(record)


def _count_retried(record: WorkerRecord, shard: Shard, result: AttemptResult) -> None:
    if result.failure is not None:  # else it snoozed
        record.counters.count_retried(shard.queue.name)


def _ended(job: Job, result: AttemptResult) -> Ended:
    """How the end of an attempt is booked; its key tells since when the job has waited for it."""
    started = result.started
    waited = None if result.outcome == EXPIRED else started - keys.micros_of(result.claim.key)
    took = result.finished - started
    return job, result.finished, result.outcome or SUCCEEDED, took, waited, result.listed


def _schedule(shard: Shard, job: Job) -> None:
    """File a job that is to have another attempt until that is due."""
    key = _key_for_later(job, shard, job._retry_at or 0)
    job._retry_at = None
    shard.file(key, item_for(job))


def _key_for_later(job: Job, shard: Shard, due: int) -> int:
    """Give a job the key of one that is due then; it is to be filed under that."""
    job._created = job._created_micros()
    key = keys.key_for_later(job.priority, due)
    if key == job._key:  # what still runs under that one must not be taken for the next attempt
        key = keys.key_for_later(job.priority, due)
    job._place(shard, key)
    return key


def claim_of(record: WorkerRecord, key: int, job: Any) -> Claim:
    """The claim of a job that the lease in `record` holds under `key`."""
    shard, state = shard_of(job), state_of(job)
    oid = b"" if shard is None else shard._p_oid
    interruptions, names = state.get("_interruptions") or 0, state.get("_quota_names") or ()
    if record.is_too_late(key):
        return Claim(key, job._p_oid, oid, too_late=True)
    unique = state.get("_unique") is not None
    # Whether it has had its turn, by the rates of its quotas, isn't known.
    turn = Turn(0, 0) if names and shard is not None and shard.queue._rates is not None else None
    return Claim(key, job._p_oid, oid, interruptions, names, unique=unique, turn=turn)


# A lease whose worker doesn't end the job


def settle_late(record: WorkerRecord) -> bool:
    """See to what was added to jobs while the worker held them; whether nothing is left but for
    those that it still holds.
    """
    done, counting = followers.settle_late(record)
    count(counting)
    return done


def give_back(record: WorkerRecord, claim: Claim) -> None:
    """Return a claimed job that was not begun to where it waited."""
    job = record.job_of(claim)
    if job is None:
        return
    record.release(claim.key)
    shard: Shard = record._p_jar.get(claim.shard)
    shard.make_ready(claim.key, _unbegun(claim, job))


def _unbegun(claim: Claim, job: Job) -> Any:
    """How a claimed job is filed again that was not begun."""
    if claim.too_late:
        return too_late(job)
    if claim.unique:
        retake_unique(job)
    if claim.names or claim.unique:
        return item_for(job, claim.interruptions)
    return (claim.interruptions, job) if claim.interruptions else job


def take_back(
    record: WorkerRecord,
    key: int,
    job: Job,
    elsewhere: Shard,
    decide: Callable[[Job, int], Verdict],
) -> bool:
    """Take a job off a lease whose worker will not end it; whether it is parked by that.

    It waits again among those that were interrupted, or ends as aborted, as `decide` says by
    the job and the time. One that only was to be ended still is, whatever the clock here says, for
    it was taken from what it waited for. The job is written, so that a runner that isn't as dead
    as it seems gets a conflict. One that can't be written is parked, and `Queue.retry` looks
    whether it has ended; `elsewhere` takes it if its record doesn't even tell its shard.
    """
    running = record.running.get(key)
    is_too_late = record.is_too_late(key)
    record.release(key)
    shard = shard_of(job) or elsewhere
    completion = completion_of(job)
    if completion is not None:
        history.book(shard, [booking(job, completion)])  # committed; only its booking was missing
        count(gates_of(job, not completion.failed))
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
    elif is_too_late:
        shard.make_ready(key, too_late(job))
    else:
        now = clock.now()
        started = None if running is None else running.started
        attempts.note(job, record.id, INTERRUPTED, started, now)
        job._interruptions += 1
        _go_on(record, job, shard, key, now, decide(job, now))
    return False


def _go_on(
    record: WorkerRecord, job: Job, shard: Shard, key: int, now: int, verdict: Verdict
) -> None:
    """Let an interrupted job wait for its next attempt, or end."""
    if verdict.data is not None:
        job._policy_data = verdict.data
    if verdict.micros is None:
        assert verdict.error is not None
        finish(job, shard, ABORTED, verdict.error)
        return
    telling.rescued(job, record)
    record.counters.count_rescued(shard.queue.name)
    if verdict.micros:
        key = _key_for_later(job, shard, now + verdict.micros)
        shard.file(key, item_for(job, job._interruptions))
    else:
        shard.make_ready(key, item_for(job, job._interruptions))


def booking(job: Any, completion: Completion) -> Ended:
    """How the end of a job is booked into its shard's history."""
    work = completion.finished - (completion.started or completion.finished)
    state = state_of(job)
    outcome = state.get("_unsuccessful") or SUCCEEDED
    return job, completion.finished, outcome, work, None, state.get("_listed") is not None


def finish(job: Job, shard: Shard, outcome: str, error: BaseException) -> None:
    """End a job that isn't in a lease, nor in a tree where it waits, any more."""
    _end_now(job, shard, outcome, error)
    count(gates_of(job, False))


def _end_now(job: Job, shard: Shard, outcome: str, error: BaseException) -> None:
    now = clock.now()
    job._end(outcome, Failure.from_exception(error), None, now)
    history.book(shard, [(job, now, outcome, 0, None, job._listed is not None)])
    _at_end(job)


# Gates. An end is counted by whoever takes the ended job off its lease, or ends it elsewhere:
# once, for of two who do so one conflicts.


def gates_of(job: Any, succeeded: bool) -> list[tuple[Gate, bool]]:
    """The gates that count the end of a job, which may be one that can't be loaded here."""
    found = state_of(job).get("_waiters") or ()
    gates = [g.load(job._p_jar) if isinstance(g, Reference) else g for g in found]
    return [(gate, succeeded) for gate in gates]


def count(counting: list[tuple[Gate, bool]]) -> None:
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
    is_its_own = gate is (found.load(job._p_jar) if isinstance(found, Reference) else found)
    if gate.adopts is not None:
        return _take_over(job, shard, gate.adopts) if is_its_own and shard is not None else []
    if shard is None or not is_its_own or not shard.unblock(key_of(job), job):
        return []  # it was taken out, or has ended
    if not can_be_stored(job):
        tallies.left(shard.blocked, 1)
        shard.park(key_of(job), job)
        return []
    if not gate.skips or not gate.has_failed:
        deliver(shard.queue, job, key_of(job))
        return []
    why = Skipped(
        f"job {job.id} of {spoken(shard.queue.name)} was put after others with "
        "on_failure='skip', and one of them ended without success, or was removed"
    )
    tallies.left(shard.blocked, 1)
    _end_now(job, shard, SKIPPED, why)
    return gates_of(job, False)


def _take_over(job: Job, shard: Shard, inner: Job) -> list[tuple[Gate, bool]]:
    """End a job as the one ended that it has returned; returns the gates that count this."""
    key = key_of(job)
    if not shard.unwait(key, job):
        holder = holder_of(shard.queue, job)
        if holder is None or has_own_end(job):
            return []  # it was cancelled
        holder.release(key)  # which hasn't booked it yet
    if not can_be_stored(job):
        shard.park(key, job)
        return []
    now = clock.now()
    completion = completion_of(inner)  # it may be one that can't be loaded here
    why = "was taken out of its queue"
    if completion is not None:
        outcome = state_of(inner).get("_unsuccessful") or SUCCEEDED
        value = completion.result
        why = "has a result that can't be loaded with the code that is here"
    if completion is None or (inner._p_changed is None and not is_simple(value)):
        outcome = FAILED
        value = Failure.from_exception(BadStatus(f"{inner!r}, which {job!r} had returned, {why}"))
    job._end(outcome, value, None, now)
    listed = job._listed is not None
    history.book(shard, [(job, now, outcome, 0, None, listed)])
    _at_end(job)
    return gates_of(job, outcome == SUCCEEDED)
