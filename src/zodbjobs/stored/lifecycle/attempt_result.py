"""Attempt result: what one call of a job led to, on its way from a runner into the database."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from zodbjobs import clock, defaults
from zodbjobs.interfaces import SUCCEEDED
from zodbjobs.stored.failure import Failure
from zodbjobs.stored.lifecycle import followers
from zodbjobs.stored.lifecycle.claim import Claim
from zodbjobs.stored.lifecycle.storable import is_short

if TYPE_CHECKING:
    from zodbjobs.stored.gates import Gate
    from zodbjobs.stored.job import Job
    from zodbjobs.stored.pauses import Pause

# Where a job goes after an attempt.
HISTORY = "history"
PARKED = "parked"
READY = "ready"
SCHEDULED = "scheduled"
PAUSED = "paused"
WAITING = "waiting"  # for the job that it has returned


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
        "listed",
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
        #: What the job returned or its Failure; why it is parked; the match of its pause.
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
        #: Whether the job is in the job index.
        self.listed = False
        #: The job as the connection has it that writes the result.
        self.job: Job | None = None

    @property
    def failed(self) -> bool:
        """Whether the job ended without success."""
        return self.outcome is not None and self.outcome != SUCCEEDED

    def adopt(self, job: Job) -> None:
        """Be the result of the end that is stored in the record of `job` already."""
        finished = job._finished or 0
        self.goes_to = HISTORY
        self.outcome = job._unsuccessful or SUCCEEDED
        self.started, self.finished = job._started or finished, finished
        self.gates = gate_oids(job)
        self.listed = job._listed is not None

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
            self.listed = job._listed is not None
        return self.shared is not None


def parked(claim: Claim, reason: str | None, now: int) -> AttemptResult:
    """The result of a job that can't be run with the code that is there."""
    result = AttemptResult(claim, PARKED, now, now)
    result.result = reason
    return result


def paused(claim: Claim, match: str | None, now: int) -> AttemptResult:
    """The result of a job that wasn't begun, for the pause of that `match`, None: the queue's."""
    result = AttemptResult(claim, PAUSED, now, now)
    result.result = match
    return result


def given_back(claim: Claim, pause: Pause | None, now: int) -> AttemptResult:
    """The result of a job that ended at a checkpoint, for a pause, or as its worker stops
    or its agent was removed.

    It isn't filed as one that was interrupted: it has got on since.
    """
    claim = claim._replace(interruptions=0, unique=False)
    if pause is not None:
        return paused(claim, pause.match, now)
    return AttemptResult(claim, READY, now, now)


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
    result.adopt(job)
    return result


def stored_wait(claim: Claim, now: int) -> AttemptResult:
    """The result of a job that waits for another one already, and only was not booked."""
    return AttemptResult(claim, WAITING, now, now)


def gate_oids(job: Job) -> tuple[bytes, ...]:
    """The object ids of the gates that count the end of a job."""
    return tuple(gate._p_oid for gate in job._waiters)
