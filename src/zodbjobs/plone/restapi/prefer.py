"""Prefer: what a client says that it would like best, by RFC 7240."""

from __future__ import annotations

import re
from typing import Any

RESPOND_ASYNC = "respond-async"

# A preference ends at a comma, its name at its value or its parameters. What is in quotes doesn't
# count, also where these don't end.
_PREFERENCES = re.compile(r'(?:[^,"]|"(?:[^"\\]|\\.)*(?:"|$))+')
_NAME = re.compile(r"\s*([^\s=;]+)\s*(?:=\s*([^\s;]*))?\s*(?:;|$)")


def wants_async(request: Any) -> bool:
    """Whether a request would like to be answered before its work is done."""
    header = request.getHeader("Prefer") or ""
    return any(map(_is_respond_async, _PREFERENCES.findall(header)))


def _is_respond_async(preference: str) -> bool:
    found = _NAME.match(preference)
    return (
        found is not None
        and found[1].lower() == RESPOND_ASYNC
        and found[2] in (None, "", '""')  # it has no value, so one with a value is another one
    )


def applied(response: Any) -> None:
    """Tell that the preference was followed."""
    response.setHeader("Preference-Applied", RESPOND_ASYNC)
