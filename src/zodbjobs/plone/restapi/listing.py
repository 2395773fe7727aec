"""Listing: who asks gets their own jobs, a manager all of the site, the newest first."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from urllib.parse import urlencode

from plone.restapi.batching import DEFAULT_BATCH_SIZE
from zExceptions import BadRequest

from zodbjobs import insights
from zodbjobs.errors import BadArgument
from zodbjobs.insights import JobList, find_job
from zodbjobs.plone.restapi.asking import Asking
from zodbjobs.plone.restapi.serializer import summary
from zodbjobs.web.rights import may_in_realm
from zodbjobs.zope import realm_of

#: Jobs of a batch, and those that one may begin at by a number: what lies before is read.
MOST_IN_BATCH = 100
MOST_START = 1_000


def batch_of(asking: Asking) -> dict[str, Any]:
    """A batch of jobs, with a link to the next one.

    `b_size` and `b_start` are those of plone.restapi; `before` is where the link goes on. How many
    there are in all isn't told: they would have to be counted. Raises BadRequest for numbers that
    can't be.
    """
    form = asking.request.form
    size = _number(form, "b_size", DEFAULT_BATCH_SIZE, 1, MOST_IN_BATCH)
    start = _number(form, "b_start", 0, 0, MOST_START)
    before = form.get("before")
    found = _listed(asking, before, start + size)
    items = [summary(asking, job) for job in _loaded(asking, found[start:])]
    answer: dict[str, Any] = {"@id": asking.url(), "items": items}
    if found.cursor is not None or start or before is not None:
        answer["batching"] = _links(asking, found.cursor, size)
    return answer


def _number(form: Any, name: str, default: int, least: int, most: int) -> int:
    given = str(form.get(name, default))
    is_number = given.isascii() and given.isdecimal() and len(given) <= len(str(most))
    number = int(given) if is_number else -1
    if not least <= number <= most:
        raise BadRequest(f"{name} is a number from {least} to {most:,}; follow batching.next")
    return number


def _listed(asking: Asking, before: Any, limit: int) -> JobList:
    """Rows of the jobs of the site that they may see in a list, also of who may see those of all
    sites.
    """
    rights = asking.rights
    is_manager = may_in_realm(rights, "view")
    try:
        return insights.list_jobs(
            asking.connection,
            owner=None if is_manager else rights.principal,
            realm=realm_of(asking.site),
            before=before,
            limit=limit,
        )
    except BadArgument as error:
        raise BadRequest(f"'before' is what batching.next has: {error}") from None


def _loaded(asking: Asking, rows: Any) -> Iterator[Any]:
    for row in rows:
        job = find_job(asking.connection, row.id)
        if job is not None and asking.may("view", job):
            yield job


def _links(asking: Asking, cursor: str | None, size: int) -> dict[str, str]:
    given = {"b_size": size} if size != DEFAULT_BATCH_SIZE else {}
    here, query = asking.request["ACTUAL_URL"], asking.request["QUERY_STRING"]
    links = {
        "@id": f"{here}?{query}" if query else here,
        "first": _url(asking, given),
    }
    if cursor is not None:
        links["next"] = _url(asking, {**given, "before": cursor})
    return links


def _url(asking: Asking, query: dict[str, Any]) -> str:
    return asking.url() + (f"?{urlencode(query)}" if query else "")
