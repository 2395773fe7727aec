"""Routes: which function answers which URL, and the right that it takes."""

from __future__ import annotations

import dataclasses
import enum
import re
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, NamedTuple

from zodbjobs.errors import BadArgument
from zodbjobs.web.rights import ACTIONS, JOB_ACTIONS, Rights, may, may_in_realm

if TYPE_CHECKING:
    from zodbjobs.web.responses import Response
    from zodbjobs.web.visit import Visit

    Handler = Callable[[Visit], Response]


class Needs(enum.Enum):
    """What takes no action's right."""

    #: To be somebody. The page shows each what they may see, and asks `may` for it.
    A_NAME = "a name"


# What a part of a URL in braces may be; another text isn't found.
_PARTS = {
    "job": r"[1-9][0-9]{0,18}",
    "oid": r"[1-9][0-9]{0,18}",
    "name": r".+",
    "file": r"[^/]+",
    "database": r"[^/]+",
}


@dataclasses.dataclass(frozen=True)
class Route:
    """Below `path`, `handler` answers requests by `method`, GET or POST, of those who may.

    A part in braces, one of job, oid, name, file and database, is given to the handler in
    ``visit.parts``; the job of a `{job}` is ``visit.job``, and who asks must have the right to
    `action` on that one: else there is nothing here. Without a job they need the right in general,
    or if `in_realm` that for their realm: then the page must keep to ``visit.rights.realm``.
    `Needs.A_NAME` in place of an action: anybody who is known, and the handler asks for what it
    shows. A POST is checked before its handler is called, after the right.

    `title`: the entry in the navigation, for those who may; a message of the catalogue.
    `listed_for`: an action that it takes, in the realm, for the page to be entered there.
    """

    method: str
    path: str
    handler: Handler
    action: str | Needs
    in_realm: bool = False
    title: str | None = None
    listed_for: str | None = None

    def __post_init__(self) -> None:
        if self.method not in ("GET", "POST"):
            raise BadArgument(f"{self.path}: a route is for GET or POST, not for {self.method!r}")
        actions = JOB_ACTIONS if self.has_job else ACTIONS
        if not isinstance(self.action, Needs) and self.action not in actions:
            raise BadArgument(f"{self.path}: there is no action {self.action!r} for it")
        if self.has_job and isinstance(self.action, Needs):
            raise BadArgument(f"{self.path}: to reach a job takes the right to an action")

    @property
    def has_job(self) -> bool:
        """Whether it leads to one job."""
        return "{job}" in self.path

    def is_open_to(self, rights: Rights) -> bool:
        """Whether who asks may come here at all; of a job that is asked with the job."""
        if isinstance(self.action, Needs):
            return rights.is_known
        if self.has_job:
            return rights.is_known
        if self.in_realm:
            return may_in_realm(rights, self.action)
        return may(rights, self.action)

    def is_listed_for(self, rights: Rights) -> bool:
        """Whether it is an entry of the navigation of who asks."""
        if self.title is None or not self.is_open_to(rights):
            return False
        return self.listed_for is None or may_in_realm(rights, self.listed_for)


class Found(NamedTuple):
    """A route with the parts of the URL."""

    route: Route
    parts: dict[str, str]


class Routes:
    """All routes; the first one that fits is taken."""

    def __init__(self, routes: Iterable[Route]) -> None:
        self.all = tuple(routes)
        self._patterns = [(re.compile(_pattern(route.path)), route) for route in self.all]

    def find(self, method: str, path: str) -> Found | None:
        """The route for a request; None if there is none."""
        wanted = "GET" if method == "HEAD" else method
        for pattern, route in self._patterns:
            if route.method == wanted and (match := pattern.fullmatch(path)):
                return Found(route, match.groupdict())
        return None


def _pattern(path: str) -> str:
    words = re.split(r"\{(\w+)\}", path)
    return "".join(
        f"(?P<{word}>{_PARTS[word]})" if number % 2 else re.escape(word)
        for number, word in enumerate(words)
    )
