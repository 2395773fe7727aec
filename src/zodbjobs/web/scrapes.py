"""Scrapes: what Prometheus is answered, which has a token instead of a login."""

from __future__ import annotations

import functools
import hashlib
import hmac
from types import ModuleType
from typing import Any

from webob import Request

from zodbjobs.errors import BadArgument
from zodbjobs.web import responses
from zodbjobs.web.responses import Response

#: Where the metrics are, below the pages.
PATH = "/metrics"

# Characters that a token has at least.
_SHORTEST_TOKEN = 16


class Scrapes:
    """The metrics of one application. `token`: who sends it as a bearer token may read
    them, and nothing else; without it only those may who may see all jobs.

    Raises BadArgument for a token that is short, or can't stand in a header; with a token, also
    ImportError if the extra `metrics` isn't installed.
    """

    def __init__(self, token: str | None = None) -> None:
        if token is not None:
            _check(token)
            _module()
        self._token = None if token is None else _digest(token)

    def has_token(self, request: Request) -> bool:
        """Whether the metrics are asked for with the token."""
        if self._token is None or request.path_info.rstrip("/") != PATH:
            return False
        scheme, _, given = request.headers.get("Authorization", "").partition(" ")
        is_read = request.method in ("GET", "HEAD")
        return is_read and scheme.lower() == "bearer" and _is_same(given.strip(), self._token)

    def answer(self, request: Request, connection: Any) -> Response:
        """The metrics as the current transaction has them; 501 without the extra `metrics`."""
        try:
            metrics = _module()
        except ImportError as error:
            response = responses.data("text/plain", body=f"{error}\n".encode())
            response.status = 501
            return response
        accept = request.headers.get("Accept", "")
        body, kind = metrics.text_of(self._reader.read(connection), accept)
        response = responses.data("text/plain", body=body)
        response.headers["Content-Type"] = kind
        return response

    @functools.cached_property
    def _reader(self) -> Any:
        """Kept, as is what it has counted if that took long."""
        return _module().Reader()


def _module() -> ModuleType:
    """`zodbjobs.metrics`; raises ImportError, which names the cure."""
    from zodbjobs import metrics

    return metrics


def _check(token: str) -> None:
    if len(token) < _SHORTEST_TOKEN or not token.isascii() or not token.isprintable():
        raise BadArgument(
            f"the token for metrics must have {_SHORTEST_TOKEN} characters of ASCII or more; "
            "`python -c 'import secrets; print(secrets.token_urlsafe())'` makes one"
        )


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode("utf-8", "replace")).digest()


def _is_same(given: str, wanted: bytes) -> bool:
    return hmac.compare_digest(_digest(given), wanted)
