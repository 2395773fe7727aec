"""A deed on several jobs: on those that are ticked, at once, or on all that match, by a job.

Each is asked for on a page of its own, which says how many they are, and takes the reason.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from typing import Any

from zodbjobs import clock, defaults
from zodbjobs.errors import ZodbjobsError
from zodbjobs.insights import find_job, job_info, list_jobs, list_workers, most_jobs, stored_agents
from zodbjobs.interfaces import SUCCEEDED
from zodbjobs.operations import OperationResult, act_on_matching, deeds
from zodbjobs.operations.matching import MAY_BE_LATER
from zodbjobs.stored.lifecycle.root import get_queues
from zodbjobs.web import filters, operator_rows, responses, words
from zodbjobs.web.filters import BadFilter, Filters
from zodbjobs.web.language import message as _
from zodbjobs.web.pages import jobs
from zodbjobs.web.responses import Response
from zodbjobs.web.visit import DONE, Visit

#: The deed of each action of the rights.
DEED = {
    "retry": deeds.RETRY,
    "cancel": deeds.CANCEL,
    "remove": deeds.REMOVE,
    "discard": deeds.FORGET,
}

# Jobs that are ticked, and such that are named on the page.
_MOST_TICKED = 100
_MOST_NAMED = 25

# How many are counted by looking at them; the seconds for that.
_MOST_COUNTED = 100
_COUNT_SECONDS = 0.06

_QUESTIONS = {
    "retry": (_("Retry {jobs}?"), _("They are put in again, and are due at once.")),
    "cancel": (
        _("Cancel {jobs}?"),
        _("What runs is stopped, and what it has done is undone. This can’t be taken back."),
    ),
    "remove": (
        _("Remove {jobs}?"),
        _("They are taken out of their queues, and won’t be run. This can’t be taken back."),
    ),
    "discard": (
        _("Discard {jobs}?"),
        _("They go from all lists, with results and files. This can’t be taken back."),
    ),
}


@dataclasses.dataclass(frozen=True)
class Question:
    """What is asked before a deed; `fields`: what the form sends with the answer. `before`: those
    of this time and later aren't touched.
    """

    question: str
    consequence: str
    is_all: bool
    before: datetime | None
    filters: tuple[tuple[str, str], ...]
    named: tuple[tuple[str, str, str, str], ...]
    more: str | None
    fields: tuple[tuple[str, str], ...]
    path: str
    yes: str
    back: str
    error: str | None
    is_dangerous: bool


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What was done, and what was refused: the title of each, and why."""

    done: str
    refused: tuple[tuple[str, str, str], ...]
    back: str


Handler = Callable[[Visit], Response]


def asks(action: str) -> Handler:
    """The handler that asks for a deed."""

    def ask(visit: Visit) -> Response:
        texts = filters.given(visit)
        try:
            if "all" in visit.given:
                shown = _ask_all(visit, action, texts)
            else:
                shown = _ask_ticked(visit, action, texts)
        except BadFilter as wrong:
            shown = _nothing(visit, action, texts, str(wrong))
        return visit.page("act", shown.question, shown, cache=responses.NOT_KEPT)

    return ask


def does(action: str) -> Handler:
    """The handler that does it."""

    def do(visit: Visit) -> Response:
        texts = filters.given(visit, visit.request.POST)
        try:
            if "all" in visit.request.POST:
                return _do_all(visit, action, texts)
            return _do_ticked(visit, action, texts)
        except BadFilter as wrong:
            shown = _nothing(visit, action, texts, str(wrong))
            title = shown.question
            return visit.page("act", title, shown, status=400, cache=responses.NOT_KEPT)

    return do


# Those that are ticked


def _ticked(visit: Visit, action: str, source: Any) -> list[Any]:
    """The jobs that are ticked, and are there, and to which who asks may do it."""
    ids = dict.fromkeys(str(each) for each in source.getall("job")[:_MOST_TICKED])
    found = (find_job(visit.connection, each) for each in ids if each.isascii())
    return [job for job in found if job is not None and visit.may(action, job)]


def _ask_ticked(visit: Visit, action: str, texts: Mapping[str, str]) -> Question:
    infos = [job_info(job) for job in _ticked(visit, action, visit.given)]
    if not infos:
        return _nothing(
            visit, action, texts, visit.t("Nothing is ticked, or what was is gone by now.")
        )
    many = visit.language.n("{count} job", "{count} jobs", len(infos))
    return _question(
        visit,
        action,
        many,
        texts,
        named=[_named(visit, info) for info in infos],
        fields=[("job", info.id) for info in infos],
    )


def _named(visit: Visit, info: Any) -> tuple[str, str, str, str]:
    row = operator_rows.row_of(visit, info)
    return row.id, row.title, row.word, row.look


def _do_ticked(visit: Visit, action: str, texts: Mapping[str, str]) -> Response:
    ids = [str(job_info(job).id) for job in _ticked(visit, action, visit.request.POST)]
    titles = {each: _title(visit, each) for each in ids}
    results = deeds.perform(visit.connection, DEED[action], ids, by=_by(visit), why=_why(visit))
    done = sum(result.done for result in results)
    if done == len(results) and results:
        word = {"retry": "retried", "cancel": "cancelled", "remove": "removed"}
        return responses.see_other(
            visit.url("jobs", **{**texts, DONE: f"all-{word.get(action, 'discarded')}"})
        )
    shown = Outcome(
        visit.language.n("It was done to {count} job.", "It was done to {count} jobs.", done),
        tuple(_refused(results, titles)),
        visit.url("jobs", **texts),
    )
    return visit.page("acted", visit.t("Not all of it was done"), shown, cache=responses.NOT_KEPT)


def _title(visit: Visit, job_id: str) -> str:
    job = find_job(visit.connection, job_id)
    return "" if job is None else operator_rows.row_of(visit, job_info(job)).title


def _refused(
    results: Iterable[OperationResult], titles: Mapping[str, str]
) -> Iterable[tuple[str, str, str]]:
    for result in results:
        if result.refused is not None:
            yield result.id, titles[result.id], result.refused


# All that match


def _ask_all(visit: Visit, action: str, texts: Mapping[str, str]) -> Question:
    wanted = jobs.read(visit, texts)
    count, is_exact = counted(visit, wanted)
    number = visit.language.number
    if count is None:
        many = visit.t("all jobs that match")
    elif is_exact:
        many = visit.language.n(
            "the {count} job that matches", "all {count} jobs that match", count
        )
    else:
        many = visit.t("all jobs that match (at most {count})", count=number(count))
    shown = jobs.find(visit, texts, _MOST_NAMED)[0]
    infos = operator_rows.visible(visit, shown)
    if count == 0:
        return _nothing(visit, action, texts, visit.t("There are no jobs that match."))
    now = clock.to_datetime(clock.now())
    expected = [] if count is None else [("expected", str(count))]
    return _question(
        visit,
        action,
        many,
        texts,
        named=[_named(visit, info) for info in infos],
        fields=[("all", "1"), *expected, ("asked", now.isoformat())],
        is_all=True,
        before=_before(wanted.wanted, now),
    )


def counted(visit: Visit, wanted: Filters) -> tuple[int | None, bool]:
    """How many match, and whether it is just so many, or at most; None if that isn't known.

    An index knows it of all realms; a few are counted by a look at each.
    """
    known = {name: wanted.wanted.get(name) for name in ("status", "outcome", "queue")}
    most = None if visit.rights.realm is not None else most_jobs(visit.connection, **known)
    if most is not None and wanted.are_simple and known["outcome"] in (None, SUCCEEDED):
        return most, True
    found = list_jobs(
        visit.connection, **wanted.wanted, limit=_MOST_COUNTED, seconds=_COUNT_SECONDS
    )
    is_all = found.cursor is None and found.leaves_out is None
    return (len(found), True) if is_all else (most, False)


def _do_all(visit: Visit, action: str, texts: Mapping[str, str]) -> Response:
    wanted = dict(jobs.read(visit, texts).wanted)
    if asked := visit.field("asked"):
        # What has come since it was asked wasn't meant.
        wanted["until"] = _before(wanted, filters.moment(visit, asked))
    expected = visit.field("expected")
    is_number = expected.isascii() and expected.isdecimal() and len(expected) < 10
    try:
        job = act_on_matching(
            visit.connection,
            DEED[action],
            wanted,
            expected=int(expected) if is_number else None,
            by=_by(visit),
            why=_why(visit),
            queue=_queue_at_work(visit),
        )
    except ZodbjobsError as error:
        raise BadFilter(str(error)) from error
    return responses.see_other(visit.url("jobs", job.id, **{DONE: "acting"}))


def _before(wanted: Mapping[str, Any], asked: datetime) -> datetime | None:
    """The end of the time of the jobs that are meant; None for such whose time may be to come."""
    until: datetime | None = wanted.get("until")
    if wanted.get("status") in MAY_BE_LATER:
        return until
    return asked if until is None else min(until, asked)


def _queue_at_work(visit: Visit) -> str:
    """The queue for the job that acts: one that isn't paused, and for which a worker works; the
    default one if it is such, or there is none.
    """
    alive = {info.id for info in list_workers(visit.connection) if info.state == "running"}
    agents = [each for each in stored_agents(visit.connection) if each.worker in alive]
    by_name = get_queues(visit.connection)
    for name in sorted(by_name, key=lambda name: name != defaults.QUEUE_NAME):
        queue = by_name[name]
        is_served = any(each.queues is None or name in each.queues for each in agents)
        if is_served and not queue.paused and not queue.draining:
            return str(name)
    return defaults.QUEUE_NAME


# Both


def _question(
    visit: Visit,
    action: str,
    many: str,
    texts: Mapping[str, str],
    *,
    named: list[tuple[str, str, str, str]],
    fields: list[tuple[str, str]],
    is_all: bool = False,
    before: datetime | None = None,
) -> Question:
    question, consequence = _QUESTIONS[action]
    more = len(named) - _MOST_NAMED
    return Question(
        question=visit.t(question, jobs=many),
        consequence=visit.t(consequence),
        is_all=is_all,
        before=before,
        filters=tuple(_said(visit, texts)) if is_all else (),
        named=tuple(named[:_MOST_NAMED]),
        more=visit.t("and {count} more", count=visit.language.number(more)) if more > 0 else None,
        fields=(*texts.items(), *fields),
        path=visit.url("jobs", action),
        yes=visit.t(operator_rows.DEEDS[action]),
        back=visit.url("jobs", **texts),
        error=None,
        is_dangerous=action != "retry",
    )


def _nothing(visit: Visit, action: str, texts: Mapping[str, str], error: str) -> Question:
    shown = _question(visit, action, "", {}, named=[], fields=[])
    title = visit.t("Nothing was changed")
    return dataclasses.replace(shown, question=title, error=error, back=visit.url("jobs", **texts))


def _said(visit: Visit, texts: Mapping[str, str]) -> Iterable[tuple[str, str]]:
    """The filters, as people call them."""
    for name, text in texts.items():
        shown = text
        if name == "state":
            shown = words.of_state(visit.language, text)
        elif name == "queue":
            shown = filters.decoded(text) or visit.t("default queue")
        yield visit.t(_NAMED[name]), shown


_NAMED = {
    "state": _("State"),
    "queue": _("Queue"),
    "text": _("Text"),
    "callable": _("Calls"),
    "owner": _("Owner"),
    "about": _("About"),
    "realm": _("Realm"),
    "worker": _("Worker"),
    "since": _("From (UTC)"),
    "until": _("Until (UTC)"),
}


def _by(visit: Visit) -> str | None:
    return visit.rights.principal


def _why(visit: Visit) -> str | None:
    return visit.field("why") or None
