"""Words of operators, those of the documentation; users read `sentences`."""

from __future__ import annotations

from zodbjobs.insights import JobInfo
from zodbjobs.web import sentences
from zodbjobs.web.language import Language
from zodbjobs.web.language import message as _
from zodbjobs.web.visit import Visit

#: For each state, and each status that one can ask for.
_STATES = {
    "new": _("new"),
    "scheduled": _("scheduled"),
    "waiting": _("waiting"),
    "blocked": _("blocked"),
    "paused": _("paused"),
    "assigned": _("assigned"),
    "active": _("running"),
    "parked": _("parked"),
    "completed": _("ended"),
    "succeeded": _("succeeded"),
    "failed": _("failed"),
    "cancelled": _("cancelled"),
    "expired": _("expired"),
    "aborted": _("aborted"),
    "skipped": _("skipped"),
}

#: For each deed of the audit trail.
_DEEDS = {
    "cancel": _("cancelled"),
    "retry": _("retried"),
    "remove": _("removed"),
    "forget": _("discarded"),
    "put again": _("put again"),
    "pause": _("paused"),
    "resume": _("resumed"),
    "drain": _("drained"),
    "change quota": _("changed a quota"),
    "change agent": _("changed an agent"),
    "add agent": _("added an agent"),
    "remove agent": _("removed an agent"),
    "create schedule": _("made a schedule"),
    "edit schedule": _("changed a schedule"),
    "pause schedule": _("paused a schedule"),
    "resume schedule": _("resumed a schedule"),
    "run schedule": _("ran a schedule"),
    "remove schedule": _("removed a schedule"),
    "cancel all that match": _("cancelled all that match"),
    "retry all that match": _("retried all that match"),
    "remove all that match": _("removed all that match"),
    "forget all that match": _("discarded all that match"),
}


def of_state(language: Language, state: str) -> str:
    """The word for a state."""
    return language.t(_STATES[state]) if state in _STATES else state


def for_reader(visit: Visit, job: JobInfo) -> str:
    """The word for how a job stands: for operators that of their lists, whichever page they read,
    so that nobody reads two words for one thing.
    """
    if visit.may_in_realm("view"):
        return of_state(visit.language, job.state)
    return sentences.word(visit.language, job.state)


def of_deed(language: Language, action: str) -> str:
    """What was done, in a word."""
    return language.t(_DEEDS[action]) if action in _DEEDS else action
