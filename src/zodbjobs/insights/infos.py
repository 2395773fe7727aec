"""The values that insights are given in."""

from __future__ import annotations

import dataclasses
import math
from datetime import datetime, timedelta
from typing import Any

from ZODB.blob import Blob

from zodbjobs.redaction import Redactor

#: Characters of a result, and of an argument, that are shown.
MOST_RESULT = 10_000
MOST_ARGUMENT = 200

#: Jobs that a blocked one waits for, and of a tree, that are shown.
MOST_BLOCKERS = 20


@dataclasses.dataclass(frozen=True)
class Info:
    """Base of what this package returns."""

    def as_json(self) -> dict[str, Any]:
        """The same as values that ``json.dumps`` takes: times as ISO 8601, else text."""
        return {f.name: _plain(getattr(self, f.name)) for f in dataclasses.fields(self)}


@dataclasses.dataclass(frozen=True)
class JobInfo(Info):
    """A job as a row of a table, without secrets. Times are aware UTC datetimes, `seconds` of its
    last run.

    `state` is one word for people: scheduled, waiting, blocked (it waits for other jobs,
    or for a slot of a quota), paused (put aside by a pause of such jobs), assigned, active,
    parked, or the outcome. `about`: what the object is that it is about, and its id, a text;
    `about_id`: the name of that one's database, a slash, and its decimal object id.
    """

    id: str
    queue: str
    description: str
    kind: str
    state: str
    status: str
    outcome: str | None = None
    parked: str | None = None
    percent: float | None = None
    message: str | None = None
    priority: int = 0
    created: datetime | None = None
    begin_after: datetime | None = None
    started: datetime | None = None
    finished: datetime | None = None
    seconds: float | None = None
    attempts: int = 0
    interruptions: int = 0
    failure: str | None = None
    owner: str | None = None
    title: str | None = None
    realm: str | None = None
    about: str | None = None
    about_id: str | None = None


@dataclasses.dataclass(frozen=True)
class AttemptInfo(Info):
    """An attempt of a job that is over; see Job.past_attempts. `failure` as a text."""

    started: datetime | None
    finished: datetime
    worker: str | None
    outcome: str
    failure: str | None


@dataclasses.dataclass(frozen=True)
class FileInfo(Info):
    """A file that a job has left; `size` in bytes."""

    name: str
    content_type: str
    size: int


@dataclasses.dataclass(frozen=True)
class JobDeed(Info):
    """What somebody did to a job; `by` and `why` are None where nobody said."""

    when: datetime
    by: str | None
    action: str
    why: str | None


@dataclasses.dataclass(frozen=True)
class AuditEntry(Info):
    """A deed of the audit trail: who did what to which jobs, or to which queue, when and why.

    `queue`: its name, or None. `job_ids`: of the jobs, none for a deed on a queue or an agent.
    `detail`: what was changed, as text. `realm`: of the jobs.
    """

    when: datetime
    by: str | None
    action: str
    why: str | None
    queue: str | None
    job_ids: tuple[str, ...]
    detail: str | None
    realm: str | None


@dataclasses.dataclass(frozen=True)
class JobDetails(JobInfo):
    """All that there is to know of a job, and may be shown; `arguments` and `result` as text,
    shortened.

    `result_file`: where the data of a result that is a blob lies on this machine.
    `retry_policy`: its repr, shortened. `limited_by`: the quota of which it waits for a slot.
    `attachments`: the files that it has left.
    """

    arguments: tuple[str, ...] = ()
    begin_by: float | None = None
    timeout: float | None = None
    worker: str | None = None
    result: str | None = None
    result_file: str | None = None
    traceback: str | None = None
    log: tuple[str, ...] = ()
    annotations: dict[str, Any] = dataclasses.field(default_factory=dict)
    conflicts: int = 0
    retry_policy: str | None = None
    past_attempts: tuple[AttemptInfo, ...] = ()
    #: Ids of the first jobs that it still waits for, and of its callbacks.
    waits_for: tuple[str, ...] = ()
    callbacks: tuple[str, ...] = ()
    quota_names: tuple[str, ...] = ()
    limited_by: str | None = None
    unique: str | None = None
    attachments: tuple[FileInfo, ...] = ()
    #: The last that was done to it by people, the oldest first.
    deeds: tuple[JobDeed, ...] = ()


@dataclasses.dataclass(frozen=True)
class Minute(Info):
    """What ended in one minute: how many, how many without success, seconds of work."""

    start: datetime
    finished: int
    failed: int
    seconds: float


@dataclasses.dataclass(frozen=True)
class Times(Info):
    """How long jobs took, or waited, in seconds: half of them up to `p50`, 95 in 100 up to `p95`.

    These two are from classes, and at most 19 % from what was; `min` and `max` are exact.
    """

    p50: float
    p95: float
    max: float
    min: float


@dataclasses.dataclass(frozen=True)
class PauseInfo(Info):
    """A pause of a queue: why, since when (UTC), and how many jobs lie in it.

    `match`: the glob for what is paused, None for all jobs of the queue.
    """

    reason: str
    match: str | None
    since: datetime
    jobs: int | None


@dataclasses.dataclass(frozen=True)
class QueueStats(Info):
    """How many jobs of a queue are where. `finished`: those in the history; `unsuccessful`: those
    of them that ended without success.

    `chart`: the last minutes in which something ended, the oldest first. `paused`: those that lie
    in `pauses`. `draining`: why it takes no new jobs, or None.

    `next_due`: when the first scheduled job is due. `last_ended`: when the last one of the
    history ended. `oldest_waiting`: since when the oldest waits of those that are due.
    `waiting_time`: from when a job was due, or put, to the begin of its last attempt. `duration`:
    of that attempt. These two are of the jobs that ended in the minutes of the chart, or up to
    ten minutes before, but not of those that were never begun; None if there are none.

    `not_looked_at`: how many jobs workers hold, of whichever queue, that aren't counted as
    assigned or active, as at most LEASED_LOOKS are looked at where there is more than one queue.
    """

    name: str
    waiting: int
    scheduled: int
    blocked: int
    parked: int
    assigned: int
    active: int
    finished: int
    chart: tuple[Minute, ...]
    paused: int = 0
    pauses: tuple[PauseInfo, ...] = ()
    draining: str | None = None
    next_due: datetime | None = None
    last_ended: datetime | None = None
    oldest_waiting: datetime | None = None
    waiting_time: Times | None = None
    duration: Times | None = None
    not_looked_at: int = 0
    unsuccessful: int = 0


@dataclasses.dataclass(frozen=True)
class WorkerInfo(Info):
    """A worker as its record shows it; `gone` if its process is known to have ended.

    `stuck`: how many of its threads don't return from a job that has timed out. `last_written`:
    when its record was, by the clock of the storage: at its last heartbeat, or its last change.
    `state`: gone; silent (it has missed its heartbeats, and others may take it for dead); stuck
    (it has stuck threads); else running. `version`: of zodbjobs that it runs; None for one that
    didn't tell yet.
    """

    id: str
    host: str
    pid: int
    threads: int
    started: datetime
    heartbeat: int
    assigned: int
    active: int
    gone: bool
    stuck: int = 0
    last_written: datetime | None = None
    state: str = "running"
    version: str | None = None


def show(
    value: object, most: int, redactor: Redactor | None = None, name: str | None = None
) -> str:
    """The repr of what may be shown of `value`, up to `most` characters of it; never raises.

    `redactor`: that of the job that has it under `name`.
    """
    if isinstance(value, Blob):
        return "a blob"
    return (redactor or Redactor()).show(value, most, name)


def _plain(value: object) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)  # JSON has no word for it
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, timedelta):
        return value.total_seconds()
    if isinstance(value, Info):
        return value.as_json()
    if isinstance(value, dict):
        return {str(name): _plain(part) for name, part in value.items()}
    if isinstance(value, tuple | list | frozenset):
        return [_plain(part) for part in value]
    return show(value, MOST_ARGUMENT)
