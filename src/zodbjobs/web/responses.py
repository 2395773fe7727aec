"""Responses: the headers that all of them have, and the few kinds that there are."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from typing import Any
from urllib.parse import urlsplit

import webob

#: What a page may load: our style, our script, and nothing from anywhere else.
PAGE_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
    "connect-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
)

#: What is sent to be saved may do nothing at all, if a browser shows it nevertheless.
DATA_POLICY = "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; sandbox"

#: A browser may keep it, but has to ask each time whether it is still true, and so whether who
#: asks still has the right.
REVALIDATED = "private, no-cache"

#: For what is of no use later, or for one person's eyes.
NOT_KEPT = "private, no-store"


#: The headers of a request that a page depends on.
VARY = "Accept-Language, Cookie, Authorization"


class Response(webob.Response):
    """A response whose Location stays a path.

    WebOb would put scheme and host before it, as this process sees them; behind a proxy these may
    be others than those that the browser knows.
    """

    def __call__(self, environ: Any, start_response: Any) -> Iterable[bytes]:
        """Answer a WSGI request."""
        start_response(self.status, self.headerlist)
        if environ["REQUEST_METHOD"] == "HEAD":
            close: Callable[[], None] | None = getattr(self._app_iter, "close", None)
            if close is not None:
                close()
            return []
        body: Iterable[bytes] = self._app_iter
        return body


def _made(status: int, kind: str, policy: str, cache: str, body: bytes) -> Response:
    response = Response(status=status, content_type=kind, body=body)
    if kind.startswith("text/"):
        response.charset = "utf-8"
    response.headers["Cache-Control"] = cache
    response.headers["Content-Security-Policy"] = policy
    response.headers["X-Content-Type-Options"] = "nosniff"
    response.headers["Referrer-Policy"] = "same-origin"
    response.headers["X-Frame-Options"] = "DENY"
    response.headers["Cross-Origin-Resource-Policy"] = "same-origin"
    return response


def html(
    text: str, *, status: int = 200, cache: str = REVALIDATED, policy: str = PAGE_POLICY
) -> Response:
    """A page; `policy`: what it may load."""
    response = _made(status, "text/html", policy, cache, _encoded(text))
    response.headers["Vary"] = VARY
    return response


def as_json(value: Any, *, status: int = 200, cache: str = NOT_KEPT) -> Response:
    """Plain values as JSON."""
    text = json.dumps(value, ensure_ascii=False, allow_nan=False)
    return _made(status, "application/json", DATA_POLICY, cache, _encoded(text))


def _encoded(text: str) -> bytes:
    """In UTF-8, with a `?` for what can't be, as in a file name that isn't: what jobs say may have
    any text in it.
    """
    return text.encode("utf-8", "replace")


def data(kind: str, cache: str = NOT_KEPT, body: bytes = b"") -> Response:
    """Bytes of a content type."""
    return _made(200, kind, DATA_POLICY, cache, body)


def see_other(path: str) -> Response:
    """A redirect to a path of this site, after a POST."""
    response = _made(303, "text/plain", DATA_POLICY, NOT_KEPT, b"")
    if urlsplit(path).netloc or not path.startswith("/"):
        raise ValueError(f"{path!r} isn't a path of this site")
    response.headers["Location"] = path
    return response


def not_modified(etag: str, cache: str = REVALIDATED) -> Response:
    """What was sent is still true."""
    headers = [("Cache-Control", cache), ("ETag", etag), ("Vary", VARY)]
    return Response(status=304, headerlist=headers, app_iter=[])
