"""What is parked: the jobs that can't be run with the code that is there, and why."""

from __future__ import annotations

import dataclasses
from collections import Counter

from zodbjobs import clock
from zodbjobs.web import operator_rows, sentences
from zodbjobs.web.operator_rows import OperatorRow
from zodbjobs.web.pace import paced
from zodbjobs.web.pages import jobs
from zodbjobs.web.pages.jobs import DeedLink
from zodbjobs.web.responses import Response
from zodbjobs.web.visit import Visit

# Jobs that are looked at, and such that are shown.
_MOST = 500
_ROWS = 50


@dataclasses.dataclass(frozen=True)
class Parked:
    """All that the page shows: reasons with how many jobs have each, and the newest jobs."""

    notice: str | None
    reasons: tuple[tuple[str, str], ...]
    rows: tuple[OperatorRow, ...]
    kept: tuple[tuple[str, str], ...]
    deeds: tuple[DeedLink, ...]
    all: str
    are_more: bool


def parked(visit: Visit) -> Response:
    """The page of what is parked."""
    start = clock.monotonic()
    texts = {"state": "parked"}
    found, _ = jobs.find(visit, texts, _MOST)
    infos = operator_rows.visible(visit, found)
    rows = tuple(operator_rows.row_of(visit, info) for info in infos)
    reasons = Counter(row.reason for row in rows if row.reason is not None)
    shown = Parked(
        visit.notice(),
        tuple((why, visit.language.number(count)) for why, count in reasons.most_common()),
        rows[:_ROWS],
        tuple(texts.items()),
        jobs.deed_links(visit, texts, infos),
        visit.url("jobs", **texts),
        len(rows) > _ROWS or found.cursor is not None,
    )
    live = paced(sentences.RESTING, clock.monotonic() - start)
    return visit.page("parked", visit.t("Parked"), shown, live=live)
