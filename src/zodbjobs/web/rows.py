"""Rows: jobs as lists show them, made of plain values."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from datetime import datetime
from typing import Any

from zodbjobs.errors import BadArgument
from zodbjobs.insights import JobInfo, job_info
from zodbjobs.insights.wanted import Cursor
from zodbjobs.stored.lifecycle import keys, listing
from zodbjobs.stored.lifecycle.root import get_queues
from zodbjobs.web import sentences, words
from zodbjobs.web.visit import Visit

#: Rows of a page.
PAGE_ROWS = 25

#: Jobs that a page looks at for those that who asks may view.
MOST_LOOKED_AT = 500


@dataclasses.dataclass(frozen=True)
class JobRow:
    """A job in a list."""

    id: str
    title: str
    state: str
    word: str
    look: str
    percent: int | None
    message: str | None
    created: datetime | None
    finished: datetime | None


@dataclasses.dataclass(frozen=True)
class JobRows:
    """A page of a list. `older`: where it goes on, or None."""

    rows: tuple[JobRow, ...]
    older: str | None = None
    newest: str | None = None

    @property
    def live(self) -> int:
        """Seconds after which it is to be looked at again."""
        return sentences.seconds_until_next([row.state for row in self.rows])

    @property
    def say(self) -> str | None:
        """Nothing is read out of lists: too much goes on in them."""
        return None


def row_of(visit: Visit, info: JobInfo) -> JobRow:
    """The row of a job."""
    info = sentences.with_pause(visit.connection, info)
    return JobRow(
        id=info.id,
        title=sentences.title_of(visit.language, info),
        state=info.state,
        word=words.for_reader(visit, info),
        look=sentences.look(info.state),
        percent=None if info.outcome else sentences.percent_of(info),
        message=None if info.outcome else info.message,
        created=info.created,
        finished=info.finished,
    )


def page_of(
    visit: Visit,
    listed_under: str,
    *path: object,
    is_wanted: Callable[[Any], bool] = lambda job: True,
) -> JobRows:
    """The jobs of one page, from `?before=` on, that who asks may view and that are wanted, of
    those that are listed in the job index under a name.

    At most MOST_LOOKED_AT of them are looked at for one page; the list goes on with those after.
    """
    before = _before(visit)
    until = keys.LAST_MICROS if before is None else before.micros + 1
    placed = listing.newest([get_queues(visit.connection)], listed_under, 0, until)
    rows: list[JobRow] = []
    older = None
    for number, (micros, job) in enumerate(placed if before is None else before.go_on(placed)):
        is_shown = visit.may("view", job)
        if number >= MOST_LOOKED_AT or (len(rows) == PAGE_ROWS and is_shown):
            next_one = (micros, job) if is_shown else _next_of_realm(visit, micros, job)
            if next_one is not None:
                older = visit.url(*path, before=Cursor.at(*next_one))
            break
        if is_shown and is_wanted(job):
            rows.append(row_of(visit, job_info(job)))
    return JobRows(tuple(rows), older, None if before is None else visit.url(*path))


def _next_of_realm(visit: Visit, micros: int, job: Any) -> tuple[int, Any] | None:
    """Where a list goes on that has come to a job that isn't shown: at the next one of the realm
    of who asks, or nowhere. The link isn't to tell of another realm's.
    """
    if visit.rights.realm is None:
        return micros, job
    name = listing.name_of_realm(visit.rights.realm)
    return next(listing.newest([get_queues(visit.connection)], name, 0, micros + 1), None)


def _before(visit: Visit) -> Cursor | None:
    """The job with which the list goes on: to count those before would take time for each."""
    given = visit.query.get("before")
    try:
        return None if given is None else Cursor.read(given)
    except BadArgument:
        return None
