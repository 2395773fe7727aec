"""Puts a job in a request of Zope, and answers the request."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import transaction
from Acquisition import aq_base
from zope.component.hooks import getSite
from zope.globalrequest import getRequest

from zodbjobs import defaults
from zodbjobs.context import capture
from zodbjobs.errors import NotStored
from zodbjobs.manager import get_job_id
from zodbjobs.stored.job import Job, ProgressableJob
from zodbjobs.stored.lifecycle.root import get_queue
from zodbjobs.zope import paths, sites, users


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
        user = users.named(run_as, site)
        with users.captured_as(user):
            stored = capture()
        job.context = {"zope": {"user": user}, **stored}
    into = get_queue(_connection(site), queue)
    return into.put(
        job,
        unique=unique,
        owner=users.current_owner() if owner is None else owner,
        realm=sites.realm_of(site) if realm is None else realm,
        about=about,
        title=title,
        context=run_as is None,
    )


def _connection(site: Any) -> Any:
    """The connection of the application above the site, or that the request has come by; that of
    the site if it alone has queues, being in a database that is mounted.
    """
    request = getRequest()
    parents = [] if request is None else request.get("PARENTS") or []
    places = (paths.top_of(site), *reversed(parents), site)
    found = [getattr(aq_base(place), "_p_jar", None) for place in places]
    jars = [jar for jar in found if jar is not None]
    for jar in jars:
        if defaults.QUEUES_KEY in jar.root():
            return jar
    if jars:
        return jars[0]
    raise NotStored(
        "there is no site and no request here, so it isn't known into which database the job is "
        "to be put; call zope.component.hooks.setSite(site) first"
    )


def accepted(request: Any, job: Job) -> str:
    """Answer a request with 202 and the address of the page of a job that was put in it; a browser
    that wants a page is sent there, with 303.

    Returns the body, JSON. The publication sends it once the request is committed. If the
    transaction is aborted instead, or the put was undone by the rollback of a savepoint, the
    answer is 500: there is no job then.
    """
    url = f"{_place(request)}/@@jobs/jobs/{get_job_id(job)}"
    wants_page = "text/html" in (request.get_header("Accept") or "")
    promise(request.response, job, url, 303 if wants_page else 202)
    return json.dumps({"@id": url, "id": get_job_id(job), "title": job.title})


def promise(response: Any, job: Job, url: str, status: int) -> None:
    """Answer with a status and the address of a job, and with 500 if it isn't committed."""
    response.setStatus(status)
    response.setHeader("Location", url)
    response.setHeader("Content-Type", "application/json")
    response.setHeader("Cache-Control", "no-store")

    def tell_if_there_is_none() -> None:
        if job._p_jar is not None:
            return  # it is committed now, or was before what is aborted now
        if response.getHeader("Location") == url:
            response.headers.pop("location")
        if response.getStatus() != status:
            return  # it tells of an error already
        response.setStatus(500)
        response.setBody(
            json.dumps({"error": "the request was not committed, so there is no job"}), lock=True
        )

    transaction.get().addAfterAbortHook(tell_if_there_is_none)
    # Before the commit, for the rollback of a savepoint tells nobody. Not after it: with a hook
    # there `transaction` aborts each resource after the commit.
    transaction.get().addBeforeCommitHook(tell_if_there_is_none)


def _place(request: Any) -> str:
    """The address of the current site, or of the application."""
    site = getSite()
    found: str = request["BASE1"] if site is None else site.absolute_url()
    return found
