"""The jobs of zc.async, as their records tell them."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from zodbjobs.cli.zc_async.containers import Containers
from zodbjobs.cli.zc_async.records import Instance, Record, Reference
from zodbjobs.cli.zc_async.values import class_of, dotted, is_global, name_of, text, value_of

# How deep callbacks of callbacks, and parts of parts, are read.
_DEPTH = 20

# A job that was in a worker which died is called by another one, by the name of a method.
_RECOVERING = {
    "handleInterrupt": "interrupted",
    "resumeCallbacks": "callbacks",
    "fail": "expired",
}

# What a composition calls, and its kind.
_COMPOSITIONS = {
    "zc.async.job:_schedule_serial": "serial",
    "zc.async.job:_schedule_parallel": "parallel",
}

# Callbacks by which a part of a composition puts the next one.
_GO_ON = ("zc.async.job:_queue_next", "zc.async.job:_queue_all")

# The method, as a callback, by which a job gets the result of the one that it has returned.
_HAND_ON = "_callback"

_STATUSES = {0: "assigned", 1: "active", 2: "callbacks", 3: "completed"}


@dataclass(frozen=True)
class Callback:
    """A callback: one job, or one for each condition.

    The conditions: always, success, failure, or the name of a function. `later` are the
    callbacks of a pair, which go on from whichever of the two ran.
    """

    jobs: dict[str, OldJob]
    later: list[Callback] = field(default_factory=list)


@dataclass(frozen=True)
class Composition:
    """What a serial or a parallel is made of; `kind` is that word."""

    kind: str
    parts: list[OldJob]
    last: OldJob | None


@dataclass
class OldJob:
    """A job of zc.async. What can't be read of it is in `problems`.

    `part_of`: the id of the composition that puts it. `returned_by`: that of a job which has
    returned this one, and waits for its result; `returned` is the other way round.
    """

    id: str
    kind: str = ""
    root: Any = None
    method: str | None = None
    args: list[Any] = field(default_factory=list)
    kwargs: dict[Any, Any] = field(default_factory=dict)
    callbacks: list[Callback] = field(default_factory=list)
    status: int = 0
    begin_after: datetime | None = None
    begin_by: timedelta | None = None
    quota_names: tuple[str, ...] = ()
    retry_policy: str | None = None
    failure: str | None = None
    composition: Composition | None = None
    part_of: str | None = None
    returned_by: str | None = None
    returned: str | None = None
    site: Any = None
    user: str | None = None
    problems: list[str] = field(default_factory=list)

    @property
    def has_ended(self) -> bool:
        """Whether its own work is done, whatever its callbacks do."""
        return _STATUSES.get(self.status) in ("callbacks", "completed")

    @property
    def callable(self) -> str:
        """What it calls, as people write it."""
        if self.root is None:
            return "?"
        return text(self.root) if self.method is None else f"{text(self.root)}.{self.method}"

    @property
    def arguments(self) -> list[str]:
        """Its arguments as people write them."""
        return [text(arg) for arg in self.args] + [
            f"{name}={text(value)}" for name, value in self.kwargs.items()
        ]


def read_job(containers: Containers, reference: Any, depth: int = _DEPTH) -> OldJob:
    """The job that a reference leads to; never raises for what is wrong with its records."""
    inner = Containers(containers.records)
    job = OldJob(reference.id if isinstance(reference, Reference) else "?")
    job.kind = reference.name if isinstance(reference, Reference) else ""
    record = inner.record(reference)
    if record is not None:
        inner.tried(lambda: _read(inner, job, record, depth), None, f"job {job.id}")
    job.problems = inner.problems
    return job


def _read(containers: Containers, job: OldJob, record: Record, depth: int) -> None:
    _read_call(containers, job, record)
    _read_terms(job, record)
    result = record.get("_result")
    if isinstance(result, Reference) and _is_job(containers, result):
        job.returned = result.id
    if depth:
        found = _callbacks(containers, record.get("callbacks"), depth - 1)
        job.callbacks = [call for call in found if not _is_internal(containers, job, call)]
        job.composition = _composition(containers, job, depth - 1)


def recovering(containers: Containers, job: OldJob) -> tuple[OldJob, str] | None:
    """The job that `job` was made to recover, and that job's state; None for any other."""
    if job.method not in _RECOVERING or not isinstance(job.root, Reference):
        return None
    if not _is_job(containers, job.root):  # something else with a method of that name
        return None
    return read_job(containers, job.root), _RECOVERING[job.method]


def claimed_state(job: OldJob) -> str:
    """The state of a job that an agent has."""
    state = _STATUSES.get(job.status, "assigned")
    return "waiting" if state == "active" and job.returned else state


def _is_job(containers: Containers, reference: Reference) -> bool:
    record = Containers(containers.records).record(reference)
    return record is not None and "_callable_root" in (record.state or ())


def _is_internal(containers: Containers, job: OldJob, callback: Callback) -> bool:
    """Whether a callback is of zc.async itself; what it tells of the job is noted."""
    call = callback.jobs.get("always")
    if call is None:
        return False
    if is_global(call.root) and call.root.name in _GO_ON and call.args:
        job.part_of = call.args[0].id if isinstance(call.args[0], Reference) else "?"
        return True
    if call.method != _HAND_ON or not isinstance(call.root, Reference):
        return False
    outer = Containers(containers.records).record(call.root)
    if outer is None or "_callable_root" not in (outer.state or ()):
        return False
    kind = outer.get("_callable_root")
    if is_global(kind) and kind.name in _COMPOSITIONS:
        job.part_of = call.root.id
    else:
        job.returned_by = call.root.id
    return True


def _read_call(containers: Containers, job: OldJob, record: Record) -> None:
    job.kind = record.name
    job.root = value_of(record.get("_callable_root"))
    method = value_of(record.get("_callable_name"))
    job.method = None if method is None else str(method)
    args, kwargs = record.get("args"), record.get("kwargs")
    job.args = [value_of(arg) for arg in containers.sequence(args)] if args else []
    if kwargs:
        job.kwargs = {k: value_of(v) for k, v in containers.mapping(kwargs).items()}


def _read_terms(job: OldJob, record: Record) -> None:
    status = record.get("_status_id")
    job.status = status if isinstance(status, int) else _old_status(record)
    begin_after, begin_by = value_of(record.get("_begin_after")), value_of(record.get("_begin_by"))
    if isinstance(begin_after, datetime) and begin_after.tzinfo is not None:
        job.begin_after = begin_after
    if isinstance(begin_by, timedelta):
        job.begin_by = begin_by
    job.quota_names = tuple(map(str, value_of(record.get("_quota_names")) or ()))
    policy = value_of(record.get("retry_policy_factory"))
    job.retry_policy = None if policy is None else text(policy).strip("'")
    job.failure = _failure(record.get("_result"))
    # Those of zc.async.z3.Job, and of plone.app.async.job.Job.
    job.site = value_of(record.get("site") or record.get("portal_path"))
    people = value_of(record.get("participants")) or (value_of(record.get("user_id")),)
    job.user = ", ".join(str(name) for name in people if name) or None


def _old_status(record: Record) -> int:
    """The status as the first releases wrote it: a text that can be translated."""
    words = ["new", "active", "callback", "completed"]
    status = record.get("_status")
    message = status.args[0] if isinstance(status, Instance) and status.args else status
    word = str(value_of(message)).partition("-")[0]
    return words.index(word) if word in words else 0


def _failure(result: Any) -> str | None:
    """The exception of a stored failure, None for any other result."""
    if not isinstance(result, Instance) or not class_of(result).endswith(":Failure"):
        return None
    kind = result.state.get("type") if isinstance(result.state, dict) else None
    return dotted(name_of(kind)) if is_global(kind) else "unknown"


def _composition(containers: Containers, job: OldJob, depth: int) -> Composition | None:
    kind = _COMPOSITIONS.get(name_of(job.root)) if is_global(job.root) else None
    if kind is None:
        return None
    last = job.kwargs.get("postprocess")
    return Composition(
        kind,
        [read_job(containers, part, depth) for part in job.args],
        None if last is None else read_job(containers, last, depth),
    )


def _callbacks(containers: Containers, reference: Any, depth: int) -> list[Callback]:
    found = []
    for item in containers.zc_queue(reference) if reference else []:
        record = containers.record(item)
        if record is not None and "conditionals" in (record.state or ()):
            found.append(_pair(containers, record, depth))
        elif record is not None:
            found.append(Callback({"always": read_job(containers, item, depth)}))
    return found


def _pair(containers: Containers, record: Record, depth: int) -> Callback:
    jobs = {}
    if record.get("default") is not None:
        jobs["success"] = read_job(containers, record.get("default"), depth)
    for condition, job in containers.sequence(record.get("conditionals")):
        when = name_of(condition) if is_global(condition) else text(condition)
        when = "failure" if when == "zc.async.job:isFailure" else dotted(when)
        if job is not None:
            jobs[when] = read_job(containers, job, depth)
    return Callback(jobs, _callbacks(containers, record.get("callbacks"), depth))
