"""Deeds to schedules, in the caller's transaction, with their audit.

Each function takes a `place`, a connection or any object stored in the database; joins the
transaction of that connection, and never commits. `by` is the id of who does it, None for code
that doesn't say, and `why` a reason in words. Each raises UnknownSchedule for a name that isn't
there, NotStored and NotInstalled as `get_queues`, and a conflict at the commit if a worker fires
the schedule meanwhile.
"""

from __future__ import annotations

from typing import Any

from zodbjobs import defaults
from zodbjobs.stored.audit import Record
from zodbjobs.stored.job import Job
from zodbjobs.stored.lifecycle import auditing
from zodbjobs.stored.lifecycle.root import get_queues
from zodbjobs.stored.schedule import Schedule

__all__ = [
    "create_schedule",
    "edit_schedule",
    "pause_schedule",
    "remove_schedule",
    "resume_schedule",
    "run_schedule",
]


def create_schedule(
    place: Any,
    name: str,
    *what: Any,
    by: str | None = None,
    why: str | None = None,
    **options: Any,
) -> Schedule:
    """Make a schedule; `what` and the options are those of ISchedules.create, and so is what it
    raises.
    """
    auditing.check(by, why)
    made = get_queues(place).schedules.create(name, *what, **options)
    _note(place, "create schedule", made, by, why, [f"{made.when} {made.zone}"])
    return made


def edit_schedule(
    place: Any,
    name: str,
    *what: Any,
    by: str | None = None,
    why: str | None = None,
    **changes: Any,
) -> Schedule:
    """Change what is given of a schedule; see ISchedule.edit."""
    auditing.check(by, why)
    schedule = get_queues(place).schedules[name]
    before = schedule.when
    schedule.edit(*what, **changes)
    details = [f"{before} to {schedule.when}"] if schedule.when != before else []
    details += ["job"] if any(not isinstance(each, str) for each in what) else []
    details += [each for each in changes if each not in ("every", "at", "start")]
    _note(place, "edit schedule", schedule, by, why, details)
    return schedule


def pause_schedule(place: Any, name: str, reason: str, by: str | None = None) -> None:
    """Let a schedule not fire until it is resumed; BadArgument without a reason."""
    auditing.check(by, None)
    schedule = get_queues(place).schedules[name]
    schedule.pause(reason, by)
    _note(place, "pause schedule", schedule, by, reason)


def resume_schedule(place: Any, name: str, by: str | None = None, why: str | None = None) -> bool:
    """Let a schedule fire again; whether it was paused."""
    auditing.check(by, why)
    schedule = get_queues(place).schedules[name]
    was_paused = schedule.resume()
    if was_paused:
        _note(place, "resume schedule", schedule, by, why)
    return was_paused


def run_schedule(place: Any, name: str, by: str | None = None, why: str | None = None) -> Job:
    """Put a job of a schedule now, and return it."""
    auditing.check(by, why)
    schedule = get_queues(place).schedules[name]
    job = schedule.run()
    _note(place, "run schedule", schedule, by, why, job_ids=(int(job.id or 0),))
    return job


def remove_schedule(place: Any, name: str, by: str | None = None, why: str | None = None) -> None:
    """Take a schedule out; the jobs that it has put stay."""
    auditing.check(by, why)
    schedule = get_queues(place).schedules[name]
    schedule.remove()
    _note(place, "remove schedule", schedule, by, why)


def _note(
    place: Any,
    action: str,
    schedule: Schedule,
    by: str | None,
    why: str | None,
    details: list[str] | None = None,
    job_ids: tuple[int, ...] = (),
) -> None:
    said = why and why[: defaults.TITLE_CHARACTERS]
    detail = ": ".join([schedule.name, *([", ".join(details)] if details else [])])
    record = Record(action, by, said, schedule.queue, job_ids, schedule.realm, detail)
    auditing.note(get_queues(place), record)
