"""Rows of jobs as operators see them, sorted, with what can be done to those of a state."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Any

from zodbjobs.insights import JobInfo, find_job
from zodbjobs.interfaces import SUCCEEDED
from zodbjobs.web import sentences, words
from zodbjobs.web.language import message as _
from zodbjobs.web.visit import Visit

# Characters of a failure, or of why a job is parked, in a row.
_MOST_REASON = 200


@dataclasses.dataclass(frozen=True)
class OperatorRow:
    """A job in a list for operators. `when`: its time in the list's order, as far as it is known;
    `seconds`: how long it has run, of one that has ended.
    """

    id: str
    title: str
    call: str
    state: str
    word: str
    look: str
    percent: int | None
    message: str | None
    reason: str | None
    queue: str
    owner: str | None
    attempts: int
    created: datetime | None
    when: datetime | None
    took: str
    seconds: float


#: The deeds on several jobs, by the action of the right, and what their buttons are called.
DEEDS = {
    "retry": _("Retry"),
    "cancel": _("Cancel"),
    "remove": _("Remove"),
    "discard": _("Discard"),
}

_PENDING = ("scheduled", "waiting", "blocked", "paused")
_WITH_WORKER = ("assigned", "active")


def possible(state: str | None) -> tuple[str, ...]:
    """What can be done to jobs in a state; all if that isn't said."""
    if state is None:
        return tuple(DEEDS)
    if state in _PENDING:
        return ("cancel", "remove")
    if state in _WITH_WORKER:
        return ("cancel",)
    if state == "parked":
        return ("retry", "cancel", "remove")
    if state == SUCCEEDED:
        return ("discard",)
    return ("retry", "discard")


def row_of(visit: Visit, info: JobInfo) -> OperatorRow:
    """The row of a job."""
    language = visit.language
    seconds = info.seconds if info.outcome is not None else None
    return OperatorRow(
        id=info.id,
        title=info.title or info.description,
        call=info.description if info.title else "",
        state=info.state,
        word=words.of_state(language, info.state),
        look=sentences.look(info.state),
        percent=None if info.outcome else sentences.percent_of(info),
        message=None if info.outcome else info.message,
        reason=_reason(visit, info),
        queue=info.queue,
        owner=info.owner,
        attempts=info.attempts,
        created=info.created,
        when=info.finished or info.started or info.begin_after,
        took=language.duration(seconds),
        seconds=-1.0 if seconds is None else seconds,
    )


def _reason(visit: Visit, info: JobInfo) -> str | None:
    """Why it is parked, or has failed, for those who may see such texts."""
    text = info.parked or info.failure
    if text is None or not visit.may_in_realm("view_traceback"):
        return None
    first = text.strip().partition("\n")[0]
    return first if len(first) <= _MOST_REASON else f"{first[:_MOST_REASON]} …"


def visible(visit: Visit, infos: Iterable[JobInfo]) -> list[JobInfo]:
    """Those that who asks may view: of a realm not such as can't be loaded, for whose these are
    can't be told.
    """
    if visit.rights.realm is None:
        return list(infos)
    return [
        info
        for info in infos
        if (job := find_job(visit.connection, info.id)) is not None and visit.may("view", job)
    ]


# Sorting

_ORDERS: dict[str, Callable[[OperatorRow], Any]] = {
    "job": lambda row: row.title.casefold(),
    "state": lambda row: row.word,
    "queue": lambda row: row.queue,
    "owner": lambda row: row.owner or "",
    "took": lambda row: row.seconds,
}


def sorted_rows(rows: Iterable[OperatorRow], sort: str) -> tuple[OperatorRow, ...]:
    """Rows by one of their columns, downwards after a minus; as they are for any other word."""
    order = _ORDERS.get(sort.removeprefix("-"))
    if order is None:
        return tuple(rows)
    return tuple(sorted(rows, key=order, reverse=sort.startswith("-")))


@dataclasses.dataclass(frozen=True)
class Column:
    """The head of a column: where a click on it leads, and how it is sorted now."""

    title: str
    path: str | None
    direction: str | None


_COLUMNS = {
    "job": _("Job"),
    "state": _("State"),
    "queue": _("Queue"),
    "owner": _("Owner"),
    "time": _("Time"),
    "took": _("Took"),
}


def columns(visit: Visit, sort: str, *path: object) -> tuple[Column, ...]:
    """The heads of the columns of a list at `path`; each sorts, and then the other way round."""
    found = []
    for name, title in _COLUMNS.items():
        if name == "time":
            direction = None if sort else "descending"
            target = visit.url(*path, **{**visit.query, "sort": None}) if sort else None
        else:
            is_down = sort == f"-{name}"
            direction = "descending" if is_down else "ascending" if sort == name else None
            word = f"-{name}" if sort == name else name
            target = visit.url(*path, **{**visit.query, "sort": word})
        found.append(Column(visit.t(title), target, direction))
    return tuple(found)
