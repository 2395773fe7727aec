"""The run context of Pyramid: a request in the worker like the one that a job was put in.

What is kept of a request: the name of its application, its address, its language, and who asked.
Never its cookies, its headers, its parameters or its body.
"""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from http.cookies import SimpleCookie
from typing import Any

from pyramid.interfaces import IRequestFactory
from pyramid.request import Request
from pyramid.scripting import prepare
from pyramid.security import remember
from pyramid.threadlocal import RequestContext, get_current_request, manager
from pyramid_zodbconn import get_connection

from zodbjobs import local
from zodbjobs.context import registry as pairs
from zodbjobs.errors import BadArgument, MissingCode, UserGone
from zodbjobs.pyramid import applications

#: The name of the pair.
NAME = "pyramid"

#: Makes a request of the worker one of the user of that id.
Login = Callable[[Any, Any], None]

# What of the environment of a request makes its address.
_ADDRESS = ("wsgi.url_scheme", "HTTP_HOST", "SCRIPT_NAME", "HTTP_X_VHM_ROOT")

# Where the registry of an application has its own Login.
_LOGIN = "zodbjobs.login"

# What is kept of a request.
Stored = dict[str, Any]

_instead: ContextVar[Stored | None] = ContextVar("zodbjobs.pyramid", default=None)


def register() -> None:
    """Have jobs remember the request that they are put in."""
    pairs.register(NAME, _capture, _restored)


def set_jobs_login(config: Any, login: Login) -> None:
    """Have ``login(request, userid)`` make a request in a worker one of the user who put the job.

    A directive: ``config.set_jobs_login(login)``. Without it the request has the cookies that
    ``pyramid.security.remember`` gives to who logs in, and REMOTE_USER. It is called in the
    attempt's transaction, before the extensions of the request are there, and only for jobs that
    somebody has put who is known. If `request.authenticated_userid` isn't `userid` then, the job
    fails without a retry.
    """

    def register() -> None:
        config.registry[_LOGIN] = config.maybe_dotted(login)

    config.action(_LOGIN, register)


@contextlib.contextmanager
def captured_of(request: Any, run_as: Any = None) -> Iterator[None]:
    """Let the run contexts that are captured in it be of that request, also where it isn't the
    current one, and of the user `run_as` if that is given.

    Raises BadArgument for a user as whom a worker couldn't run a job.
    """
    stored = _stored(request, request.authenticated_userid if run_as is None else run_as)
    if run_as is not None:
        _check_run_as(request, stored)
    token = _instead.set(stored)
    try:
        yield
    finally:
        _instead.reset(token)


def _check_run_as(request: Any, stored: Stored) -> None:
    """Do what a worker would do, in the transaction of the request. What is to be done at the end
    is done at that of the request: before, it might end the transaction.
    """
    userid = stored["userid"]
    tried = _request(request.registry, stored, get_connection(request))
    _log_in(tried, userid)
    with _prepared(tried, request.registry):
        _finish_with(request, tried)
        try:
            _check_user(tried, userid)
        except UserGone as error:
            raise BadArgument(
                f"a job can't run as {userid!r}: the security policy doesn't know this user in a "
                "request as the worker makes it; check the id, or say how one is logged in there "
                "by config.set_jobs_login()"
            ) from error


def _finish_with(request: Any, tried: Any) -> None:
    """Let the finished callbacks of one request be called at the end of another."""
    callbacks, tried.finished_callbacks = tried.finished_callbacks or (), deque()
    for callback in callbacks:
        request.add_finished_callback(lambda _, callback=callback: callback(tried))


def _capture() -> Stored | None:
    instead = _instead.get()
    if instead is not None:
        return instead
    request = get_current_request()
    if request is None or not applications.has(request.registry):
        return None
    return _stored(request, request.authenticated_userid)


def _stored(request: Any, userid: Any) -> Stored:
    environ = request.environ
    address = {name: environ[name] for name in _ADDRESS if environ.get(name)}
    address.setdefault("HTTP_HOST", request.host)
    return {
        "application": applications.name_of(request.registry),
        "address": tuple(address.items()),
        "locale": request.locale_name,
        "userid": _plain(userid),
    }


def _plain(userid: Any) -> str | int | None:
    """The id, as something that is stored without its class."""
    return userid if userid is None or type(userid) in (str, int) else str(userid)


@contextlib.contextmanager
def _restored(value: Stored) -> Iterator[None]:
    connection = local.get_connection()
    found = applications.find(value["application"], connection.db())
    if found is None:
        named = f" named {value['application']!r}" if value["application"] else ""
        raise MissingCode(
            f"the job was put by a Pyramid application{named}, which isn't in this process; it "
            "needs a worker started with --paste, then retry the job"
        )
    with _entered(found, value, connection):
        yield


@contextlib.contextmanager
def _entered(registry: Any, value: Stored, connection: Any) -> Iterator[None]:
    """In a request of the application for the user of a job. Raises UserGone."""
    request = _request(registry, value, connection)
    _log_in(request, value["userid"])
    with _prepared(request, registry):
        _check_user(request, value["userid"])
        yield


def _request(registry: Any, value: Stored, connection: Any) -> Any:
    """A request for the first page of the application, on the job's connection."""
    make = registry.queryUtility(IRequestFactory, default=Request)
    environ = {
        **dict(value["address"]),
        "REMOTE_ADDR": "127.0.0.1",
        # As pyramid_tm leaves word of it, so that nothing begins another transaction.
        "tm.active": True,
        "tm.manager": connection.transaction_manager,
    }
    request = make.blank("/", environ)
    request.registry = registry
    request.locale_name = value["locale"]
    request._primary_zodb_conn = connection  # noqa: SLF001 - where pyramid_zodbconn looks for it
    return request


def _log_in(request: Any, userid: Any) -> None:
    if userid is None:
        return
    login = request.registry.get(_LOGIN, _remember)
    with RequestContext(request):
        login(request, userid)


def _remember(request: Any, userid: Any) -> None:
    """Give the request what the browser of a user has who logs in now."""
    cookies = SimpleCookie()
    for name, text in remember(request, userid):
        if name.lower() == "set-cookie":
            cookies.load(text)
    for name, morsel in cookies.items():
        request.cookies[name] = morsel.value
    request.environ["REMOTE_USER"] = str(userid)


@contextlib.contextmanager
def _prepared(request: Any, registry: Any) -> Iterator[None]:
    """The request as the current one, with its root and its extensions."""
    depth = len(manager.stack)
    try:
        with prepare(request, registry) as prepared:
            request.root = prepared["root"]
            yield
    finally:
        # prepare leaves the request there, as it is, if the root can't be made.
        if len(manager.stack) > depth:
            request._process_finished_callbacks()  # noqa: SLF001 - as prepare does it
        del manager.stack[depth:]


def _check_user(request: Any, userid: Any) -> None:
    if userid is None:
        return
    found = request.authenticated_userid
    if found is None or str(found) != str(userid):
        raise UserGone(
            f"the job was put by {userid!r}, and the security policy of the application knows "
            "nobody of that id in the worker; let this user be known again, or say how one is "
            "logged in there by config.set_jobs_login(), then retry the job"
        )
