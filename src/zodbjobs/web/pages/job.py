"""One job, for those whose it is: how it stands, what it has made, what can be done."""

from __future__ import annotations

import dataclasses
from datetime import datetime
from typing import Any

from zodbjobs.insights import JobInfo, job_details, job_info
from zodbjobs.web import outcome, responses, sentences, words
from zodbjobs.web.inside import Inside, inside_of
from zodbjobs.web.outcome import FileShown
from zodbjobs.web.pages import deeds
from zodbjobs.web.responses import Response
from zodbjobs.web.visit import Visit


@dataclasses.dataclass(frozen=True)
class JobShown:
    """All that the page shows."""

    notice: str | None
    id: str
    title: str
    has_ended: bool
    word: str
    look: str
    sentence: str
    percent: int | None
    message: str | None
    files: tuple[FileShown, ...]
    result: str | None
    traceback: str | None
    owner: str | None
    can_cancel: bool
    can_discard: bool
    begins: datetime | None
    created: datetime | None
    started: datetime | None
    finished: datetime | None
    inside: Inside | None


def job(visit: Visit) -> Response:
    """The page of one job."""
    found = visit.job
    info = sentences.with_pause(visit.connection, job_info(found))
    is_operator = visit.may_in_realm("view")
    language = visit.language
    shown = JobShown(
        notice=visit.notice(),
        id=info.id,
        title=sentences.title_of(language, info),
        has_ended=info.outcome is not None,
        word=words.for_reader(visit, info),
        look=sentences.look(info.state),
        sentence=sentences.sentence(language, info),
        percent=sentences.percent_of(info),
        message=info.message,
        files=outcome.files(visit, found),
        result=outcome.short_result(visit, found),
        traceback=_traceback(visit, info),
        owner=None if is_operator or info.owner == visit.rights.principal else info.owner,
        can_cancel=_can(visit, "cancel", info),
        can_discard=_can(visit, "discard", info),
        begins=info.begin_after if info.state == "scheduled" else None,
        created=info.created,
        started=info.started,
        finished=info.finished,
        inside=inside_of(visit, found, job_details(found)) if is_operator else None,
    )
    return visit.page(
        "job",
        shown.title,
        shown,
        live=sentences.seconds_until_look(info),
        say=sentences.read_out(language, info),
    )


def _can(visit: Visit, action: str, info: JobInfo) -> bool:
    """Whether it can be done now, by who asks."""
    return deeds.is_possible(action, visit.job, info) and visit.may(action, visit.job)


def _traceback(visit: Visit, info: JobInfo) -> str | None:
    if info.failure is None or not visit.may("view_traceback", visit.job):
        return None
    return job_details(visit.job).traceback


def status(visit: Visit) -> Response:
    """The same for programs: 202 until it has ended, 303 to what it has made, else 200."""
    found = visit.job
    info = job_info(found)
    body = _status_of(visit, info)
    waits = info.outcome is None
    response = responses.as_json(body, status=202 if waits else 200)
    if waits:
        response.headers["Retry-After"] = str(sentences.seconds_until_look(info))
    elif body["result"] is not None:
        response.status = 303
        response.headers["Location"] = body["result"]
    return response


def _status_of(visit: Visit, info: JobInfo) -> dict[str, Any]:
    files = outcome.files(visit, visit.job)
    return {
        "id": info.id,
        "title": sentences.title_of(visit.language, info),
        "state": info.state,
        "outcome": info.outcome,
        "percent": sentences.percent_of(info),
        "message": info.message,
        "sentence": sentences.sentence(
            visit.language, sentences.with_pause(visit.connection, info)
        ),
        "created": _iso(info.created),
        "started": _iso(info.started),
        "finished": _iso(info.finished),
        "page": visit.url("jobs", info.id),
        "result": outcome.result_path(visit, visit.job),
        "files": [{"name": f.name, "size": f.size, "url": f.path} for f in files],
    }


def _iso(moment: datetime | None) -> str | None:
    return None if moment is None else moment.isoformat()
