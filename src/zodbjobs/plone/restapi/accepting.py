"""Accepting: jobs are put for a request, which is answered before they are done."""

from __future__ import annotations

from typing import Any

import transaction
from AccessControl import getSecurityManager

from zodbjobs import Job, serial
from zodbjobs.errors import Draining, NotInstalled, ZodbjobsError
from zodbjobs.plone import CATALOG, protection, putting
from zodbjobs.plone.restapi import prefer, work
from zodbjobs.plone.restapi.allowing import allow_writing
from zodbjobs.plone.restapi.asking import Asking
from zodbjobs.plone.restapi.serializer import details
from zodbjobs.zope import owner_of, put
from zodbjobs.zope.put import promise


def is_wanted(service: Any) -> bool:
    """Whether a request is to be done in jobs. Not for nobody in particular, whatever they would
    like: there would be nobody who could ask for the job.
    """
    user = getSecurityManager().getUser()
    return prefer.wants_async(service.request) and owner_of(user) is not None


class ServiceUnavailable(ZodbjobsError):
    """No jobs are taken now. By this name it is answered with 503."""


def accept(service: Any, title: str, jobs: list[Job]) -> dict[str, Any]:
    """Put jobs, one after the other under one that tells how far they are, as the current user.

    Answers 202 with the place of that one, which is committed with the request. A single job is
    put by itself. Each counts for the quota of the catalog. Raises ServiceUnavailable.
    """
    try:
        return _accept(service, title, jobs)
    except (Draining, NotInstalled) as error:
        raise ServiceUnavailable(str(error)) from error


def _accept(service: Any, title: str, jobs: list[Job]) -> dict[str, Any]:
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
    response = service.request.response
    prefer.applied(response)
    transaction.get().addAfterAbortHook(prefer.not_applied, args=(response,))
    return answer


def answer_accepted(request: Any, job: Job) -> dict[str, Any]:
    """202 with the place of a job, once that is committed, and what it is by now."""
    answer = details(Asking(request), job)
    promise(request.response, job, answer["@id"], 202)
    return answer
