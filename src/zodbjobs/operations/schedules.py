"""What people do to schedules, in transactions of their own; see `schedule_deeds`."""

from __future__ import annotations

from typing import Any

from zodbjobs.insights import ScheduleDetails, schedule_details
from zodbjobs.operations import schedule_deeds as deeds
from zodbjobs.operations.committing import commit


def create_schedule(
    db: Any,
    name: str,
    *what: Any,
    by: str | None = None,
    why: str | None = None,
    **options: Any,
) -> ScheduleDetails:
    """Make a schedule; see `schedule_deeds.create_schedule`. Commits."""

    def change(connection: Any) -> ScheduleDetails:
        deeds.create_schedule(connection, name, *what, by=by, why=why, **options)
        return schedule_details(connection, name)

    return commit(db, change)


def edit_schedule(
    db: Any,
    name: str,
    *what: Any,
    by: str | None = None,
    why: str | None = None,
    **changes: Any,
) -> ScheduleDetails:
    """Change a schedule; see `schedule_deeds.edit_schedule`. Commits."""

    def change(connection: Any) -> ScheduleDetails:
        deeds.edit_schedule(connection, name, *what, by=by, why=why, **changes)
        return schedule_details(connection, name)

    return commit(db, change)


def pause_schedule(db: Any, name: str, reason: str, *, by: str | None = None) -> None:
    """Let a schedule not fire until it is resumed. Commits; BadArgument without a reason."""
    commit(db, lambda connection: deeds.pause_schedule(connection, name, reason, by))


def resume_schedule(db: Any, name: str, *, by: str | None = None, why: str | None = None) -> bool:
    """Let a schedule fire again; whether it was paused. Commits."""
    return commit(db, lambda connection: deeds.resume_schedule(connection, name, by, why))


def run_schedule(db: Any, name: str, *, by: str | None = None, why: str | None = None) -> str:
    """Put a job of a schedule now; returns its id. Commits."""
    return commit(db, lambda connection: str(deeds.run_schedule(connection, name, by, why).id))


def remove_schedule(db: Any, name: str, *, by: str | None = None, why: str | None = None) -> None:
    """Take a schedule out; the jobs that it has put stay. Commits."""
    commit(db, lambda connection: deeds.remove_schedule(connection, name, by, why))
