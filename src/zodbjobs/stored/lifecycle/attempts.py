"""Past attempts of a job: what is kept of each, and what a policy has made of the last."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any, NamedTuple

from zodbjobs import clock, defaults
from zodbjobs.interfaces import SUCCEEDED
from zodbjobs.stored.failure import Failure

if TYPE_CHECKING:
    from zodbjobs.stored.job import Job

#: Outcomes of attempts that another one follows, beside `failed`.
INTERRUPTED = "interrupted"
SNOOZED = "snoozed"


class PastAttempt(NamedTuple):
    """One attempt: when it began and ended (UTC), the id of its worker, its outcome, its failure.

    `outcome` is that of the job, if the job ended with it; else failed, interrupted or snoozed.
    `started` is None for one that was interrupted before it began. `worker` is None for a job that
    succeeded at its first attempt, and for one that was called by hand. The `failure` of any
    but the last is shortened.
    """

    started: datetime | None
    finished: datetime
    worker: str | None
    outcome: str
    failure: Failure | None


class Verdict(NamedTuple):
    """What a policy says of an attempt: after how many microseconds another one follows; None
    if the job has ended. `error`: with what, if not with the attempt's own failure.

    `data`: what the policy notes for the next time.
    """

    micros: int | None
    data: dict[str, Any] | None = None
    error: Exception | None = None


# An attempt as it is stored, with times in microseconds.
_Stored = tuple[int | None, int, str | None, str, Failure | None]


def note(
    job: Job,
    worker: str,
    outcome: str,
    started: int | None,
    finished: int,
    failure: Failure | None = None,
) -> None:
    """Note an attempt that doesn't end the job; the last defaults.PAST_ATTEMPTS are kept."""
    brief = None if failure is None else failure.brief()
    entry: _Stored = (started, finished, worker, outcome, brief)
    job._past = (*job._past, entry)[-defaults.PAST_ATTEMPTS :]


def past_attempts(job: Job) -> tuple[PastAttempt, ...]:
    """What Job.past_attempts is."""
    entries = [*job._past, *_last(job)][-defaults.PAST_ATTEMPTS :]
    return tuple(
        PastAttempt(clock.moment(started), clock.to_datetime(finished), *rest)
        for started, finished, *rest in entries
    )


def _last(job: Job) -> list[_Stored]:
    """The attempt that the job ended with, if it was one: the job's end tells it all."""
    completion = job._completion()
    if completion is None:
        return []
    outcome = job._unsuccessful or SUCCEEDED
    by_hand = job._key is None and completion.started is not None
    if outcome != SUCCEEDED and job._worker is None and not by_hand:
        return []  # cancelled or expired while it waited, or given up after an interruption
    return [(completion.started, completion.finished, job._worker, outcome, job.failure)]
