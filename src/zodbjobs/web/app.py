"""The application: who asks, what they may, which page; then the headers that all have."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from webob import Request

from zodbjobs.insights import find_job
from zodbjobs.web import responses, tokens
from zodbjobs.web.pages import ROUTES
from zodbjobs.web.responses import PAGE_POLICY, Response
from zodbjobs.web.rights import Rights, may
from zodbjobs.web.routing import Found, Routes
from zodbjobs.web.scrapes import Scrapes
from zodbjobs.web.visit import Layout, NotFound, Settings, Visit

#: A WSGI application.
Application = Callable[[dict[str, Any], Any], Iterable[bytes]]

ConnectionOf = Callable[[Request], Any]
RightsOf = Callable[[Request], Rights]


def make_app(
    connection_of: ConnectionOf,
    rights_of: RightsOf,
    *,
    login: Callable[[Request], Any] | None = None,
    title: str = "Jobs",
    sign_out: Callable[[Request], str | None] | None = None,
    layout: Layout | None = None,
    layout_policy: str = PAGE_POLICY,
    metrics_token: str | None = None,
) -> Application:
    """A WSGI application with the pages, for a host to mount below any prefix (SCRIPT_NAME).

    `connection_of(request)`: the host's open connection, in the transaction of the request.
    `rights_of(request)`: the `Rights` of who asks; it is called before anything else, but for who
    asks for the metrics with their token.
    `login(request)`: what is answered on every URL if nobody in particular asks, a response or
    another WSGI application; without it that is 403. `title`: how the pages are called.
    `sign_out(request)`: the URL where one signs out, or None. `layout(request, inside)`: the HTML
    of a page in the layout of the host, from an `Inside`; None for the frame that the pages have
    otherwise. `layout_policy`: the Content-Security-Policy of a page in that layout, for one that
    loads more than style, scripts and images in files of the same origin, which is all that the
    pages otherwise let in. `metrics_token`: who sends it as `Authorization: Bearer ...` may read
    /metrics, and nothing else; without it those may who may see all jobs. Raises BadArgument for a
    token that is too short, and ImportError for one without the extra `metrics`.

    The application reads and writes in the host's transaction and never commits. The host commits
    after a POST that was answered with a status below 400, and aborts after any other request.
    Errors that aren't the reader's, conflicts among them, are raised to the host, which may try
    again.
    """
    scrapes = Scrapes(metrics_token)
    settings = Settings(title, sign_out, Routes(ROUTES), layout, layout_policy, scrapes)

    def application(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        request = Request(environ)
        answer: Application = _answer(settings, request, connection_of, rights_of, login)
        return answer(environ, start_response)

    return application


def _answer(
    settings: Settings,
    request: Request,
    connection_of: ConnectionOf,
    rights_of: RightsOf,
    login: Callable[[Request], Any] | None,
) -> Any:
    if settings.scrapes.has_token(request):
        return settings.scrapes.answer(request, connection_of(request))
    rights = rights_of(request)
    if not rights.is_known:
        return _refused() if login is None else login(request)
    visit = Visit(settings, request, rights, connection_of(request))
    try:
        return _respond(visit)
    except NotFound:
        visit.is_found = False
        return visit.page(
            "not_found",
            visit.t("There is nothing here"),
            None,
            status=404,
            cache=responses.NOT_KEPT,
        )


def _respond(visit: Visit) -> Response:
    """The response of the page, once the right was asked, and of a POST whether it was meant."""
    request = visit.request
    found = visit.settings.routes.find(request.method, visit.path)
    if found is None or not found.route.is_open_to(visit.rights):
        raise NotFound
    if found.route.has_job:
        visit.job = _job_for(visit, found)
    visit.parts = found.parts
    if request.method == "POST" and not tokens.is_meant(request, visit.connection, visit.rights):
        return visit.page(
            "not_meant", visit.t("Nothing was changed"), None, status=403, cache=responses.NOT_KEPT
        )
    return found.route.handler(visit)


def _job_for(visit: Visit, found: Found) -> Any:
    job = find_job(visit.connection, found.parts["job"])
    action = found.route.action
    if job is None or not isinstance(action, str) or not may(visit.rights, action, job):
        raise NotFound
    return job


def _refused() -> Response:
    response = responses.data("text/plain", body=b"Log in first.\n")
    response.status = 403
    return response
