"""Whether a POST was meant: where it comes from, and a token that only our pages have.

The token is an HMAC of the user with a secret that is stored with the queues. So no session is
needed, and a GET writes nothing.
"""

from __future__ import annotations

import hashlib
import hmac
from typing import Any
from urllib.parse import urlsplit

from webob import Request

from zodbjobs.stored.lifecycle.root import get_secret
from zodbjobs.web.rights import Rights

#: The name of the field of a form that has the token.
FIELD = "token"


def token_for(connection: Any, rights: Rights) -> str:
    """The token of a user; the same as long as the secret is."""
    # Lengths keep a user and a realm from being taken for another pair.
    parts = [(part or "").encode("utf-8") for part in (rights.principal, rights.realm)]
    said = b"".join(b"%d:%s" % (len(part), part) for part in parts)
    secret = get_secret(connection)
    return hmac.new(secret, b"zodbjobs.web token " + said, hashlib.sha256).hexdigest()


def is_meant(request: Request, connection: Any, rights: Rights) -> bool:
    """Whether a POST comes from a page of this site, and carries the token of who asks."""
    try:
        given = request.POST.get(FIELD, "")
    except (ValueError, DeprecationWarning):  # no form, or none in UTF-8, at which WebOb warns
        return False
    if not isinstance(given, str) or not _is_from_here(request):
        return False
    wanted = token_for(connection, rights)
    return hmac.compare_digest(given.encode("utf-8"), wanted.encode("utf-8"))


def _is_from_here(request: Request) -> bool:
    """By what the browser says; a client that says nothing has to have the token, that is all."""
    site = request.headers.get("Sec-Fetch-Site")
    if site is not None:
        return bool(site == "same-origin")
    origin = request.headers.get("Origin")
    if origin is None:
        return True
    try:
        # The scheme isn't compared: behind a proxy that ends TLS it is another one here.
        return bool(urlsplit(origin).netloc == request.host)
    except ValueError:  # no URL
        return False
