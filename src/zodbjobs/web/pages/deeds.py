"""Deeds on one job: asked on a page of its own, which needs no JavaScript, then done.

Cancel and discard are for its owner too; operators give a reason.
"""

from __future__ import annotations

import dataclasses
from typing import Any

from zodbjobs.insights import JobInfo, job_info
from zodbjobs.insights.jobs import unreadable_reason
from zodbjobs.operations import deeds
from zodbjobs.web import operator_rows, responses, sentences
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
    asks_why: bool
    is_dangerous: bool


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


def ask_to_retry(visit: Visit) -> Response:
    """Whether to put it in again."""
    return _ask(
        visit,
        "retry",
        _("Retry “{title}”?"),
        _("It is put in again, and is due at once."),
        _("Retry it"),
        _("Leave it"),
        is_dangerous=False,
    )


def ask_to_remove(visit: Visit) -> Response:
    """Whether to take it out of its queue."""
    return _ask(
        visit,
        "remove",
        _("Remove “{title}”?"),
        _("It is taken out of its queue, and won’t be run. This can’t be taken back."),
        _("Remove it"),
        _("Leave it"),
    )


def retry(visit: Visit) -> Response:
    """Put it in again."""
    word = "retried" if _perform(visit, deeds.RETRY) else "too-late"
    return responses.see_other(visit.url("jobs", visit.parts["job"], **{DONE: word}))


def remove(visit: Visit) -> Response:
    """Take it out of its queue."""
    if _perform(visit, deeds.REMOVE):
        return responses.see_other(_list(visit, "removed"))
    return responses.see_other(visit.url("jobs", visit.parts["job"], **{DONE: "too-late"}))


def _list(visit: Visit, done: str) -> str:
    """Where to go from a job that is gone."""
    is_operator = visit.may_in_realm("view")
    return visit.url("jobs" if is_operator else "mine", **{DONE: done})


def cancel(visit: Visit) -> Response:
    """End it as cancelled."""
    word = "cancelled" if _perform(visit, deeds.CANCEL) else "too-late"
    return responses.see_other(visit.url("jobs", visit.parts["job"], **{DONE: word}))


def discard(visit: Visit) -> Response:
    """Drop it, with all that it has made."""
    if _perform(visit, deeds.FORGET):
        return responses.see_other(_list(visit, "discarded"))
    return responses.see_other(visit.url("jobs", visit.parts["job"], **{DONE: "too-late"}))


def is_possible(action: str, job: Any, info: JobInfo) -> bool:
    """Whether an action can be done to a job as it is now."""
    if unreadable_reason(job) is not None:
        return action == "remove"
    return action in operator_rows.possible(info.state)


def _perform(visit: Visit, action: str) -> bool:
    """Whether it was done; not if the job has gone on since it was asked."""
    (result,) = deeds.perform(
        visit.connection,
        action,
        [visit.parts["job"]],
        by=visit.rights.principal,
        why=visit.field("why") or None,
    )
    return result.done


def _ask(
    visit: Visit,
    action: str,
    question: str,
    what: str,
    yes: str,
    no: str,
    *,
    is_dangerous: bool = True,
) -> Response:
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
        visit.may_in_realm(action),
        is_dangerous,
    )
    return visit.page("question", shown.question, shown, cache=responses.NOT_KEPT)
