"""A Pyramid application with jobs, for the tests: accounts, users by cookie, and some views."""

from __future__ import annotations

from typing import Any

import sample
import transaction
from pyramid.authentication import AuthTktCookieHelper, SessionAuthenticationHelper
from pyramid.authorization import ACLHelper, Allow, Authenticated, Everyone
from pyramid.config import Configurator
from pyramid.csrf import CookieCSRFStoragePolicy
from pyramid.httpexceptions import HTTPFound, HTTPServerError
from pyramid.request import Request
from pyramid.response import Response
from pyramid.security import remember
from pyramid.session import SignedCookieSessionFactory
from pyramid.threadlocal import get_current_request
from pyramid_zodbconn import get_connection
from ZODB.POSException import ConflictError

from zodbjobs import local

#: Who may log in; taken out by tests in which somebody is gone.
USERS = {"ada", "bob", "head", "viewer"}


class Policy:
    """Users by a signed cookie, permissions by the ACLs of objects."""

    def __init__(self) -> None:
        self._cookies = AuthTktCookieHelper("secret", hashalg="sha512", include_ip=True)
        self._lists = ACLHelper()

    def identity(self, request: Any) -> Any:
        told = self._cookies.identify(request)
        return None if told is None or told["userid"] not in USERS else told

    def authenticated_userid(self, request: Any) -> Any:
        found = self.identity(request)
        return None if found is None else found["userid"]

    def permits(self, request: Any, context: Any, permission: str) -> Any:
        userid = self.authenticated_userid(request)
        principals = [Everyone] if userid is None else [Everyone, Authenticated, userid]
        return self._lists.permits(context, principals, permission)

    def remember(self, request: Any, userid: str, **said: Any) -> Any:
        return self._cookies.remember(request, userid, **said)

    def forget(self, request: Any, **said: Any) -> Any:
        return self._cookies.forget(request)


class Root:
    """What is at the root of the database, with who may what."""

    __acl__ = ((Allow, "head", "manage"),)
    __name__ = __parent__ = None

    def __init__(self, request: Any) -> None:
        self.data = get_connection(request).root()


class Office(sample.Account):
    """What jobs are about, and who may see those."""

    __acl__ = ((Allow, "viewer", "zodbjobs.ViewJobs"),)


# The jobs


def note(**more: Any) -> dict[str, Any]:
    """What the request of the job says."""
    request = get_current_request()
    return {
        "home": request.route_url("home"),
        "path": request.resource_path(request.root),
        "user": request.authenticated_userid,
        "manages": bool(request.has_permission("manage", request.root)),
        "locale": request.locale_name,
        "cookies": sorted(request.cookies),
        "body": request.body.decode(),
        **more,
    }


def deposit(amount: int) -> int:
    """Pay into the account at the root, by way of the request; returns the balance."""
    account = get_current_request().root.data["account"]
    account.balance += amount
    return int(account.balance)


#: The requests that have come to their end, where the application notes them.
finished: list[Any] = []


def finish_badly() -> None:
    """Leave something to be done at the end that fails."""
    get_current_request().add_finished_callback(sample.fail)


def write_to_more() -> None:
    """Write to the database that is named so."""
    root = get_connection(get_current_request(), "more").root()
    root["written"] = str(local.get_job().id)


class FinishedRequest(Request):
    """Notes its end."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.add_finished_callback(finished.append)


def is_of_the_job() -> bool:
    """Whether the request has the connection and the transaction of the job, also a subrequest."""
    request = get_current_request()
    return (
        get_connection(request) is local.get_connection()
        and request.tm.get() is transaction.get()
        and request.tm is get_connection(request).transaction_manager
    )


def put_another() -> str:
    """Put a job by the request of this one; returns its id."""
    job = get_current_request().jobs.put(note)
    return str(job.id)


# The views


def home(request: Any) -> Response:
    return Response(f"Hello {request.authenticated_userid}")


def log_in(request: Any) -> Response:
    headers = remember(request, request.params["who"])
    return HTTPFound(request.route_path("home"), headers=headers)


def forbidden(request: Any) -> Response:
    return HTTPFound(request.route_path("login", _query={"came_from": request.path}))


def put(request: Any) -> Response:
    """Pay into the account, put a job, then do what is asked for."""
    root = get_connection(request).root()
    root["account"].balance += 1
    about = None if "about" in request.params else root["office"]
    run_as = request.params.get("run_as")
    job = request.jobs.put(note, title="A note", about=about, run_as=run_as)
    response = request.jobs.accepted(job)
    match request.params.get("then"):
        case "raise":
            raise RuntimeError("the request fails")
        case "answer":
            raise HTTPServerError
        case "doom":
            request.tm.doom()
        case "conflict" if conflicts[0]:
            conflicts[0] -= 1
            raise ConflictError(object=root["account"])
    before_commit(request)
    return response


def own(request: Any) -> dict[str, Any]:
    """The ids of the own jobs, and the title of each that is asked for."""
    asked = {name: request.jobs.get(name) for name in request.params.getall("id")}
    return {
        "own": [job.id for job in request.jobs.list_own()],
        "titles": {name: None if job is None else job.title for name, job in asked.items()},
    }


#: How many conflicts are left for `put`.
conflicts = [0]


def before_commit(request: Any) -> None:
    """What a test lets happen between a put and its commit."""


def veto(request: Any, response: Any) -> bool:
    """Commits nothing that was accepted."""
    return bool(response.status_int == 202)


def never(request: Any) -> bool:
    """Lets pyramid_tm have no request."""
    return False


class SessionPolicy(Policy):
    """Users by the session."""

    def __init__(self) -> None:
        super().__init__()
        self._session = SessionAuthenticationHelper()

    def authenticated_userid(self, request: Any) -> Any:
        return self._session.authenticated_userid(request)

    def remember(self, request: Any, userid: str, **said: Any) -> Any:
        return self._session.remember(request, userid, **said)


class HeaderPolicy(Policy):
    """Users whom a proxy names in a header, and whom nobody can log in."""

    def authenticated_userid(self, request: Any) -> Any:
        return request.headers.get("X-User")

    def remember(self, request: Any, userid: str, **said: Any) -> Any:
        return []


def name_in_header(request: Any, userid: str) -> None:
    request.headers["X-User"] = userid


def in_layout(request: Any, inside: Any) -> str:
    return f"<html><!-- {request.authenticated_userid} -->{inside.head}{inside.body}</html>"


def make_app(global_config: Any = None, **settings: Any) -> Any:
    """The WSGI application; settings that begin with ``test.`` say how it differs."""
    with Configurator(settings=settings, root_factory=Root) as config:
        config.include("pyramid_retry")
        config.include("zodbjobs.pyramid")
        config.include("pyramid_tm")
        config.include("pyramid_zodbconn")
        if "test.headers" in settings:
            config.set_security_policy(HeaderPolicy())
        elif "test.session" in settings:
            config.set_session_factory(SignedCookieSessionFactory("secret"))
            config.set_security_policy(SessionPolicy())
        else:
            config.set_security_policy(Policy())
        if "test.login" in settings:
            config.set_jobs_login(name_in_header)
        config.set_csrf_storage_policy(CookieCSRFStoragePolicy())
        config.set_default_csrf_options(require_csrf="test.csrf" in settings)
        for name, view in (("login", log_in), ("put", put)):
            config.add_route(name, f"/{name}")
            config.add_view(view, route_name=name)
        config.add_route("home", "/home" if "test.prefix" in settings else "/")
        config.add_view(home, route_name="home")
        config.add_route("own", "/own")
        config.add_view(own, route_name="own", renderer="json")
        config.add_forbidden_view(forbidden)
        if "test.finished" in settings:
            config.set_request_factory(FinishedRequest)

        def add_pages(config: Any) -> None:
            config.add_jobs_pages(
                settings.get("test.prefix", "/jobs"),
                permission="manage",
                layout=in_layout if "test.layout" in settings else None,
            )

        config.include(add_pages, route_prefix=settings.get("test.below"))
    return config.make_wsgi_app()


def make_app_without_jobs(global_config: Any = None, **settings: Any) -> Any:
    """Another application of the same database."""
    with Configurator(settings=settings) as config:
        config.include("pyramid_zodbconn")
    return config.make_wsgi_app()
