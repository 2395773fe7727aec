"""Serializer: a job as JSON, for who asks."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from plone.uuid.interfaces import IUUID
from Products.CMFCore.utils import getToolByName

from zodbjobs.insights import JobInfo, job_info
from zodbjobs.insights.jobs import unreadable_reason
from zodbjobs.insights.shown import redactor_of
from zodbjobs.interfaces import ACTIVE, SUCCEEDED
from zodbjobs.plone.restapi.asking import Asking
from zodbjobs.plone.restapi.results import error_of, result_of
from zodbjobs.web import sentences


def summary(asking: Asking, job: Any) -> dict[str, Any]:
    """A job as lists show it."""
    info = sentences.with_pause(asking.connection, job_info(job))
    return {
        "@id": asking.url(info.id),
        "title": sentences.title_of(asking.language, info),
        # One that waits for its parts is at work for who has put it.
        "state": "active" if info.status == ACTIVE else info.state,
        "outcome": info.outcome,
        "percent": 100 if info.outcome == SUCCEEDED else sentences.percent_of(info),
        "message": info.message,
        "owner": _user_id(info.owner),
        "created": _iso(info.created),
        "started": _iso(info.started),
        "finished": _iso(info.finished),
        "context": _url_of_context(asking, job),
        "error": _error(asking, job, info),
    }


def details(asking: Asking, job: Any) -> dict[str, Any]:
    """The same with its result, once it has ended, for those who may download it."""
    return {**summary(asking, job), "result": _result(asking, job)}


def _iso(moment: datetime | None) -> str | None:
    return None if moment is None else moment.isoformat()


def _user_id(owner: str | None) -> str | None:
    """The id of a user as Plone tells it, without the user folder that it is in."""
    return None if owner is None else owner.partition("/acl_users/")[2] or owner


def _url_of_context(asking: Asking, job: Any) -> str | None:
    """Where the content is that a job is about; None if there is none that they may view."""
    about = None if unreadable_reason(job) is not None else job.about
    if about is None:
        return None
    if about._p_oid == asking.site._p_oid:
        url: str = asking.site.absolute_url()
        return url
    uid = IUUID(about, None)
    catalog = getToolByName(asking.site, "portal_catalog")
    brains = catalog(UID=uid) if uid else ()
    return brains[0].getURL() if brains else None


def _error(asking: Asking, job: Any, info: JobInfo) -> dict[str, Any] | None:
    """What went wrong, as plone.restapi tells of errors: the traceback for managers only."""
    error = None if unreadable_reason(job) is not None else error_of(job)
    if error is None:
        return (
            None if info.parked is None else {"type": "Parked", "message": _parked(asking, info)}
        )
    if asking.may("view_traceback", job):
        text = redactor_of(job).text(job.failure.render(), "traceback")
        error["traceback"] = text.splitlines()
    return error


def _parked(asking: Asking, info: JobInfo) -> str:
    """Why a job can't go on is for those who can mend it."""
    if "view_traceback" in asking.rights.overall:
        return info.parked or ""
    return sentences.sentence(asking.language, info)


def _result(asking: Asking, job: Any) -> Any:
    if unreadable_reason(job) is not None or job.outcome is None:
        return None
    return result_of(asking.request, job) if asking.may("download", job) else None
