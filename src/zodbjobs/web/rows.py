"""Rows: jobs as lists show them, made of plain values."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from datetime import datetime
from typing import Any

from zodbjobs.insights import JobInfo, job_info
from zodbjobs.web import sentences
from zodbjobs.web.visit import Visit

#: Rows of a page.
PAGE_ROWS = 25


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
    return JobRow(
        id=info.id,
        title=sentences.title_of(visit.language, info),
        state=info.state,
        word=sentences.word(visit.language, info.state),
        look=sentences.look(info.state),
        percent=None if info.outcome else sentences.percent_of(info),
        message=None if info.outcome else info.message,
        created=info.created,
        finished=info.finished,
    )


def page_of(visit: Visit, jobs: Iterable[Any], most_looked_at: int, *path: object) -> JobRows:
    """The jobs of one page that who asks may view, from `?from=` on, of a lazy list of jobs.

    At most `most_looked_at` of them are looked at for one page; the list goes on with those after.
    """
    start = _start(visit)
    rows: list[JobRow] = []
    older = None
    for number, job in enumerate(jobs):
        if number < start:
            continue
        if len(rows) == PAGE_ROWS or number - start >= most_looked_at:
            older = visit.url(*path, **{"from": number})
            break
        if visit.may("view", job):
            rows.append(row_of(visit, job_info(job)))
    return JobRows(tuple(rows), older, visit.url(*path) if start else None)


def _start(visit: Visit) -> int:
    given = visit.query.get("from", "0")
    return int(given) if given.isascii() and given.isdecimal() and len(given) < 10 else 0
