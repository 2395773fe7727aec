"""The jobs, for operators: filtered, sorted, paged, and ticked to act on."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from datetime import datetime

from zodbjobs import clock
from zodbjobs.errors import ZodbjobsError
from zodbjobs.insights import JobInfo, JobList, list_jobs
from zodbjobs.stored.lifecycle.root import get_queues
from zodbjobs.web import filters, operator_rows, sentences, words
from zodbjobs.web.filters import BadFilter, Filters
from zodbjobs.web.operator_rows import Column, OperatorRow
from zodbjobs.web.pace import paced
from zodbjobs.web.responses import Response
from zodbjobs.web.visit import Visit

# Rows of a page, and the numbers that one can choose.
ROWS = 25
_CHOICES = ("25", "50", "100")


@dataclasses.dataclass(frozen=True)
class DeedLink:
    """A deed: the word of its button, the page that asks for it for those that are ticked, and for
    all that match.
    """

    action: str
    title: str
    path: str
    path_of_all: str


@dataclasses.dataclass(frozen=True)
class JobsShown:
    """All that the page shows.

    `given`: the texts of the filters by name, which the form of the rows sends along. `error`:
    why there are no rows. `looked_back_to`: how far it was looked, if that isn't all.
    """

    notice: str | None
    error: str | None
    given: tuple[tuple[str, str], ...]
    states: tuple[tuple[str, str], ...]
    queues: tuple[tuple[str, str], ...]
    is_narrow: bool
    rows: tuple[OperatorRow, ...]
    columns: tuple[Column, ...]
    deeds: tuple[DeedLink, ...]
    are_ticked: bool
    tick: str
    sort: str
    size: str
    sizes: tuple[str, ...]
    older: str | None
    newest: str | None
    looked_back_to: datetime | None
    leaves_out: str | None
    may_search: bool
    has_realms: bool
    several_queues: bool

    def text(self, name: str) -> str:
        """What the field of that name has."""
        return dict(self.given).get(name, "")


def jobs(visit: Visit) -> Response:
    """The page of the jobs."""
    start = clock.monotonic()
    asked = visit.given
    texts = filters.given(visit)
    sort, before = asked.get("sort", ""), asked.get("before") or None
    size = asked.get("rows") if asked.get("rows") in _CHOICES else str(ROWS)
    found, error = find(visit, texts, int(size or ROWS), before)
    infos = operator_rows.visible(visit, found)
    are_ticked = "ticked" in asked
    # Of one realm nobody is told of queues that may be of others.
    names = list(get_queues(visit.connection)) if visit.may("view") else []
    shown = JobsShown(
        notice=visit.notice(),
        error=error,
        given=tuple(texts.items()),
        states=tuple((state, words.of_state(visit.language, state)) for state in filters.STATES),
        queues=tuple((filters.encoded(n), n or visit.t("default queue")) for n in names),
        is_narrow=bool(set(texts) - {"state", "queue", "text"}),
        rows=_rows(visit, infos, sort),
        columns=operator_rows.columns(visit, sort, "jobs"),
        deeds=deed_links(visit, texts, infos),
        are_ticked=are_ticked,
        tick=visit.url("jobs", **{**visit.query, "ticked": None if are_ticked else "1"}),
        sort=sort,
        size=size or str(ROWS),
        sizes=_CHOICES,
        older=_older(visit, found),
        newest=visit.url("jobs", **{**visit.query, "before": None}) if before else None,
        looked_back_to=found.looked_back_to,
        leaves_out=found.leaves_out,
        may_search=visit.may_in_realm("view_arguments"),
        has_realms=visit.rights.realm is None,
        several_queues=len(names) > 1,
    )
    live = None
    if not (before or are_ticked or error):
        states = [info.state for info in infos]
        live = paced(sentences.seconds_until_next(states), clock.monotonic() - start)
    return visit.page("jobs", visit.t("Jobs"), shown, live=live, status=400 if error else 200)


def find(
    visit: Visit, texts: Mapping[str, str], limit: int, before: str | None = None
) -> tuple[JobList, str | None]:
    """The jobs that match, and why there can be none."""
    try:
        wanted = filters.read(visit, texts).wanted
        return list_jobs(visit.connection, **wanted, before=before, limit=limit), None
    except (BadFilter, ZodbjobsError) as error:
        return JobList(), str(error)


def read(visit: Visit, texts: Mapping[str, str]) -> Filters:
    """The filters, known to be such that `list_jobs` takes. Raises BadFilter."""
    found = filters.read(visit, texts)
    try:
        list_jobs(visit.connection, **found.wanted, limit=1, seconds=0)
    except ZodbjobsError as error:
        raise BadFilter(str(error)) from error
    return found


def deed_links(
    visit: Visit, texts: Mapping[str, str], infos: list[JobInfo]
) -> tuple[DeedLink, ...]:
    """What who asks may do to the jobs of a list; nothing without jobs."""
    return tuple(
        DeedLink(
            action,
            f"{visit.t(operator_rows.DEEDS[action])} …",
            visit.url("jobs", action),
            visit.url("jobs", action, **{**texts, "all": "1"}),
        )
        for action in operator_rows.possible(texts.get("state"))
        if infos and visit.may_in_realm(action)
    )


def _rows(visit: Visit, infos: list[JobInfo], sort: str) -> tuple[OperatorRow, ...]:
    return operator_rows.sorted_rows((operator_rows.row_of(visit, info) for info in infos), sort)


def _older(visit: Visit, found: JobList) -> str | None:
    if found.cursor is None:
        return None
    return visit.url("jobs", **{**visit.query, "before": found.cursor, "ticked": None})
