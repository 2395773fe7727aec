"""Accepting: jobs are put for a request, which is answered before they are done."""

from __future__ import annotations

from typing import Any

import transaction

from zodbjobs import Job, serial
from zodbjobs.plone import CATALOG, protection, putting
from zodbjobs.plone.restapi import prefer, work
from zodbjobs.plone.restapi.allowing import allow_writing
from zodbjobs.plone.restapi.asking import Asking
from zodbjobs.plone.restapi.serializer import details
from zodbjobs.zope import accepted, put


def accept(service: Any, title: str, jobs: list[Job]) -> dict[str, Any]:
    """Put jobs, one after the other under one that tells how far they are, as the current user.

    Answers 202 with the place of that one, which is committed with the request. A single job is
    put by itself. Each counts for the quota of the catalog.
    """
    allow_writing(service.request)
    putting.see_to_quota("", CATALOG)
    for job in jobs:
        job.quota_names = [CATALOG]
    whole = (
        jobs[0] if len(jobs) == 1 else serial(*jobs, postprocess=work.report, lists_parts=False)
    )
    job = put(whole, title=title, about=service.context)
    protection.watch(job)
    answer = answer_accepted(service.request, job)
    prefer.applied(service.request.response)
    return answer


def answer_accepted(request: Any, job: Job) -> dict[str, Any]:
    """202 with the place of a job, once that is committed, and what it is by now."""
    asking, response = Asking(request), request.response
    accepted(request, job)
    answer = details(asking, job)
    response.setHeader("Location", answer["@id"])

    def take_back() -> None:
        for name in ("location", "preference-applied"):
            response.headers.pop(name, None)

    transaction.get().addAfterAbortHook(take_back)
    return answer
