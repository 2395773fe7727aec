"""Body: what a request brings, as JSON."""

from __future__ import annotations

from typing import Any

from plone.restapi.deserializer import json_body
from plone.restapi.exceptions import DeserializationError
from zExceptions import BadRequest


def body_of(request: Any) -> dict[str, Any]:
    """The object that a request brings; BadRequest if that is none."""
    try:
        found: dict[str, Any] = json_body(request)
    except DeserializationError as error:
        raise BadRequest(str(error)) from None
    return found
