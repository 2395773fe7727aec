"""What all pages share: the style, the script, the icon."""

from __future__ import annotations

from zodbjobs.web import responses
from zodbjobs.web.responses import Response
from zodbjobs.web.static_files import static_files
from zodbjobs.web.visit import NotFound, Visit

_YEAR = 365 * 24 * 3600


def static(visit: Visit) -> Response:
    """A file by its name; one whose URL names its version may be kept for ever."""
    found = static_files().get(visit.parts["file"])
    if found is None:
        raise NotFound
    etag = f'"{found.version}"'
    is_versioned = visit.given.get("v") == found.version
    cache = f"private, max-age={_YEAR}, immutable" if is_versioned else responses.REVALIDATED
    if found.version in visit.request.if_none_match:
        return responses.not_modified(etag, cache)
    response = responses.data(found.kind, cache, found.body)
    response.headers["ETag"] = etag
    return response
