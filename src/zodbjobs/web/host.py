"""A host of its own for the pages: opens a connection for each request, and commits.

`zodbjobs web` serves it. Frameworks have hosts of their own; this one is the smallest that there
can be, and shows what one has to do.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import logging
from collections.abc import Callable, Iterable
from typing import Any

import transaction
from transaction.interfaces import TransientError
from webob import Request
from ZODB.POSException import ReadOnlyError

from zodbjobs import defaults
from zodbjobs.web import responses
from zodbjobs.web.app import Application, make_app
from zodbjobs.web.responses import Response
from zodbjobs.web.rights import ACTIONS, Rights

_log = logging.getLogger(__name__)

# Attempts at a request whose commit conflicts.
_ATTEMPTS = 5

# Bytes of a form; there are no larger ones.
_MOST_BODY = 1_000_000

# Where the connection of a request is kept.
_CONNECTION = "zodbjobs.web.connection"

#: Who asks, by a request; None if nobody in particular does.
WhoAsks = Callable[[Request], str | None]


def by_password(password: str) -> WhoAsks:
    """Whoever knows the password (HTTP Basic), by the name that they give."""
    wanted = hashlib.sha256(password.encode("utf-8")).digest()

    def who(request: Request) -> str | None:
        scheme, _, given = request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() != "basic":
            return None
        try:
            name, _, said = base64.b64decode(given, validate=True).decode("utf-8").partition(":")
        except (binascii.Error, ValueError):
            return None
        is_right = hmac.compare_digest(hashlib.sha256(said.encode("utf-8")).digest(), wanted)
        return _checked(name or "operator") if is_right else None

    return who


def by_header(header: str, proxies: Iterable[str]) -> WhoAsks:
    """Whom a proxy names in a header, if the request comes from one of these addresses."""
    trusted = frozenset(proxies)

    def who(request: Request) -> str | None:
        if request.environ.get("REMOTE_ADDR") not in trusted:
            return None
        return _checked(request.headers.get(header, "").strip())

    return who


def _checked(name: str) -> str | None:
    """The name, unless it can't be that of an owner, nor stand in the audit."""
    return name if 0 < len(name) <= defaults.LABEL_CHARACTERS else None


def make_host(
    db: Any, who_asks: WhoAsks, *, asks_password: bool, metrics_token: str | None = None
) -> Application:
    """A WSGI application with all pages of a database, for operators who may do everything.

    `metrics_token`: as in `make_app`.
    """

    def rights_of(request: Request) -> Rights:
        return Rights(who_asks(request), overall=ACTIONS)

    def login(request: Request) -> Response:
        response = responses.data("text/plain", body=b"Log in first.\n")
        response.status = 401 if asks_password else 403
        if asks_password:
            response.headers["WWW-Authenticate"] = 'Basic realm="zodbjobs", charset="UTF-8"'
        return response

    app = make_app(
        lambda request: request.environ[_CONNECTION],
        rights_of,
        login=login,
        metrics_token=metrics_token,
    )

    def host(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        request = Request(environ)
        answer = _answer(db, app, request)
        return answer(environ, start_response)

    return host


def _answer(db: Any, app: Application, request: Request) -> Response:
    if (request.content_length or 0) > _MOST_BODY:
        return _plain(413, "That is too long.")
    request.make_body_seekable()
    try:
        for number in range(1, _ATTEMPTS + 1):
            try:
                return _once(db, app, request)
            except TransientError:
                if number == _ATTEMPTS:
                    raise
                request.body_file_raw.seek(0)
    except ReadOnlyError:
        return _plain(409, "The database is open read-only here, so nothing was changed.")
    except TransientError as error:
        _log.warning("a request could not be answered: %s: %s", type(error).__name__, error)
        response = _plain(503, "The database can't be reached, or others write all the time.")
        response.headers["Retry-After"] = "5"
        return response
    except Exception:
        _log.exception("a request could not be answered: %s %s", request.method, request.path_info)
        return _plain(500, "This could not be done; the log of `zodbjobs web` says why.")
    raise AssertionError("unreachable")


def _once(db: Any, app: Application, request: Request) -> Response:
    """Answer in a transaction of its own; commit what a POST has done."""
    manager = transaction.TransactionManager()
    connection = db.open(manager)
    request.environ[_CONNECTION] = connection
    try:
        status, headers, body = request.call_application(app)
        response = Response(status=status, headerlist=headers, app_iter=body)
        if request.method == "POST" and response.status_int < 400:
            manager.commit()
        return response
    finally:
        manager.abort()
        connection.close()


def _plain(status: int, text: str) -> Response:
    response = responses.data("text/plain", body=f"{text}\n".encode())
    response.status = status
    return response
