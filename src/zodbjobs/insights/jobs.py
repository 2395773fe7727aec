"""One job: its row, and all that there is to know of it."""

from __future__ import annotations

import math
from datetime import datetime
from typing import Any

from ZODB.blob import Blob
from ZODB.broken import Broken
from ZODB.POSException import POSKeyError
from ZODB.utils import p64, u64

from zodbjobs import clock
from zodbjobs.insights.infos import (
    MOST_ARGUMENT,
    MOST_BLOCKERS,
    MOST_RESULT,
    AttemptInfo,
    FileInfo,
    JobDeed,
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
)
from zodbjobs.insights.shown import redactor_of, shown_arguments
from zodbjobs.interfaces import (
    ACTIVE,
    COMPLETED,
    NEW,
    PENDING,
    SUCCEEDED,
)
from zodbjobs.redaction import Redactor
from zodbjobs.stored.failure import Failure
from zodbjobs.stored.job import Job
from zodbjobs.stored.lifecycle import (
    after,
    auditing,
    completion,
    control,
    followers,
    labels,
    pausing,
)
from zodbjobs.stored.lifecycle.attempts import PastAttempt
from zodbjobs.stored.lifecycle.calls import describe
from zodbjobs.stored.lifecycle.raw import state_of
from zodbjobs.stored.lifecycle.root import get_queues
from zodbjobs.stored.lifecycle.unreadable import why_unreadable
from zodbjobs.stored.sweep import Swept


def job_info(job: Job) -> JobInfo:
    """The row of one job. Reads its record, and what runs of the worker that has it."""
    return JobInfo(**_row(job))


def job_details(job: Job) -> JobDetails:
    """All about one job."""
    row = _row(job)
    if unreadable_reason(job):
        return JobDetails(**row)
    holder = None if job.queue is None else completion.holder_of(job.queue, job)
    hidden = redactor_of(job)
    return JobDetails(
        **row,
        arguments=shown_arguments(job, hidden),
        begin_by=None if job.begin_by is None else job.begin_by.total_seconds(),
        timeout=None if job.timeout is None else job.timeout.total_seconds(),
        worker=completion.ended_by(job) if holder is None else holder.id,
        result=_shown_result(job, hidden),
        result_file=_file_of(job.result),
        traceback=_shown_traceback(job.failure, hidden),
        log=tuple(hidden.text(line, "log") for line in job.log_lines),
        annotations={name: hidden.value(each, name) for name, each in job.annotations.items()},
        conflicts=job.conflicts,
        retry_policy=_shown_policy(job, hidden),
        past_attempts=tuple(_attempt(past, hidden) for past in job.past_attempts),
        waits_for=tuple(str(before.id) for before in after.blockers(job)[:MOST_BLOCKERS]),
        quota_names=job.quota_names,
        limited_by=_limited_by(job),
        unique=job.unique,
        callbacks=tuple(str(callback.id) for callback in followers.direct(job)),
        attachments=tuple(
            FileInfo(file.name, file.content_type, file.size) for file in job.attachments.values()
        ),
        deeds=tuple(_deed(deed, hidden) for deed in auditing.deeds_of(job)),
    )


def _shown_result(job: Job, hidden: Redactor) -> str | None:
    if job.failure or job.result is None:
        return None
    if isinstance(job.result, Swept):
        return job.result.in_words()
    return show(job.result, MOST_RESULT, hidden, "result")


def _shown_policy(job: Job, hidden: Redactor) -> str | None:
    return None if job.retry_policy is None else show(job.retry_policy, MOST_ARGUMENT, hidden)


def _shown_failure(failure: Failure | None, hidden: Redactor) -> str | None:
    return None if failure is None else hidden.text(str(failure), "failure")


def _shown_traceback(failure: Failure | None, hidden: Redactor) -> str | None:
    return None if failure is None else hidden.text(failure.render(), "traceback")


def _deed(deed: Any, hidden: Redactor) -> JobDeed:
    why = deed.why and hidden.text(deed.why, "why")
    return JobDeed(clock.to_datetime(deed.micros), deed.by, deed.action, why)


def _attempt(past: PastAttempt, hidden: Redactor) -> AttemptInfo:
    failure = _shown_failure(past.failure, hidden)
    return AttemptInfo(past.started, past.finished, past.worker, past.outcome, failure)


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
    job: Job = found
    if unreadable_reason(job):
        return job
    if job.queue is None:
        return job if control.is_undone(job) else None
    return None if completion.is_forgotten(job) else job


def _row(job: Job) -> dict[str, Any]:
    why = unreadable_reason(job)
    if why:
        return _unreadable(job, why)
    status, shard, hidden = job.status, completion.shard_of(job), redactor_of(job)
    queue = job.queue if status == NEW or shard is None else shard.queue
    started, finished, percent = job.started, job.finished, job.progress
    return {
        "id": job.id,
        "queue": "" if queue is None else queue.name,
        "description": job.description,
        "kind": type(job).__name__,
        "state": _state(job, status),
        "status": status,
        "outcome": job.outcome,
        "parked": job.parked and hidden.text(job.parked, "failure"),
        "percent": _percent(percent.percent),
        "message": _message(percent.message, hidden),
        "priority": job.priority,
        "created": job.created,
        "begin_after": job.begin_after,
        "started": started,
        "finished": finished,
        "seconds": _seconds(started, finished),
        "attempts": job.attempts,
        "interruptions": job.interruptions,
        "failure": _shown_failure(job.failure, hidden),
        **shown_labels(job, hidden),
        **_about(job, labels.about_of(job)),
    }


def _percent(value: object) -> float | None:
    """A percentage that is a number; it is an annotation, which may be anything."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return value if -math.inf < value < math.inf else None


def _message(value: object, hidden: Redactor) -> str | None:
    """The message, which may be anything too."""
    return str(hidden.value(value, "message")) if value else None


def shown_labels(job: Job, hidden: Redactor) -> dict[str, str | None]:
    """The labels of a job that are texts, by name, as they may be shown."""
    found = labels.texts(job)
    if found["title"] is not None:
        found["title"] = hidden.text(found["title"], "title")
    return found


def _about(job: Any, name: labels.AboutName | None) -> dict[str, str]:
    """What a job is about, which may be gone, or of a class that is missing here."""
    if name is None:
        return {}
    oid, database = name
    try:
        found = labels.find(job._p_jar, name)
        what = "something that is gone," if found is None else type(found).__name__
    except Exception as error:  # no page fails for what a job is about
        what = f"something that can't be loaded ({type(error).__name__}),"
    where = "" if database == job._p_jar.db().database_name else f" in {database!r}"
    return {"about": f"{what} {u64(oid)}{where}", "about_id": f"{database}/{u64(oid)}"}


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
        "owner": state.get("_owner"),
        "title": state.get("_title"),
        "realm": state.get("_realm"),
        **_about(job, state.get("_about")),
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
