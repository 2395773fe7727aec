"""One job, or the newest of many."""

from __future__ import annotations

import dataclasses
import fnmatch
from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Any

from ZODB.blob import Blob
from ZODB.broken import Broken
from ZODB.POSException import POSKeyError
from ZODB.utils import p64, u64

from zodbjobs import clock, defaults
from zodbjobs.errors import BadArgument
from zodbjobs.insights.infos import (
    MOST_ARGUMENT,
    MOST_BLOCKERS,
    MOST_RESULT,
    AttemptInfo,
    JobDetails,
    JobInfo,
    show,
)
from zodbjobs.insights.newest import (
    BLOCKED,
    PARKED,
    PAUSED,
    SCHEDULED,
    WAITING,
    WITH_WORKER,
    Span,
    newest,
)
from zodbjobs.interfaces import (
    ACTIVE,
    CALLBACKS,
    COMPLETED,
    OUTCOMES,
    PENDING,
    STATUSES,
    SUCCEEDED,
)
from zodbjobs.stored.agents import Agent
from zodbjobs.stored.job import Job
from zodbjobs.stored.lifecycle import after, completion, control, followers, keys, pausing
from zodbjobs.stored.lifecycle.calls import describe
from zodbjobs.stored.lifecycle.raw import state_of
from zodbjobs.stored.lifecycle.root import get_queues
from zodbjobs.stored.lifecycle.unreadable import why_unreadable
from zodbjobs.stored.queue import Queue

#: What jobs can be filtered by, beside their outcome. The last five are kinds of PENDING.
STATUS_WORDS = (*STATUSES, WAITING, SCHEDULED, PARKED, BLOCKED, PAUSED)

# Jobs that are looked at between two times that the connection forgets them.
_FORGET_AFTER = 1_000


def job_info(job: Job) -> JobInfo:
    """The row of one job. Reads its record, and what runs of the worker that has it."""
    return JobInfo(**_row(job))


def job_details(job: Job) -> JobDetails:
    """All about one job."""
    row = _row(job)
    if unreadable_reason(job):
        return JobDetails(**row)
    holder = None if job.queue is None else completion.holder_of(job.queue, job)
    arguments = [show(value, MOST_ARGUMENT) for value in job.args]
    arguments += [f"{n}={show(value, MOST_ARGUMENT)}" for n, value in job.kwargs.items()]
    return JobDetails(
        **row,
        arguments=tuple(arguments),
        begin_by=None if job.begin_by is None else job.begin_by.total_seconds(),
        timeout=None if job.timeout is None else job.timeout.total_seconds(),
        worker=completion.ended_by(job) if holder is None else holder.id,
        result=None if job.failure or job.result is None else show(job.result, MOST_RESULT),
        result_file=_file_of(job.result),
        traceback=None if job.failure is None else job.failure.render(),
        log=job.log_lines,
        annotations=dict(job.annotations),
        conflicts=job.conflicts,
        retry_policy=None if job.retry_policy is None else show(job.retry_policy, MOST_ARGUMENT),
        past_attempts=tuple(
            AttemptInfo(
                past.started,
                past.finished,
                past.worker,
                past.outcome,
                None if past.failure is None else str(past.failure),
            )
            for past in job.past_attempts
        ),
        waits_for=tuple(str(before.id) for before in after.blockers(job)[:MOST_BLOCKERS]),
        quota_names=job.quota_names,
        limited_by=_limited_by(job),
        unique=job.unique,
        callbacks=tuple(str(callback.id) for callback in followers.direct(job)),
    )


def find_job(place: Any, job_id: str) -> Job | None:
    """The job with that decimal id in whichever queue, or None.

    One that can't be loaded in this process comes too: `job_info`, `job_details` and
    ``queue.remove`` take it.
    """
    queues = get_queues(place)
    try:
        found = queues._p_jar.get(p64(int(job_id)))
    except (POSKeyError, ValueError):
        return None
    if not isinstance(found, Job | Broken):
        return None
    shard = completion.shard_of(found)
    if shard is None or shard.queue not in queues.values():
        return None
    if unreadable_reason(found) or found.queue is not None or control.is_undone(found):
        job: Job = found
        return job
    return None


class JobList(list[JobInfo]):
    """Rows of jobs, the newest first.

    `looked_back_to`: all jobs from this time on were looked at, and there are older ones; to go
    on, give it as `until`. Jobs of that very microsecond may come again. None: that was all.
    """

    looked_back_to: datetime | None = None


def list_jobs(
    place: Any,
    *,
    status: str | None = None,
    outcome: str | None = None,
    queue: str | None = None,
    worker: str | None = None,
    agent: Agent | None = None,
    callable: str | None = None,
    since: datetime | None = None,
    until: datetime | None = None,
    limit: int = 50,
    seconds: float = defaults.LOOK_SECONDS,
) -> JobList:
    """Up to `limit` jobs, the newest first.

    A job's time is that of its end, else of its put, or when it is due if it was put for
    later; of jobs for now that were put in one transaction, the first one's put. `status`:
    pending, assigned, active, callbacks, completed, or a kind of pending: waiting, scheduled,
    parked, blocked, paused. `outcome`: one of OUTCOMES. `queue`: a name. `worker`: an id, or its
    first characters, of who holds the jobs, or has ended them: that is stored of those that ended
    without success or had several attempts. `agent`: a stored one; what waits and it would take,
    and of what its worker holds or has ended, the same. It calls its filter in this process,
    and raises what that raises, or MissingCode. `callable`: a glob for the description, such as
    ``*:export_*``. `since`, `until`: aware datetimes; from the one until just before the other.

    Raises BadArgument for other words, and for filters that contradict each other; UnknownQueue.

    Reads from the newest on and stops at the limit, however many there are. Once it has looked
    for `seconds` it stops at the first job that isn't wanted: `looked_back_to` of the list tells
    how far it came.
    """
    _check(status, STATUS_WORDS, "status")
    _check(outcome, OUTCOMES, "outcome")
    search = _Search(status, outcome, queue, worker, agent, callable, since, until)
    start = clock.monotonic()
    queues = get_queues(place)
    chosen = search.choose(queues.values() if queue is None else [queues[queue]])
    listed = JobList()
    is_late = False
    for number, (micros, job) in enumerate(search.walk(chosen), 1):
        if is_late or len(listed) >= limit:
            listed.looked_back_to = clock.to_datetime(micros + 1)
            break
        connection = job._p_jar
        row = search.row(job)
        if row is not None:
            listed.append(row)
        else:
            is_late = clock.monotonic() - start >= seconds
        if number % _FORGET_AFTER == 0 and connection is not None:
            connection.cacheGC()
    return listed


@dataclasses.dataclass
class _Search:
    """What jobs are wanted. Raises BadArgument if there can't be any such."""

    status: str | None
    outcome: str | None
    queue: str | None
    worker: str | None
    agent: Agent | None
    pattern: str | None
    since: datetime | None
    until: datetime | None

    def __post_init__(self) -> None:
        self.span = Span(
            0 if self.since is None else _micros("since", self.since),
            keys.LAST_MICROS if self.until is None else _micros("until", self.until),
        )
        for is_wrong, what in self._contradictions():
            if is_wrong:
                raise BadArgument(
                    f"there can't be any such jobs: {what}; leave one of the two out"
                )
        if self.agent is not None and self.agent.worker is None:
            raise BadArgument(
                f"{self.agent!r} is of no worker; stored_agents of zodbjobs.insights lists those "
                "that are"
            )
        self._holder = self.worker or (None if self.agent is None else self.agent.worker)

    def _contradictions(self) -> Iterator[tuple[bool, str]]:
        status, agent = self.status, self.agent
        yield (
            self.outcome is not None and status not in (None, CALLBACKS, COMPLETED),
            f"one that is {status} has no outcome, so none is {self.outcome}",
        )
        yield (
            self.worker is not None and status not in (None, *WITH_WORKER),
            f"no worker has one that is {status}",
        )
        yield (
            self.span.since >= self.span.until,
            f"since={self.since} isn't before until={self.until}",
        )
        if agent is not None:
            yield (
                self.worker is not None and not (agent.worker or "").startswith(self.worker),
                f"{agent!r} is of worker {agent.worker}, not of {self.worker}",
            )
            names = agent.queues
            yield (
                self.queue is not None and names is not None and self.queue not in names,
                f"{agent!r} takes none of queue {self.queue!r}",
            )

    def choose(self, queues: Iterable[Queue]) -> list[Queue]:
        """Those of the queues that may have such jobs."""
        names = None if self.agent is None else self.agent.queues
        return [queue for queue in queues if names is None or queue.name in names]

    def walk(self, queues: Iterable[Queue]) -> Iterator[tuple[int, Job]]:
        """The jobs that may be wanted, each with its microseconds, the newest first."""
        waiting_too = self.outcome is None and self.worker is None
        found = newest(
            queues, self.status, self.span, worker=self._holder, waiting_too=waiting_too
        )
        return (placed for placed in found if self.span.has(placed[0]))

    def row(self, job: Job) -> JobInfo | None:
        """The row of a job if it is wanted."""
        if unreadable_reason(job) is None and not self._may_be(job):
            return None
        info = job_info(job)
        is_it = (
            (self.status is None or self.status in (info.status, info.state))
            and (self.outcome is None or self.outcome == info.outcome)
            and self._matches(info.description)
        )
        return info if is_it else None

    def _may_be(self, job: Job) -> bool:
        """Whether a job passes the filters that are cheaper to ask than its row."""
        if not self._matches(job.description):
            return False
        outcome = job.outcome
        if self.outcome is not None and outcome != self.outcome:
            return False
        if self._holder is not None and outcome is not None:
            ended_by = completion.ended_by(job)
            if ended_by is None or not ended_by.startswith(self._holder):
                return False
        return self.agent is None or self.agent.accepts(job)

    def _matches(self, description: str) -> bool:
        return self.pattern is None or fnmatch.fnmatchcase(description, self.pattern)


def _micros(name: str, moment: datetime) -> int:
    if not isinstance(moment, datetime) or moment.utcoffset() is None:
        raise BadArgument(
            f"{name} must be an aware datetime, not {moment!r}; write datetime(..., tzinfo=UTC)"
        )
    return min(max(clock.to_micros(moment), 0), keys.LAST_MICROS)


def _check(word: str | None, words: tuple[str, ...], what: str) -> None:
    if word is not None and word not in words:
        raise BadArgument(f"unknown {what} {word!r}; use one of {', '.join(words)}")


def _row(job: Job) -> dict[str, Any]:
    why = unreadable_reason(job)
    if why:
        return _unreadable(job, why)
    status = job.status
    queue = job.queue
    started, finished, percent = job.started, job.finished, job.progress
    return {
        "id": job.id,
        "queue": "" if queue is None else queue.name,
        "description": job.description,
        "kind": type(job).__name__,
        "state": _state(job, status),
        "status": status,
        "outcome": job.outcome,
        "parked": job.parked,
        "percent": percent.percent,
        "message": percent.message,
        "priority": job.priority,
        "created": job.created,
        "begin_after": job.begin_after,
        "started": started,
        "finished": finished,
        "seconds": _seconds(started, finished),
        "attempts": job.attempts,
        "interruptions": job.interruptions,
        "failure": None if job.failure is None else str(job.failure),
    }


def unreadable_reason(job: Any) -> str | None:
    """Why a job can't be loaded in this process; None if it can."""
    try:
        job._p_activate()
    except POSKeyError:
        return "its record is lost; restore it from a backup"
    except (Exception, SystemExit) as error:
        why = why_unreadable(error)
        if why is None:
            raise
        return f"it can't be loaded in this process: {why!r}"
    if isinstance(job, Broken):
        kind = type(job)
        return f"the class {kind.__module__}.{kind.__name__} is missing in this process"
    return None


def _unreadable(job: Any, why: str) -> dict[str, Any]:
    """The row of a job that can't be loaded here: what its record tells without its class."""
    state = state_of(job)
    shard = completion.shard_of(job)
    stored = state.get("_call")
    ended = completion.completion_of(job) is not None
    outcome = state.get("_unsuccessful", SUCCEEDED) if ended else None
    return {
        "id": str(u64(job._p_oid)),
        "queue": "" if shard is None else shard.queue.name,
        "description": "?" if stored is None else describe(stored),
        "kind": type(job).__name__,
        "state": outcome or PARKED,
        "status": COMPLETED if ended else PENDING,
        "outcome": outcome,
        "parked": why,
    }


def _state(job: Job, status: str) -> str:
    if status == ACTIVE and after.waits_for(job):
        return WAITING
    if status != PENDING:
        return job.outcome or status
    if job.parked is not None:
        return PARKED
    if after.is_blocked(job) or _limited_by(job) is not None:
        return BLOCKED
    if pausing.is_held(job):
        return PAUSED
    due = job.due
    return SCHEDULED if due is not None and due > clock.to_datetime(clock.now()) else WAITING


def _limited_by(job: Job) -> str | None:
    """The name of the quota of which a job waits for a slot."""
    shard = completion.shard_of(job) if job.quota_names else None
    return None if shard is None else shard.limiting(completion.key_of(job), job)


def _seconds(started: datetime | None, finished: datetime | None) -> float | None:
    if started is None:
        return None
    end = finished or clock.to_datetime(clock.now())
    return max(0.0, (end - started).total_seconds())


def _file_of(value: object) -> str | None:
    if not isinstance(value, Blob) or value._p_oid is None:
        return None
    try:
        path: str = value.committed()
    except Exception:  # no blobs here, or nothing in it: then there is no file to name
        return None
    return path
