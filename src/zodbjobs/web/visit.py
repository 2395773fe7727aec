"""A visit: one request with who asks, what they may, and the page that they are given."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
from collections.abc import Callable
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlencode

from webob import Request
from webob.multidict import MultiDict

from zodbjobs.web import responses, tokens
from zodbjobs.web.language import language_of
from zodbjobs.web.responses import Response
from zodbjobs.web.rights import Rights, may, may_in_realm
from zodbjobs.web.scrapes import Scrapes
from zodbjobs.web.static_files import static_files, version
from zodbjobs.web.templates import render

if TYPE_CHECKING:
    from zodbjobs.stored.job import Job
    from zodbjobs.web.routing import Routes

#: The parameter that asks for the main part of a page alone, to refresh it.
LIVE = "live"

#: The parameter that names what was just done, of NOTICES.
DONE = "done"

#: Characters that are taken of a field of a form.
MOST_FIELD = 500


class NotFound(Exception):
    """There is nothing here, or nothing for who asks; both look the same."""


@dataclasses.dataclass(frozen=True)
class Settings:
    """What a host has said once for all requests."""

    title: str
    sign_out: Callable[[Request], str | None] | None
    routes: Routes
    layout: Layout | None = None
    layout_policy: str = responses.PAGE_POLICY
    scrapes: Scrapes = dataclasses.field(default_factory=Scrapes)


@dataclasses.dataclass(frozen=True)
class Inside:
    """A page without its frame, for the layout of a host.

    `title`: plain text for the <title>. `head`: markup for the <head>, our style and script.
    `body`: markup for the <body>, which the script keeps up to date.
    """

    title: str
    head: str
    body: str


#: What makes a whole page of one without its frame; None leaves it to ours.
Layout = Callable[[Request, Inside], str | None]


@dataclasses.dataclass(frozen=True)
class Entry:
    """An entry of the navigation."""

    path: str
    title: str
    is_here: bool


class Visit:
    """What a handler gets, and makes a response of.

    `job` is the one of the URL, if the route has one; who asks may do the action of the route to
    it. `parts`: the other parts of the URL.
    """

    def __init__(
        self, settings: Settings, request: Request, rights: Rights, connection: Any
    ) -> None:
        self.settings = settings
        self.request = request
        self.rights = rights
        self.connection = connection
        self.language = language_of(request)
        self.t = self.language.t
        #: The path below the mount; empty if it is none.
        self.path: str = _decoded(lambda: request.path_info or "/") or ""
        #: The parameters of the URL; none if they aren't UTF-8.
        self.given: Any = _decoded(lambda: request.GET) or MultiDict()
        #: The same; of several of one name the last.
        self.query: dict[str, str] = dict(self.given)
        self.parts: dict[str, str] = {}
        self._job: Job | None = None
        #: Whether there is something here for who asks; else no entry of the navigation is "here".
        self.is_found = True

    @property
    def job(self) -> Job:
        """The job of the URL; a mistake of the route's if it has none."""
        assert self._job is not None
        return self._job

    @job.setter
    def job(self, job: Job) -> None:
        self._job = job

    @property
    def token(self) -> str:
        """What each form that changes something has in a field named `tokens.FIELD`."""
        return tokens.token_for(self.connection, self.rights)

    def may(self, action: str, job: Any = None) -> bool:
        """Whether who asks may do `action` to `job`, or in general."""
        return may(self.rights, action, job)

    def may_in_realm(self, action: str) -> bool:
        """Whether who asks may do `action` to all jobs of their realm."""
        return may_in_realm(self.rights, action)

    def url(self, /, *parts: object, **query: object) -> str:
        """The path below the mount, from the root of the host; `query`: what isn't None."""
        path = "/".join(quote(str(part), safe="") for part in parts)
        said = urlencode({name: value for name, value in query.items() if value is not None})
        return f"{self.mount}/{path}{'?' if said else ''}{said}"

    @functools.cached_property
    def mount(self) -> str:
        """The path of the first page, without the slash at its end."""
        return quote(self.request.script_name.rstrip("/"), safe="/~@")

    def field(self, name: str) -> str:
        """What a field of the form has that was sent, shortened; empty if it has none."""
        given = self.request.POST.get(name, "")
        return given.strip()[:MOST_FIELD] if isinstance(given, str) else ""

    def static(self, name: str) -> str:
        """The URL of a file of ours that may be kept for ever."""
        return self.url("static", name, v=static_files()[name].version)

    # Pages

    def page(
        self,
        template: str,
        title: str,
        shown: Any,
        *,
        live: int | None = None,
        say: str | None = None,
        status: int = 200,
        cache: str = responses.REVALIDATED,
    ) -> Response:
        """The page that a template makes of `shown`; 304 if who asks has it already.

        `shown` is all that it shows: plain values, tuples and frozen dataclasses of them, the same
        repr for the same page, for that is what the ETag is made from, before anything is
        rendered. The template has it as `it`. `live`: seconds after which the page is to be
        asked for again while it is open; None for never. `say`: what is read out when it changes.
        """
        is_part = LIVE in self.query
        etag = self._etag(template, title, shown, live, say, is_part)
        if status == 200 and etag in self.request.if_none_match:
            return responses.not_modified(f'W/"{etag}"', cache)
        names = {
            "it": shown,
            "visit": self,
            "t": self.t,
            "n": self.language.n,
            "language": self.language,
            "url": self.url,
            "title": title,
            "live": live,
            "say": say,
        }
        text = None if is_part else self._in_layout(template, title, names)
        is_ours = text is None
        if text is None:
            text = render(template, "bare" if is_part else "frame", **names)
        policy = responses.PAGE_POLICY if is_ours else self.settings.layout_policy
        response = responses.html(text, status=status, cache=cache, policy=policy)
        response.headers["Content-Language"] = self.language.code
        # What else a layout shows isn't in the tag.
        if status == 200 and cache != responses.NOT_KEPT and is_ours:
            response.headers["ETag"] = f'W/"{etag}"'
        return response

    def _in_layout(self, template: str, title: str, names: dict[str, Any]) -> str | None:
        """The page in the layout of the host; None if it has none."""
        layout = self.settings.layout
        if layout is None:
            return None
        head = render("head", "head", **names)
        body = render(template, "inside", **names)
        return layout(self.request, Inside(f"{title} · {self.settings.title}", head, body))

    @property
    def entries(self) -> list[Entry]:
        """The navigation: the routes with a title that who asks may go to."""
        return [
            Entry(
                self.url(*route.path.strip("/").split("/")),
                self.t(route.title),
                self.is_found and _in(self.path, route.path),
            )
            for route in self.settings.routes.all
            if route.title is not None and route.is_listed_for(self.rights)
        ]

    @property
    def sign_out(self) -> str | None:
        """Where one signs out, if the host says so."""
        ask = self.settings.sign_out
        return None if ask is None else ask(self.request)

    def notice(self) -> str | None:
        """What was just done, said by the redirect that led here."""
        text = NOTICES.get(self.query.get(DONE, ""))
        return None if text is None else self.t(text)

    def _etag(self, *parts: object) -> str:
        who = (self.rights.principal, self.rights.name, self.rights.realm)
        overall = sorted(self.rights.overall)
        all_parts = (parts, who, overall, self.language.code, self.mount, version())
        return hashlib.blake2b(repr(all_parts).encode("utf-8"), digest_size=12).hexdigest()


def _decoded(read: Callable[[], Any]) -> Any:
    """What is in the URL; None if it isn't UTF-8, as no URL of ours is."""
    try:
        return read()
    except UnicodeDecodeError:
        return None


def _in(here: str, path: str) -> bool:
    return here == path or (path != "/" and here.startswith(f"{path}/"))


def _(text: str) -> str:
    return text


#: What a page says of the deed that led to it, by the words of its redirect.
NOTICES = {
    "cancelled": _("It was cancelled."),
    "discarded": _("It was discarded, with its files."),
    "retried": _("Done: it is tried again."),
    "removed": _("Done: it was taken out of its queue."),
    "again": _("It was put again; this is the new one."),
    "all-retried": _("Done: they are tried again."),
    "all-cancelled": _("Done: they were cancelled."),
    "all-removed": _("Done: they were taken out of their queues."),
    "all-discarded": _("Done: they were discarded, with their files."),
    "acting": _("This job does it; its bar shows how far it is."),
    "paused": _("The queue is paused: no job of it is begun."),
    "resumed": _("The queue goes on."),
    "draining": _("The queue takes no new jobs."),
    "changed": _("Changed."),
    "schedule-paused": _("The schedule is paused."),
    "schedule-resumed": _("The schedule goes on."),
    "schedule-run": _("A job was put."),
    "schedule-removed": _("The schedule was removed."),
    "too-late": _("Nothing was changed: it has gone on meanwhile."),
}
