"""Puts a job in a request of Plone."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from zope.component import queryMultiAdapter
from zope.component.hooks import getSite
from zope.globalrequest import getRequest

from zodbjobs import ProgressableJob, get_queue
from zodbjobs.errors import BadArgument
from zodbjobs.plone import protection
from zodbjobs.plone.views import call_view
from zodbjobs.stored.job import Job
from zodbjobs.zope import put as put_in_zope

#: The quota of what writes to the catalog.
CATALOG = "catalog"


def put(
    function: Callable[..., Any],
    context: Any,
    /,
    *args: Any,
    queue: str = "",
    title: str | None = None,
    unique: str | None = None,
    quota: str | None = CATALOG,
    about: Any = None,
    owner: str | None = None,
    realm: str | None = None,
    run_as: str | None = None,
    **kwargs: Any,
) -> Job:
    """Put a job that calls `function(context, *args, **kwargs)`, as the current user, in the
    current site, in the language of the request.

    It joins the transaction of the request, which commits. `quota`: the name of the queue's quota
    that it counts for. By default that is "catalog", which has one slot, and is made by the first
    put: jobs that write to the catalog side by side conflict, and run again and again. None for a
    job that doesn't write there; any other quota must be there. `about` is `context` if left out.
    The others, and what is raised, are those of `zodbjobs.zope.put`.

    If plone.protect aborts the request, for it writes without a valid token, an error is logged.
    """
    job = ProgressableJob(function, context, *args, **kwargs)
    if quota is not None:
        see_to_quota(queue, quota)
        job.quota_names = [quota]
    put_in_zope(
        job,
        queue=queue,
        title=title,
        unique=unique,
        about=context if about is None else about,
        owner=owner,
        realm=realm,
        run_as=run_as,
    )
    protection.watch(job)
    return job


def put_view(
    context: Any, name: str, form: Mapping[str, Any] | None = None, /, **options: Any
) -> Job:
    """Put a job that calls the view `name` of `context`, in a request of its own with that `form`.

    The view is looked up in the job, by its name and its permission: the user needs that when the
    job runs. Its request is a POST with a valid token. What it returns is the result of the job;
    bytes are a file that it leaves, and a status from 400 on is an error. `options` are the others
    of `put`. Raises BadArgument if there is no such view, and what `put` raises.
    """
    if queryMultiAdapter((context, getRequest()), name=name) is None:
        raise BadArgument(
            f"{context!r} has no view {name!r}; check the name, and for which content and layer "
            "it is registered"
        )
    return put(call_view, context, name, dict(form or {}), **options)


def see_to_quota(queue: str, name: str) -> None:
    """Make the quota of the catalog, unless the queue has it; any other must be there."""
    site = getSite()
    if site is None or name != CATALOG:
        return
    quotas = get_queue(site, queue).quotas
    if quotas.rule(CATALOG) is None:
        quotas.create(CATALOG, 1)
