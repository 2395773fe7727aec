"""Puts a job in a request of Zope, and answers the request."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import transaction
from Acquisition import aq_base
from zope.component.hooks import getSite
from zope.globalrequest import getRequest

from zodbjobs.context import capture
from zodbjobs.errors import NotStored
from zodbjobs.manager import get_job_id
from zodbjobs.stored.job import Job, ProgressableJob
from zodbjobs.stored.lifecycle.root import get_queue
from zodbjobs.zope import sites, users


def put(
    function: Callable[..., Any] | Job,
    /,
    *args: Any,
    queue: str = "",
    title: str | None = None,
    unique: str | None = None,
    about: Any = None,
    owner: str | None = None,
    realm: str | None = None,
    run_as: str | None = None,
    **kwargs: Any,
) -> Job:
    """Put a job that calls `function(*args, **kwargs)`, as the current user, in the current site.

    In the connection and the transaction of the request: it is committed with that, or was never
    there. `function` may be a job. `owner` is the current user if left out, `realm` the current
    site. `run_as`: the id of another user of the site, or SYSTEM, who may do everything; for
    trusted code. Raises BadArgument for what can't be stored, NotInstalled if there are no queues,
    NotStored outside of a request and a site.
    """
    job = function if isinstance(function, Job) else ProgressableJob(function, *args, **kwargs)
    site = getSite()
    if run_as is not None:
        stored = capture()
        stored["zope"] = {**stored.get("zope", {}), "user": users.named(run_as, site)}
        job.context = stored
    into = get_queue(_connection(site), queue)
    return into.put(
        job,
        unique=unique,
        owner=users.current_owner() if owner is None else owner,
        realm=sites.realm_of(site) if realm is None else realm,
        about=about,
        title=title,
    )


def _connection(site: Any) -> Any:
    """The connection of the site, or of the application that the request has come by."""
    request = getRequest()
    parents = [] if request is None else request.get("PARENTS") or []
    for place in (site, *reversed(parents)):
        jar = getattr(aq_base(place), "_p_jar", None)
        if jar is not None:
            return jar
    raise NotStored(
        "there is no site and no request here, so it isn't known into which database the job is "
        "to be put; call zope.component.hooks.setSite(site) first"
    )


def accepted(request: Any, job: Job) -> str:
    """Answer a request with 202 and the address of the page of a job that was put in it.

    Returns the body, JSON. The publication sends it once the request is committed. If the
    transaction is aborted instead, the answer is 500: there is no job then.
    """
    response = request.response
    url = f"{_place(request)}/@@jobs/jobs/{get_job_id(job)}"
    response.setStatus(202)
    response.setHeader("Location", url)
    response.setHeader("Content-Type", "application/json")
    response.setHeader("Cache-Control", "no-store")

    def tell_that_there_is_none() -> None:
        if response.getStatus() != 202:
            return  # it tells of an error already
        response.setStatus(500)
        response.headers.pop("location", None)
        response.setBody(
            json.dumps({"error": "the request was not committed, so there is no job"}), lock=True
        )

    transaction.get().addAfterAbortHook(tell_that_there_is_none)
    return json.dumps({"@id": url, "id": get_job_id(job), "title": job.title})


def _place(request: Any) -> str:
    """The address of the current site, or of the application."""
    site = getSite()
    found: str = request["BASE1"] if site is None else site.absolute_url()
    return found
