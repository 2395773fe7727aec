"""Policy: what raised, conflicted or was interrupted is done again, when, or given up."""

from __future__ import annotations

import logging
import math
from typing import NamedTuple

from zodbjobs import clock, defaults
from zodbjobs.errors import Aborted, Expired
from zodbjobs.runtime.storage import errors
from zodbjobs.stored.failure import Failure
from zodbjobs.stored.job import Job
from zodbjobs.stored.lifecycle import complete
from zodbjobs.stored.lifecycle.options import deadline_of

log = logging.getLogger("zodbjobs")


class Again(NamedTuple):
    """Another attempt, in so many microseconds; 0 for at once."""

    micros: int


def after_expiry(job: Job, now: int, conflicts: int) -> Expired | None:
    """The error for a job that wasn't begun in time; None if it may be run at `now`.

    What was begun in time is run again after a conflict or an error, however late.
    """
    deadline = deadline_of(job)
    if deadline is None or now <= deadline or conflicts or job.started is not None:
        return None
    return Expired(
        f"job {job.id} ({job.description}) was to be begun by {clock.to_datetime(deadline)}; "
        "give it a longer begin_by, or the queue more workers"
    )


def after_error(job: Job, failure: Failure, attempts: int, now: int) -> Again | None:
    """What follows an attempt that raised: another one, or None if the job has failed.

    Whatever the job's own policy answers or raises harms nobody else.
    """
    policy = job.retry_policy
    if policy is None:
        return None
    try:
        seconds = policy.delay(failure, attempts)
    except Exception:
        log.exception("the retry policy of %r failed; there is no further attempt", job)
        return None
    if seconds is None:
        return None
    if isinstance(seconds, bool) or not isinstance(seconds, int | float) or math.isnan(seconds):
        log.error(
            "the retry policy of %r answers %r, not a number of seconds or None; there is no "
            "further attempt",
            job,
            seconds,
        )
        return None
    if seconds > defaults.MOST_RETRY_SECONDS:
        log.error(
            "the retry policy of %r answers %r seconds, more than %s; there is no further attempt",
            job,
            seconds,
            defaults.MOST_RETRY_SECONDS,
        )
        return None
    micros = int(max(0.0, seconds) * 1_000_000)
    deadline = deadline_of(job)
    return None if deadline is not None and now + micros > deadline else Again(micros)


def after_conflict(error: Exception, conflicts: int) -> Again | None:
    """What follows a commit that failed for the so many-th time in a row, or a read that
    conflicted: another attempt, or None if the job ends with the error.
    """
    if not errors.is_transient(error) or conflicts >= defaults.CONFLICT_ATTEMPTS:
        return None
    return Again(0)


def after_interruption(job: Job) -> Aborted | None:
    """The error for a job that is given up as its worker died or stopped too often; else None."""
    if job.interruptions <= defaults.INTERRUPTIONS:
        return None
    shard = complete.shard_of(job)
    name = "" if shard is None else shard.queue.name
    error = Aborted(
        f"job {job.id} ({job.description}) of queue {name!r} was given up: "
        f"its worker died or was stopped {job.interruptions} times while it held the job"
    )
    log.critical("%s", error)
    return error
