"""The pages of `zodbjobs.web` within Pyramid: its policy, its transaction, its addresses."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pyramid.exceptions import ConfigurationError
from pyramid.httpexceptions import HTTPForbidden
from pyramid.request import Request
from pyramid.security import NO_PERMISSION_REQUIRED
from pyramid_tm import is_tm_active
from pyramid_zodbconn import get_connection

from zodbjobs.pyramid import mounts
from zodbjobs.pyramid.rights import rights_of
from zodbjobs.web import Inside, make_app
from zodbjobs.web.app import Application

# Where a request of the pages has that of the application.
_REQUEST = "zodbjobs.pyramid.request"


def add_jobs_pages(
    config: Any,
    prefix: str = "/jobs",
    *,
    permission: str | None = None,
    factory: Any = None,
    title: str = "Jobs",
    sign_out: Callable[[Any], str | None] | None = None,
    layout: Callable[[Any, Inside], str | None] | None = None,
) -> None:
    """Add the pages of jobs below a path: ``config.add_jobs_pages("/jobs", permission="manage")``.

    Who is logged in sees their own jobs there; who isn't gets the forbidden view of the
    application. Who has `permission` on the root of the request may do everything, to the jobs of
    all; without one nobody may. `factory`: makes that root, as of `config.add_route`. Who has
    `VIEW_JOBS` or `MANAGE_JOBS` on the object that a job is about may see the job, or do to it
    what its owner may. `title`, `sign_out(request)`, `layout(request, inside)`: as of
    zodbjobs.web.make_app, with Pyramid's requests.

    POSTs have a token of the pages' own; that of the application isn't asked for. What a
    page did that answers with a status of 400 or more isn't committed.
    """
    app = make_app(
        lambda request: get_connection(_outer(request)),
        lambda request: rights_of(_outer(request), permission),
        login=_forbidden,
        title=title,
        sign_out=None if sign_out is None else lambda request: sign_out(_outer(request)),
        layout=None if layout is None else lambda request, inside: layout(_outer(request), inside),
    )
    mount = "/" + prefix.strip("/")
    route = f"zodbjobs.pages {mount}"
    below = rf"{mount.rstrip('/')}/{{rest:[\s\S]*}}"  # also the end of a line
    for name, pattern in ((route, below), (f"{route} itself", mount)):
        if pattern == "/" and name != route:
            continue
        config.add_route(name, pattern, factory=factory)
        config.add_view(
            _View(app),
            route_name=name,
            permission=NO_PERMISSION_REQUIRED,  # the pages ask for it themselves
            require_csrf=False,
        )
    mounts.add(config.registry, route)


class _View:
    """Answers a request with the pages."""

    def __init__(self, app: Application) -> None:
        self._app = app

    def __call__(self, request: Any) -> Any:
        """The response of the pages. Raises HTTPForbidden for nobody in particular."""
        if not is_tm_active(request):
            raise ConfigurationError(
                f"pyramid_tm doesn't commit {request.path_info}, so nothing that is done there "
                "would be kept; see its settings, such as tm.activate_hook"
            )
        inner = Request(_environ(request))
        response = inner.get_response(self._app)
        if response.status_int >= 400:
            request.tm.doom()  # it would be committed else, whatever the status is
        return response


def _environ(request: Any) -> dict[str, Any]:
    """The environment with the pages' mount as its SCRIPT_NAME."""
    request.make_body_seekable()
    environ = dict(request.environ)
    rest = request.matchdict.get("rest", "")
    path = request.path_info
    mount = path[: len(path) - len(rest)].rstrip("/")
    inner = Request(environ)
    inner.script_name = request.script_name.rstrip("/") + mount
    inner.path_info = f"/{rest}"
    environ[_REQUEST] = request
    return environ


def _outer(request: Any) -> Any:
    return request.environ[_REQUEST]


def _forbidden(request: Any) -> Any:
    """Have the application send who asks to log in, as it does elsewhere."""
    raise HTTPForbidden("log in to see your jobs")
