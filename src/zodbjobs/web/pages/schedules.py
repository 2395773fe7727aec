"""The schedules: what is planned and how it went; and one of them, which can be changed."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

from zodbjobs.errors import UnknownSchedule, ZodbjobsError
from zodbjobs.insights import (
    RunInfo,
    ScheduleDetails,
    ScheduleInfo,
    list_schedules,
    schedule_details,
)
from zodbjobs.operations import schedule_deeds as deeds
from zodbjobs.web import filters, responses, sentences, words
from zodbjobs.web.language import message as _
from zodbjobs.web.responses import Response
from zodbjobs.web.visit import DONE, NotFound, Visit

_STATES = {
    "active": (_("active"), "good"),
    "paused": (_("paused"), "warning"),
    "ended": (_("ended"), "quiet"),
    "undeclared": (_("declared by no worker"), "warning"),
}

# Later than this people want to know it.
_LATE = timedelta(seconds=5)

_SPAN = re.compile(r"(\d{1,9})\s*([smhd])")
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


@dataclasses.dataclass(frozen=True)
class RunRow:
    """A run. `late`: how late its job was put, if that is worth a word; `path`: None once it is
    gone.
    """

    id: str
    path: str | None
    planned: datetime
    word: str
    look: str
    late: str | None


@dataclasses.dataclass(frozen=True)
class ScheduleRow:
    """A schedule in a list. `words`: its time in English words; `reason`: why it is paused;
    `unreadable`: what it lacks to fire here.
    """

    key: str
    name: str
    path: str
    word: str
    look: str
    reason: str | None
    unreadable: str | None
    when: str
    words: str
    zone: str
    calls: str
    title: str | None
    next: datetime | None
    last: RunRow | None


@dataclasses.dataclass(frozen=True)
class ScheduleShown:
    """All that the page of one schedule shows."""

    notice: str | None
    error: str | None
    row: ScheduleRow
    facts: tuple[tuple[str, str], ...]
    is_paused: bool
    upcoming: tuple[datetime, ...]
    runs: tuple[RunRow, ...]
    left_out: tuple[tuple[datetime, str], ...]
    may_change: bool


def schedules(visit: Visit) -> Response:
    """The page of all schedules."""
    rows = tuple(_row(visit, each) for each in list_schedules(visit.connection))
    shown = (visit.notice(), rows)
    return visit.page("schedules", visit.t("Schedules"), shown, live=sentences.WAITING)


def schedule(visit: Visit) -> Response:
    """The page of one schedule."""
    return _page(visit)


def _row(visit: Visit, info: ScheduleInfo) -> ScheduleRow:
    word, look = _STATES[info.state]
    said = visit.t(word)
    if info.lateness > _LATE:
        said, look = visit.t("late by {time}", time=_span(visit, info.lateness)), "bad"
    key = filters.encoded(info.name)
    return ScheduleRow(
        key=key,
        name=info.name,
        path=visit.url("schedules", key),
        word=said,
        look=look,
        reason=info.paused,
        unreadable=info.unreadable,
        when=info.when,
        words=info.words,
        zone=info.zone,
        calls=info.calls,
        title=info.title,
        next=info.next,
        last=None if info.last is None else _run(visit, info.last),
    )


def _run(visit: Visit, run: RunInfo) -> RunRow:
    late = run.lateness > _LATE
    gone = run.state in ("gone", "removed")
    word = {"gone": visit.t("gone"), "removed": visit.t("removed")}.get(run.state)
    return RunRow(
        id=run.job_id,
        path=None if gone else visit.url("jobs", run.job_id),
        planned=run.planned,
        word=word or words.of_state(visit.language, run.state),
        look=sentences.look(run.state),
        late=visit.t("late by {time}", time=_span(visit, run.lateness)) if late else None,
    )


def _span(visit: Visit, span: timedelta) -> str:
    return visit.language.duration(span.total_seconds())


def _page(visit: Visit, error: str | None = None) -> Response:
    try:
        found = schedule_details(visit.connection, _name(visit))
    except UnknownSchedule:
        raise NotFound from None
    shown = ScheduleShown(
        notice=visit.notice(),
        error=error,
        row=_row(visit, found),
        facts=tuple(_facts(visit, found)),
        is_paused=found.paused is not None,
        upcoming=found.upcoming,
        runs=tuple(_run(visit, run) for run in found.runs),
        left_out=tuple((moment, _why_left_out(visit, why)) for moment, why in found.left_out),
        may_change=visit.may("change_schedule"),
    )
    title = visit.t("Schedule {name}", name=found.name)
    if error is not None:
        return visit.page("schedule", title, shown, status=400, cache=responses.NOT_KEPT)
    return visit.page("schedule", title, shown, live=sentences.WAITING)


def _facts(visit: Visit, found: ScheduleDetails) -> list[tuple[str, str]]:
    """What it is, as titles and texts."""
    overlap = {
        "skip": visit.t("it is left out"),
        "queue": visit.t("it waits for that one"),
        "cancel": visit.t("that one is cancelled"),
        "allow": visit.t("both run"),
    }[found.overlap]
    missed = {
        "none": visit.t("left out"),
        "latest": visit.t("the last one is caught up"),
        "all": visit.t("each is caught up"),
    }[found.catch_up]
    if found.catch_up != "none" and found.window is not None:
        missed = visit.t("{what}, for {time}", what=missed, time=_span(visit, found.window))
    facts = [
        (visit.t("Calls"), found.calls),
        (visit.t("Queue"), found.queue or visit.t("default queue")),
        (visit.t("Missed times"), missed),
        (visit.t("While the one before runs"), overlap),
    ]
    if found.jitter:
        facts.append((visit.t("By chance later, up to"), _span(visit, found.jitter)))
    if found.pause_after_failures is not None:
        number = visit.language.number(found.pause_after_failures)
        facts.append((visit.t("Paused after failures in a row"), number))
    if found.owner is not None:
        facts.append((visit.t("Owner"), found.owner))
    facts.append((visit.t("Jobs so far"), visit.language.number(found.fired)))
    if found.declared:
        facts.append((visit.t("Declared"), visit.t("by the code of workers")))
    return facts


def _why_left_out(visit: Visit, why: str) -> str:
    known = {
        "missed": visit.t("missed, and what followed until the next run"),
        "overlap": visit.t("the one before hadn’t ended"),
    }
    return known.get(why, why)


# Changes. The words of who is refused are those of the error, in English: they name the cure.


def pause(visit: Visit) -> Response:
    """Let it not fire."""
    reason = visit.field("why")
    return _change(
        visit,
        "schedule-paused",
        lambda name: deeds.pause_schedule(visit.connection, name, reason, _by(visit)),
    )


def resume(visit: Visit) -> Response:
    """Let it fire again."""
    return _change(
        visit,
        "schedule-resumed",
        lambda name: deeds.resume_schedule(visit.connection, name, _by(visit), _why(visit)),
    )


def run(visit: Visit) -> Response:
    """Put a job now."""
    return _change(
        visit,
        "schedule-run",
        lambda name: deeds.run_schedule(visit.connection, name, _by(visit), _why(visit)),
    )


def edit(visit: Visit) -> Response:
    """Let it fire at other times."""
    text, zone = visit.field("when"), visit.field("zone")
    span = _SPAN.fullmatch(text)

    def change(name: str) -> None:
        what: list[str] = []
        changes: dict[str, Any] = {}
        if span is not None:
            changes["every"] = timedelta(**{_UNITS[span[2]]: int(span[1])})
        elif text:
            what.append(text)
        if zone:
            changes["zone"] = zone
        deeds.edit_schedule(
            visit.connection, name, *what, by=_by(visit), why=_why(visit), **changes
        )

    return _change(visit, "changed", change)


def remove(visit: Visit) -> Response:
    """Take it out, if who asks has said that they mean it."""
    if not visit.field("sure"):
        return _page(visit, visit.t("Tick the box if it is to be removed for good."))
    try:
        deeds.remove_schedule(visit.connection, _name(visit), _by(visit), _why(visit))
    except UnknownSchedule:
        raise NotFound from None
    return responses.see_other(visit.url("schedules", **{DONE: "schedule-removed"}))


def _change(visit: Visit, done: str, change: Callable[[str], object]) -> Response:
    """Change something; back to the schedule, or its page with what was wrong."""
    try:
        change(_name(visit))
    except UnknownSchedule:
        raise NotFound from None
    except ZodbjobsError as error:
        return _page(visit, str(error))
    return responses.see_other(visit.url("schedules", visit.parts["name"], **{DONE: done}))


def _name(visit: Visit) -> str:
    return filters.decoded(visit.parts["name"])


def _by(visit: Visit) -> str | None:
    return visit.rights.principal


def _why(visit: Visit) -> str | None:
    return visit.field("why") or None
