"""Prefer: what a client says that it would like best, by RFC 7240."""

from __future__ import annotations

import re
from typing import Any

RESPOND_ASYNC = "respond-async"

# What is in quotes, also where these don't end. It gives nothing back that it has taken: else the
# header of a stranger could take minutes.
_QUOTED = re.compile(r'"(?:[^"\\]|\\.)*+\\?"?')


def wants_async(request: Any) -> bool:
    """Whether a request would like to be answered before its work is done."""
    header = request.getHeader("Prefer") or ""
    if RESPOND_ASYNC not in header.lower():
        return False
    plain = _QUOTED.sub(lambda found: "" if found[0] == '""' else "quoted", header)
    return any(map(_is_respond_async, plain.split(",")))


def _is_respond_async(preference: str) -> bool:
    name, _, value = preference.partition(";")[0].partition("=")
    # It has no value, so one with a value is another one.
    return name.strip().lower() == RESPOND_ASYNC and not value.strip()


def applied(response: Any) -> None:
    """Tell that the preference was followed."""
    response.setHeader("Preference-Applied", RESPOND_ASYNC)


def not_applied(response: Any) -> None:
    """Take that back, for there was an error."""
    response.headers.pop("preference-applied", None)
