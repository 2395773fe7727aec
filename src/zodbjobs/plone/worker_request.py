"""The request of a job in Plone."""

from __future__ import annotations

from typing import Any

from plone.protect.interfaces import IDisableCSRFProtection
from zope.interface import alsoProvides

from zodbjobs.runtime.context import current


def allow_writing(site: Any, event: Any) -> None:
    """Let the request of a job write without a token: no browser has sent it.

    Called as a site is traversed to; the requests of browsers stay as they are.
    """
    if current.get(None) is not None:
        alsoProvides(event.request, IDisableCSRFProtection)
