"""Filters of the list of jobs, as they stand in its URL."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from zodbjobs.interfaces import COMPLETED, OUTCOMES
from zodbjobs.stored.lifecycle.root import get_queues
from zodbjobs.web.visit import NotFound, Visit

#: States to choose from, in the order in which a job passes through them.
STATES = (
    *("scheduled", "waiting", "blocked", "paused", "assigned", "active", "parked"),
    *(COMPLETED, *OUTCOMES),
)

#: The names in the URL of what narrows the list.
NAMES = (
    *("state", "queue", "text", "callable", "owner", "about", "realm", "worker", "since", "until"),
)

# Characters of one filter.
_MOST = 500

_DEFAULT = "-"

# A glob for what no job calls.
_NOTHING = ""


class BadFilter(Exception):
    """A filter that can't be; its argument says so in the reader's language."""


@dataclasses.dataclass(frozen=True)
class Filters:
    """What is asked for: the texts of the form, and what `insights.list_jobs` takes.

    `given`: the texts by name, without empty ones; they make the URL again.
    """

    given: Mapping[str, str]
    wanted: Mapping[str, Any]

    def text(self, name: str) -> str:
        """What the field of that name has."""
        return self.given.get(name, "")

    @property
    def are_simple(self) -> bool:
        """Whether state and queue alone narrow the list."""
        return set(self.given) <= {"state", "queue"}


def encoded(queue: str) -> str:
    """The name of a queue as URLs have it; that of the default one is empty."""
    return f"{_DEFAULT}{queue}" if not queue or queue.startswith(_DEFAULT) else queue


def decoded(text: str) -> str:
    """The name of a queue from a URL."""
    return text.removeprefix(_DEFAULT)


def given(visit: Visit, source: Mapping[str, Any] | None = None) -> dict[str, str]:
    """The texts of the filters in the URL, or in a form."""
    source = visit.given if source is None else source
    names = [name for name in NAMES if name != "realm" or visit.rights.realm is None]
    found = {name: str(source.get(name, "")).strip()[:_MOST] for name in names}
    return {name: text for name, text in found.items() if text}


def read(visit: Visit, texts: Mapping[str, str]) -> Filters:
    """The filters that texts say; of the realm of who asks.

    Raises BadFilter for what can't be, and NotFound for a search in arguments by who may not see
    them: what is found would tell of them.
    """
    if "text" in texts and not visit.may_in_realm("view_arguments"):
        raise NotFound
    wanted: dict[str, Any] = {
        name: texts[name] for name in ("owner", "about", "realm", "text") if name in texts
    }
    if visit.rights.realm is not None:
        wanted["realm"] = visit.rights.realm
    if (state := texts.get("state")) is not None:
        if state not in STATES:
            raise BadFilter(visit.t("There is no such state."))
        wanted["outcome" if state in OUTCOMES else "status"] = state
    if (pattern := texts.get("callable")) is not None:
        is_glob = any(sign in pattern for sign in "*?[")
        wanted["callable"] = pattern if is_glob else f"*{pattern}*"
    if (queue := texts.get("queue")) is not None:
        wanted.update(_of_queue(visit, decoded(queue)))
    if (worker := texts.get("worker")) is not None:
        wanted["worker"] = worker
    for name in ("since", "until"):
        if name in texts:
            wanted[name] = moment(visit, texts[name])
    return Filters(dict(texts), wanted)


def _of_queue(visit: Visit, name: str) -> dict[str, Any]:
    """What finds the jobs of a queue. Raises BadFilter for who may know that there is no such one;
    for others it looks like one without jobs of theirs.
    """
    if name in get_queues(visit.connection):
        return {"queue": name}
    if visit.rights.realm is None:
        # The words of the error of `list_jobs` would name the queues that there are.
        raise BadFilter(visit.t("There is no such queue."))
    return {"callable": _NOTHING}


def moment(visit: Visit, text: str) -> datetime:
    """The moment that a text says, in UTC if it doesn't say another zone. Raises BadFilter."""
    try:
        found = datetime.fromisoformat(text)
        return found.astimezone(UTC) if found.tzinfo is not None else found.replace(tzinfo=UTC)
    except (ValueError, OverflowError):
        raise BadFilter(
            visit.t("“{text}” is no time; write it as 2030-12-31T23:59.", text=text)
        ) from None
