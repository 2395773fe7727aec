"""Policy: what raised, conflicted or was interrupted is done again, when, or given up.

The one place that asks a job's retry policy. Whatever that answers or raises harms no other job.
"""

from __future__ import annotations

import copy
import logging
import math
from datetime import datetime, timedelta
from typing import Any

from zodbjobs import clock, defaults
from zodbjobs.errors import Aborted, BadArgument, BadPolicy, Expired, Snooze
from zodbjobs.interfaces import FAILED
from zodbjobs.interrupt import is_ctrl_c
from zodbjobs.queue_names import spoken
from zodbjobs.runtime.storage import errors
from zodbjobs.stored.failure import Failure, dotted_name
from zodbjobs.stored.job import Job
from zodbjobs.stored.lifecycle import completion
from zodbjobs.stored.lifecycle.attempt_result import PARKED, READY, SCHEDULED, AttemptResult
from zodbjobs.stored.lifecycle.attempts import Verdict
from zodbjobs.stored.lifecycle.options import deadline_of
from zodbjobs.stored.lifecycle.storable import is_simple

log = logging.getLogger("zodbjobs")

#: The questions that a policy is asked.
JOB_ERROR = "job_error"
COMMIT_ERROR = "commit_error"
INTERRUPTED = "interrupted"

#: There is no other attempt.
NO_MORE = Verdict(None)

_PLAIN = (list, tuple, set, frozenset)


def after_expiry(job: Job, now: int, conflicts: int, too_late: bool = False) -> Expired | None:
    """The error for a job that wasn't begun in time; None if it may be run at `now`.

    What was begun in time is run again after a conflict, an error or a snooze, however late.
    `too_late`: whoever claimed it found it to be so, by a clock that may not be this one, or by a
    begin_by that was changed since; it was taken from what it waited for.
    """
    deadline = deadline_of(job)
    if not too_late and (
        deadline is None or now <= deadline or conflicts or job.started is not None
    ):
        return None
    when = "in time" if deadline is None else f"by {clock.to_datetime(deadline)}"
    return Expired(
        f"job {job.id} ({job.description}) was to be begun {when}; "
        "give it a longer begin_by, or the queue more workers"
    )


def outlasts_conflict(policy: Any, error: Exception, conflicts: int) -> bool:
    """Whether there is another attempt at once after a commit that failed for the so many-th
    time in a row, or a read that conflicted. `policy`: the job's own, or None.
    """
    if not errors.is_transient(error):
        return False
    return conflicts < getattr(policy, "conflict_attempts", defaults.CONFLICT_ATTEMPTS)


def after_error(policy: Any, job: Job, question: str, failure: Failure, now: int) -> Verdict:
    """What follows an attempt of a job with its own policy that raised, or couldn't be committed.

    Past its begin_by there is none, unless it has snoozed.
    """
    verdict = _asked(policy, job, question, now, failure)
    deadline = None if completion.has_snoozed(job) else deadline_of(job)
    if verdict.micros is None or deadline is None or now + verdict.micros <= deadline:
        return verdict
    return verdict._replace(micros=None)


def conclude(
    result: AttemptResult, job: Job, policy: Any, failure: Failure, question: str
) -> None:
    """Let `result` say what follows an attempt that failed: another one, or the job's end."""
    verdict = NO_MORE
    if policy is not None:
        verdict = after_error(policy, job, question, failure, result.finished)
    follow(result, verdict, failure)


def follow(result: AttemptResult, verdict: Verdict, failure: Failure | None) -> None:
    """Let `result` say what the verdict about its attempt leads to."""
    if verdict.data is not None:
        result.policy_data = verdict.data
    if verdict.micros is None:
        result.outcome, result.result = FAILED, failure
        if verdict.error is not None:
            result.result = _led_to(verdict.error, failure)
        return
    result.failure = failure
    result.goes_to = READY
    if verdict.micros:
        result.goes_to = SCHEDULED
        result.retry_at = result.finished + verdict.micros


def tell(result: AttemptResult, what: object, level: int, why: object = None) -> None:
    """Log what an attempt that failed has led to, at `level` if it was the last."""
    if result.goes_to == PARKED:
        log.critical("%s can't be stored again with the code that is here: it is parked", what)
    elif result.outcome is not None:
        log.log(level, "%s failed: %s", what, result.result)
    else:
        wait = 0 if result.retry_at is None else result.retry_at - result.finished
        why = result.failure if why is None else why
        log.info("%s is run again in %s us: %s", what, max(0, wait), why)


def _led_to(error: Exception, failure: Failure | None) -> Failure:
    """The Failure of an error that came of another one, which is the last of its causes."""
    made = Failure.from_exception(error)
    causes = list(made.chain())
    if failure is not None and str(failure) not in map(str, causes):  # as Python may know itself
        causes[-1].cause = failure
    return made


def after_snooze(snooze: Snooze, now: int) -> Verdict:
    """When a job that has raised Snooze is run again."""
    micros = _micros_until(snooze.when, now)
    if micros is None:
        return Verdict(None, error=BadArgument(f"{snooze}, which is more than a year"))
    return Verdict(micros)


def after_interruption(job: Job, now: int) -> Verdict:
    """What follows for a job whose worker died or stopped, which is counted already."""
    if job.interruptions == 1 and completion.has_checkpoint(job):
        return Verdict(0)  # it has got on since the last one, and so will it now
    policy = job.retry_policy
    if policy is not None:
        verdict = _asked(policy, job, INTERRUPTED, now)
    else:
        verdict = Verdict(0) if job.interruptions <= defaults.INTERRUPTIONS else NO_MORE
    if verdict.micros is not None or verdict.error is not None:
        return verdict
    error = Aborted(
        f"job {job.id} ({job.description}) of {spoken(_queue_name(job))} was given up: "
        f"its worker died or was stopped {job.interruptions} times while it held the job"
    )
    log.critical("%s", error)
    return verdict._replace(error=error)


def _asked(policy: Any, job: Job, question: str, now: int, *about: Failure) -> Verdict:
    """What the job's policy answers, checked."""
    data = copy.deepcopy(completion.policy_data(job))
    answer: Any = None
    try:
        answer = getattr(policy, question)(*about, data)
        again = _checked(answer, now)
        _check_plain(data)
    except BaseException as error:
        if is_ctrl_c(error):
            raise
        return Verdict(None, error=_fault(policy, job, question, error))
    return Verdict(again, data or None)


def _fault(policy: Any, job: Job, question: str, error: BaseException) -> BadPolicy:
    """The error that a job ends with whose policy has raised, or has answered nonsense."""
    fault = BadPolicy(
        f"the retry policy {dotted_name(type(policy))} of job {job.id} ({job.description}) of "
        f"{spoken(_queue_name(job))} gave no answer to {question}: {type(error).__name__}: "
        f"{error}; mend the policy, then retry the job"
    )
    fault.__cause__ = error
    log.error("%s", fault, exc_info=error)
    return fault


def _checked(answer: Any, now: int) -> int | None:
    """The microseconds until the next attempt, or None for no other; raises BadArgument."""
    if answer is True:
        return 0
    if answer is False:
        return None
    if isinstance(answer, int | float) and not math.isnan(answer):
        answer = min(answer, 2 * defaults.MOST_RETRY_SECONDS)
        answer = timedelta(seconds=max(0.0, answer))
    is_time = isinstance(answer, timedelta | datetime)
    if not is_time or (isinstance(answer, datetime) and answer.utcoffset() is None):
        raise BadArgument(
            f"it answered {answer!r}; True, False, seconds, a timedelta or an aware datetime "
            "is wanted"
        )
    micros = _micros_until(answer, now)
    if micros is None:
        raise BadArgument(f"it answered {answer!r}, which is more than a year")
    return micros


def _micros_until(when: timedelta | datetime, now: int) -> int | None:
    """From `now` on; what is past is 0, and None what is too far away."""
    if isinstance(when, datetime):
        micros = clock.to_micros(when) - now
    else:
        micros = when // timedelta(microseconds=1)
    if micros > defaults.MOST_RETRY_SECONDS * 1_000_000:
        return None
    return max(0, micros)


def _check_plain(value: Any) -> None:
    """Raise BadArgument for what isn't made of plain values: it is stored with the job."""
    if type(value) is dict:
        for pair in value.items():
            _check_plain(pair)
    elif type(value) in _PLAIN:
        for part in value:
            _check_plain(part)
    elif not is_simple(value):
        raise BadArgument(
            f"it put a {type(value).__name__} into `data`, which holds plain values only"
        )


def _queue_name(job: Job) -> str:
    shard = completion.shard_of(job)
    return "" if shard is None else shard.queue.name
