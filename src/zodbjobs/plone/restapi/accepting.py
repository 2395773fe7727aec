"""Accepting: jobs are put for a request, which is answered before they are done."""

from __future__ import annotations

from typing import Any

from zodbjobs import Job, serial
from zodbjobs.plone.restapi import prefer, work
from zodbjobs.plone.restapi.asking import Asking
from zodbjobs.plone.restapi.protection import allow_writing
from zodbjobs.plone.restapi.serializer import details
from zodbjobs.zope import accepted, put


def accept(service: Any, title: str, jobs: list[Job]) -> dict[str, Any]:
    """Put jobs, one after the other under one that tells how far they are, as the current user.

    Answers 202 with the place of that one, which is committed with the request. A single job is
    put by itself.
    """
    allow_writing(service.request)
    whole = (
        jobs[0] if len(jobs) == 1 else serial(*jobs, postprocess=work.report, lists_parts=False)
    )
    job = put(whole, title=title, about=service.context)
    prefer.applied(service.request.response)
    return answer_accepted(service.request, job)


def answer_accepted(request: Any, job: Any) -> dict[str, Any]:
    """202 with the place of a job, once that is committed, and what it is by now."""
    asking = Asking(request)
    accepted(request, job)
    return details(asking, job)
