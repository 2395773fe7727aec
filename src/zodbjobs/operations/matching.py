"""An action on all jobs that match, as a job of its own: with a bar, and bounded transactions."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from datetime import datetime
from typing import Any

import transaction

from zodbjobs import clock, defaults
from zodbjobs.errors import BadArgument
from zodbjobs.insights import list_jobs
from zodbjobs.insights.newest import BLOCKED, PAUSED, SCHEDULED
from zodbjobs.insights.search import micros_of
from zodbjobs.operations import deeds
from zodbjobs.operations.committing import act
from zodbjobs.runtime import local
from zodbjobs.stored.audit import Record
from zodbjobs.stored.job import Job, ProgressableJob
from zodbjobs.stored.lifecycle import auditing, keys
from zodbjobs.stored.lifecycle.root import connection_of, get_queue, get_queues

#: Statuses of jobs whose time may be to come: what is put for later has that of when it is due.
MAY_BE_LATER = (SCHEDULED, BLOCKED, PAUSED)

# Reasons for a refusal that the result tells, each with how often it came.
_MOST_REASONS = 10


def act_on_matching(
    place: Any,
    action: str,
    filters: dict[str, Any],
    *,
    expected: int | None = None,
    by: str | None = None,
    why: str | None = None,
    queue: str = defaults.QUEUE_NAME,
) -> Job:
    """Put a job into `queue` that does one of `deeds.ACTIONS` to all jobs that `filters` find;
    return it.

    `filters` are those of `zodbjobs.insights.list_jobs`; what comes to match after now isn't
    touched, unless it is for what is scheduled, blocked or paused, of which the time may be to
    come. `expected`: how many there are, where that is known, for its bar. Its result is a
    dict: `done`, `refused`, and the `reasons` of these. Joins the transaction of `place`. Raises
    BadArgument for another action, and for filters that can't be.

    The job commits a batch of jobs at a time in transactions of its own, with the audit of each.
    To cancel it leaves what it has done. If its worker dies it begins anew, and finds those that
    are left.
    """
    if action not in deeds.ACTIONS:
        raise BadArgument(f"unknown action {action!r}; use one of {', '.join(deeds.ACTIONS)}")
    auditing.check(by, why)
    _check(filters)
    until = filters.get("until") or clock.to_datetime(keys.LAST_MICROS)
    if filters.get("status") not in MAY_BE_LATER:
        until = min(until, clock.to_datetime(clock.now()))
    filters = {**filters, "until": until}
    list_jobs(place, **filters, limit=1)  # raises for what can't be
    job = ProgressableJob(run, action, filters, expected, why)
    title, realm = f"{action.capitalize()} all jobs that match", filters.get("realm")
    get_queue(place, queue).put(job, owner=by, title=title, realm=realm)
    shown = ", ".join(f"{name} {_shown(value)}" for name, value in filters.items())
    record = Record(
        f"{action} all that match", by, why, queue, realm=realm, detail=f"job {job.id}: {shown}"
    )
    auditing.note(get_queues(place), record)
    return job


_FILTERS = frozenset(
    {"status", "outcome", "queue", "worker", "agent", "callable", "owner", "about", "realm"}
    | {"text", "since", "until"}
)


def _check(filters: dict[str, Any]) -> None:
    unknown = sorted(filters.keys() - _FILTERS)
    if unknown:
        raise BadArgument(f"there are no filters {', '.join(unknown)}; use {sorted(_FILTERS)}")
    if filters.get("until") is not None:
        micros_of("until", filters["until"])


def _shown(value: Any) -> str:
    return value.isoformat() if isinstance(value, datetime) else str(value)


def run(
    action: str, filters: dict[str, Any], expected: int | None, why: str | None
) -> dict[str, Any]:
    """What such a job does, as its owner.

    Raises Cancelled when the job was taken away; what it did stays.
    """
    job, database = local.get_job(), connection_of(local.get_queue()).db()
    by, done, reasons = job.owner, 0, Counter[str]()
    for ids in _found(database, filters):
        local.check()
        for result in act(database, action, (i for i in ids if i != job.id), by=by, why=why):
            if result.refused is None:
                done += 1
            else:
                reasons[result.refused] += 1
        seen = done + reasons.total()
        if expected:
            percent = min(99.0, 100.0 * seen / expected)
            local.set_progress(percent, f"{seen:,} of {expected:,}")
        else:
            local.set_progress(0.0, f"{seen:,}")
    return {
        "done": done,
        "refused": reasons.total(),
        "reasons": dict(reasons.most_common(_MOST_REASONS)),
    }


def _found(database: Any, filters: dict[str, Any]) -> Iterator[list[str]]:
    """The ids of the jobs that match, in batches, the newest first; each once.

    Each batch is read in a transaction of its own, for what was done to the last one changes what
    there is.
    """
    manager = transaction.TransactionManager()
    connection = database.open(manager)
    until, most = filters["until"], defaults.OPERATION_BATCH
    before: set[str] = set()
    try:
        while until is not None:
            manager.begin()
            listed = list_jobs(connection, **{**filters, "until": until}, limit=most)
            ids = [info.id for info in listed]
            if new := [job_id for job_id in ids if job_id not in before]:
                yield new
            if listed.looked_back_to == until and not new:
                most *= 2  # so many that can't be done are of one microsecond
            before, until = set(ids), listed.looked_back_to
    finally:
        manager.abort()
        connection.close()
