"""Schedules: what is planned, and how the last runs went."""

from __future__ import annotations

import dataclasses
from datetime import datetime, timedelta
from typing import Any

from zodbjobs import clock
from zodbjobs.errors import MissingCode
from zodbjobs.insights.infos import Info
from zodbjobs.insights.jobs import find_job, job_info, unreadable_reason
from zodbjobs.stored.lifecycle import declaring
from zodbjobs.stored.lifecycle.calls import describe
from zodbjobs.stored.lifecycle.raw import state_of
from zodbjobs.stored.lifecycle.root import get_queues
from zodbjobs.stored.queues import Queues
from zodbjobs.stored.schedule import Run, Schedule
from zodbjobs.times import zones

#: Planned times that the details of a schedule tell.
_UPCOMING = 10


@dataclasses.dataclass(frozen=True)
class RunInfo(Info):
    """A run of a schedule. `state`: that of its job as of JobInfo, or removed, or gone with the
    history. `lateness`: how long after its planned time the job was put.
    """

    job_id: str
    planned: datetime
    fired: datetime
    lateness: timedelta
    state: str


@dataclasses.dataclass(frozen=True)
class ScheduleInfo(Info):
    """A schedule as a row of a table. Times are aware UTC datetimes.

    `state`: active, paused, ended (no time comes any more) or undeclared (no living worker
    declares it). `lateness`: how long `next` is over already; zero if it is to come. `calls`: what
    its jobs call. `last`: its last run. `unreadable`: what it lacks to fire in this process, its
    code or its zone; None for nothing.
    """

    name: str
    state: str
    when: str
    words: str
    zone: str
    queue: str
    calls: str
    title: str | None
    owner: str | None
    realm: str | None
    next: datetime | None
    lateness: timedelta
    paused: str | None
    paused_by: str | None
    paused_since: datetime | None
    declared: bool
    fired: int
    last: RunInfo | None
    unreadable: str | None


@dataclasses.dataclass(frozen=True)
class ScheduleDetails(ScheduleInfo):
    """All of a schedule. `upcoming`: the next ten planned times, also of a paused one; `runs`: the
    last 20, the newest first; `left_out`: pairs of a planned time and why no job was put.
    """

    catch_up: str
    window: timedelta | None
    overlap: str
    jitter: timedelta
    pause_after_failures: int | None
    upcoming: tuple[datetime, ...]
    runs: tuple[RunInfo, ...]
    left_out: tuple[tuple[datetime, str], ...]


def list_schedules(place: Any, realm: str | None = None) -> list[ScheduleInfo]:
    """All schedules by name, or those of a realm. Loads each, and the job of its last run."""
    queues = get_queues(place)
    living = declaring.names_of_living(queues)
    return [
        ScheduleInfo(**_fields(queues, schedule, living))
        for schedule in queues.schedules.values()
        if realm is None or schedule.realm == realm
    ]


def schedule_details(place: Any, name: str) -> ScheduleDetails:
    """All of one schedule, with the jobs of its last runs; raises UnknownSchedule."""
    queues = get_queues(place)
    schedule = queues.schedules[name]
    return ScheduleDetails(
        **_fields(queues, schedule, declaring.names_of_living(queues)),
        catch_up=schedule.catch_up,
        window=schedule.window,
        overlap=schedule.overlap,
        jitter=schedule.jitter,
        pause_after_failures=schedule.pause_after_failures,
        upcoming=tuple(schedule.upcoming(_UPCOMING)) if _lacks_zone(schedule) is None else (),
        runs=tuple(_run_info(queues, run) for run in schedule.runs),
        left_out=tuple((each.planned, each.why) for each in schedule.left_out),
    )


def schedule_lateness(place: Any) -> timedelta:
    """How long the schedule is due that has been due for longest; zero if none is.

    Reads one key of an index.
    """
    now = clock.now()
    first = next(get_queues(place).schedules.due_until(now), None)
    return timedelta(microseconds=0 if first is None else now - first[0])


def _fields(queues: Queues, schedule: Schedule, living: set[str]) -> dict[str, Any]:
    runs = schedule.runs
    why = unreadable_reason(schedule.job)
    call = state_of(schedule.job).get("_call")
    late = timedelta(0)
    if schedule.next is not None and not schedule.is_aside:
        late = max(late, clock.to_datetime(clock.now()) - schedule.next)
    return {
        "name": schedule.name,
        "state": _state(schedule, living),
        "when": schedule.when,
        "words": schedule.words,
        "zone": schedule.zone,
        "queue": schedule.queue,
        "calls": "?" if call is None else describe(call),
        "title": _label(schedule, "_title"),
        "owner": _label(schedule, "_owner"),
        "realm": schedule.realm,
        "next": schedule.next,
        "lateness": late,
        "paused": schedule.paused,
        "paused_by": schedule.paused_by,
        "paused_since": schedule.paused_since,
        "declared": schedule.declared,
        "fired": schedule.fired,
        "last": _run_info(queues, runs[0]) if runs else None,
        "unreadable": _lacks_zone(schedule) if why is None else f"its job: {why}",
    }


def _lacks_zone(schedule: Schedule) -> str | None:
    """Why its times can't be told in this process, or None."""
    try:
        zones.zone(schedule.zone)
    except MissingCode as error:
        return str(error)
    return None


def _label(schedule: Schedule, name: str) -> str | None:
    found: str | None = state_of(schedule.job).get(name)
    return found


def _state(schedule: Schedule, living: set[str]) -> str:
    if schedule.declared and schedule.name not in living:
        return "undeclared"
    if schedule.paused is not None:
        return "paused"
    return "ended" if schedule.next is None else "active"


def _run_info(queues: Queues, run: Run) -> RunInfo:
    job = find_job(queues, run.job_id)
    state = run.outcome or "gone"
    if job is not None:
        state = job_info(job).state
    return RunInfo(run.job_id, run.planned, run.fired, run.lateness, state)
