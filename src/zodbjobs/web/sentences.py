"""Sentences: what is said of a job in the language of people."""

from __future__ import annotations

import dataclasses
from typing import Any

from zodbjobs import clock
from zodbjobs.insights import JobInfo
from zodbjobs.stored.lifecycle import pausing
from zodbjobs.stored.lifecycle.root import get_queues
from zodbjobs.web.language import Language
from zodbjobs.web.language import message as _

#: Percents between two that are read out; each would be chatter.
_COARSE = 25

#: Seconds between two looks at a page, by what goes on: something runs, it only waits, it rests.
RUNNING, WAITING, RESTING = 1, 5, 30

#: Seconds for which a job that was put, and waits, is looked at as often as one that runs: most
#: begin at once, and who has pressed a button wants to see that.
_NEW = 10

#: The word for each state.
WORDS = {
    "new": _("new"),
    "scheduled": _("planned"),
    "waiting": _("waiting"),
    "blocked": _("waiting for others"),
    "paused": _("paused"),
    "assigned": _("starting"),
    "active": _("running"),
    "parked": _("stopped"),
    "succeeded": _("finished"),
    "failed": _("failed"),
    "aborted": _("failed"),
    "expired": _("not begun in time"),
    "cancelled": _("cancelled"),
    "skipped": _("skipped"),
}

#: How each state looks; a class of the style.
LOOKS = {
    "assigned": "running",
    "active": "running",
    "parked": "warning",
    "paused": "warning",
    "succeeded": "good",
    "failed": "bad",
    "aborted": "bad",
    "expired": "warning",
    "cancelled": "ended",
    "skipped": "ended",
}

_SENTENCES = {
    "scheduled": _("It begins later, at the time below."),
    "waiting": _("It waits for its turn."),
    "blocked": _("It waits for other work to be finished."),
    "paused": _("It waits, as work of this kind is paused."),
    "assigned": _("It is about to begin."),
    "active": _("It is at work."),
    "parked": _(
        "It can’t go on at the moment; the administrators have to look at it. Reference {id}."
    ),
    "succeeded": _("It is finished."),
    "failed": _("It could not be finished; the administrators were told. Reference {id}."),
    "aborted": _("It could not be finished; the administrators were told. Reference {id}."),
    "expired": _("It wasn’t begun in time, and won’t be. Reference {id}."),
    "cancelled": _("It was cancelled. What it had done was undone."),
    "skipped": _("It wasn’t begun, as what comes before it could not be finished."),
}

_ENDED = {
    "succeeded": _("“{title}” is finished."),
    "cancelled": _("“{title}” was cancelled."),
}


def with_pause(connection: Any, job: JobInfo) -> JobInfo:
    """The same, but paused if it waits in a queue that is paused as a whole."""
    if job.state == "waiting" and pausing.is_paused(get_queues(connection)[job.queue]):
        return dataclasses.replace(job, state="paused")
    return job


def title_of(language: Language, job: JobInfo) -> str:
    """How a job is called."""
    return job.title or language.t("Job {id}", id=job.id)


def word(language: Language, state: str) -> str:
    """One word, or few, for a state."""
    return language.t(WORDS[state]) if state in WORDS else state


def look(state: str) -> str:
    """The class of a state."""
    return LOOKS.get(state, "waiting")


def sentence(language: Language, job: JobInfo) -> str:
    """What there is to say of how it stands."""
    text = _SENTENCES.get(job.state)
    return "" if text is None else language.t(text, id=job.id)


def read_out(language: Language, job: JobInfo) -> str:
    """What is read out when it changes: the begin, each quarter, and once the end."""
    title = title_of(language, job)
    if job.outcome is not None:
        return language.t(
            _ENDED.get(job.outcome, _("“{title}” could not be finished.")), title=title
        )
    if job.state != "active":
        return word(language, job.state)
    quarter = int((percent_of(job) or 0) // _COARSE * _COARSE)
    return language.t("{percent} percent are done.", percent=quarter)


def percent_of(job: JobInfo) -> int | None:
    """The percents to show: whole, from 0 to 100; None if it tells none."""
    return None if job.percent is None else min(100, max(0, int(job.percent)))


def seconds_until_next(states: list[str]) -> int:
    """After how many seconds a page is to be looked at again that shows jobs in these states."""
    if any(state in ("active", "assigned") for state in states):
        return RUNNING
    waiting = ("waiting", "blocked", "scheduled", "paused")
    return WAITING if any(state in waiting for state in states) else RESTING


def seconds_until_look(job: JobInfo) -> int:
    """After how many seconds the page of one job is to be looked at again."""
    if job.state == "waiting" and job.created is not None:
        age = clock.now() / 1_000_000 - job.created.timestamp()
        if abs(age) < _NEW:
            return RUNNING
    return seconds_until_next([job.state])
