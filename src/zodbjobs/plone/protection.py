"""What plone.protect does to a request that puts a job: a put writes, so it needs a token.

It aborts a GET that has written without a valid token, and goes on, as if nothing had been. The
job isn't there then, and the log says why.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from types import FrameType
from typing import Any

import transaction
from zope.globalrequest import getRequest

log = logging.getLogger("zodbjobs")

_KEY = "zodbjobs.plone.protection"
_MODULE = "plone.protect.auto"


def watch(job: Any) -> None:
    """Have it logged if plone.protect aborts the transaction that `job` was put in."""
    current = transaction.get()
    try:
        jobs: list[Any] = current.data(_KEY)
    except KeyError:
        jobs = []
        current.set_data(_KEY, jobs)
        current.addBeforeAbortHook(_tell, args=(jobs, getRequest()))
    jobs.append(job)


def _tell(jobs: list[Any], request: Any) -> None:
    if not any(frame.f_globals.get("__name__") == _MODULE for frame in _frames()):
        return
    named = ", ".join(job.description for job in jobs[:3]) + (", ..." if len(jobs) > 3 else "")
    asked = "a request" if request is None else f"{request.method} {request.URL}"
    log.error(
        "what %s has put isn't there (%d of %s): plone.protect has aborted its transaction, for a "
        "put writes to the database, and the request had no valid token; let a form POST it with "
        "the field that context/@@authenticator/authenticator makes, or link to "
        "plone.protect.utils.addTokenToUrl(url)",
        asked,
        len(jobs),
        named,
    )


def _frames() -> Iterator[FrameType]:
    frame: FrameType | None = sys._getframe(1)  # noqa: SLF001
    while frame is not None:
        yield frame
        frame = frame.f_back
