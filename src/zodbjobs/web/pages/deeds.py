"""Cancel and discard: asked on a page of its own, which needs no JavaScript, then done."""

from __future__ import annotations

import dataclasses
from typing import Any

from zodbjobs.insights import JobInfo, job_info
from zodbjobs.insights.jobs import unreadable_reason
from zodbjobs.operations import deeds
from zodbjobs.web import responses, sentences
from zodbjobs.web.language import message as _
from zodbjobs.web.responses import Response
from zodbjobs.web.visit import DONE, Visit


@dataclasses.dataclass(frozen=True)
class Question:
    """What is asked before a deed."""

    title: str
    question: str
    consequence: str
    yes: str
    no: str
    path: str
    back: str
    is_possible: bool


def ask_to_cancel(visit: Visit) -> Response:
    """Whether to cancel it."""
    return _ask(
        visit,
        "cancel",
        _("Cancel “{title}”?"),
        _("It is stopped, and what it has done so far is undone. This can’t be taken back."),
        _("Cancel it"),
        _("Let it go on"),
    )


def ask_to_discard(visit: Visit) -> Response:
    """Whether to discard it."""
    return _ask(
        visit,
        "discard",
        _("Discard “{title}”?"),
        _("It goes from all lists, with its result and its files. This can’t be taken back."),
        _("Discard it"),
        _("Keep it"),
    )


def cancel(visit: Visit) -> Response:
    """End it as cancelled."""
    word = "cancelled" if _perform(visit, deeds.CANCEL) else "too-late"
    return responses.see_other(visit.url("jobs", visit.parts["job"], **{DONE: word}))


def discard(visit: Visit) -> Response:
    """Drop it, with all that it has made."""
    if _perform(visit, deeds.FORGET):
        return responses.see_other(visit.url("mine", **{DONE: "discarded"}))
    return responses.see_other(visit.url("jobs", visit.parts["job"], **{DONE: "too-late"}))


def is_possible(action: str, job: Any, info: JobInfo) -> bool:
    """Whether a job can be cancelled, or discarded, as it is now."""
    if unreadable_reason(job) is not None:
        return False
    return (info.outcome is None) == (action == "cancel")


def _perform(visit: Visit, action: str) -> bool:
    """Whether it was done; not if the job has gone on since it was asked."""
    (result,) = deeds.perform(
        visit.connection, action, [visit.parts["job"]], by=visit.rights.principal
    )
    return result.done


def _ask(visit: Visit, action: str, question: str, what: str, yes: str, no: str) -> Response:
    info = job_info(visit.job)
    title = sentences.title_of(visit.language, info)
    shown = Question(
        title,
        visit.t(question, title=title),
        visit.t(what),
        visit.t(yes),
        visit.t(no),
        visit.url("jobs", info.id, action),
        visit.url("jobs", info.id),
        is_possible(action, visit.job, info),
    )
    return visit.page("question", shown.question, shown, cache=responses.NOT_KEPT)
