"""Inside of a job: what operators see of it beside what its owner sees."""

from __future__ import annotations

import dataclasses
from typing import Any

from zodbjobs.insights import AttemptInfo, JobDeed, JobDetails, JobInfo, find_job, job_tree
from zodbjobs.web import filters, operator_rows, words
from zodbjobs.web.visit import Visit


@dataclasses.dataclass(frozen=True)
class Fact:
    """A value with its name; `path` where it leads."""

    title: str
    value: str
    path: str | None = None


@dataclasses.dataclass(frozen=True)
class Branch:
    """A job of the tree; `relation` to the one above it. `path`: None if it was never put, as a
    callback wasn't before its parent has ended.
    """

    depth: int
    relation: str
    path: str | None
    title: str
    word: str
    look: str


@dataclasses.dataclass(frozen=True)
class DeedDone:
    """A deed on the job."""

    said: JobDeed
    word: str


@dataclasses.dataclass(frozen=True)
class Inside:
    """What is shown; empty is what there isn't, or who asks may not see."""

    facts: tuple[Fact, ...]
    parked: str | None
    arguments: tuple[str, ...]
    log: tuple[str, ...]
    attempts: tuple[AttemptInfo, ...]
    tree: tuple[Branch, ...]
    deeds: tuple[DeedDone, ...]
    actions: tuple[tuple[str, str, str], ...]


def inside_of(visit: Visit, job: Any, details: JobDetails) -> Inside:
    """What who asks, an operator, may see of a job."""
    may_see_texts = visit.may("view_traceback", job)
    may_see_deeds = visit.may_in_realm("view_audit")
    return Inside(
        facts=tuple(_facts(visit, details)),
        parked=details.parked if may_see_texts else None,
        arguments=details.arguments if visit.may("view_arguments", job) else (),
        log=details.log if may_see_texts else (),
        attempts=tuple(_attempts(details, may_see_texts)),
        tree=_tree(visit, details),
        deeds=tuple(
            DeedDone(deed, words.of_deed(visit.language, deed.action))
            for deed in (details.deeds if may_see_deeds else ())
        ),
        actions=tuple(_actions(visit, job, details)),
    )


def _facts(visit: Visit, info: JobDetails) -> list[Fact]:
    t, language = visit.t, visit.language
    is_manager = visit.may("view")
    queue = visit.url("queues", filters.encoded(info.queue)) if is_manager else None
    found = [
        Fact(t("Calls"), info.description),
        Fact(t("Queue"), info.queue or t("default queue"), queue),
        Fact(t("Owner"), info.owner or "", visit.url("jobs", owner=info.owner)),
        Fact(t("About"), info.about or "", visit.url("jobs", about=info.about_id)),
        Fact(t("Realm"), info.realm or ""),
        Fact(t("Worker"), info.worker or ""),
        Fact(t("Attempts"), language.number(info.attempts) if info.attempts else ""),
        Fact(t("Interruptions"), str(info.interruptions or "")),
        Fact(t("Conflicts"), str(info.conflicts or "")),
        Fact(t("Took"), language.duration(info.seconds) if info.outcome else ""),
        Fact(t("Priority"), str(info.priority or "")),
        Fact(t("Quotas"), ", ".join(info.quota_names)),
        Fact(t("Waits for a slot of"), info.limited_by or ""),
        Fact(t("Time limit"), language.duration(info.timeout)),
        Fact(t("To be begun within"), language.duration(info.begin_by)),
        Fact(t("Unique"), info.unique or ""),
        Fact(t("Retry policy"), info.retry_policy or ""),
    ]
    return [fact for fact in found if fact.value]


def _attempts(info: JobDetails, may_see_texts: bool) -> list[AttemptInfo]:
    if may_see_texts:
        return list(info.past_attempts)
    return [dataclasses.replace(each, failure=None) for each in info.past_attempts]


def _tree(visit: Visit, info: JobInfo) -> tuple[Branch, ...]:
    """The tree without the branches that who asks may not view; nothing for a job alone."""
    found: list[Branch] = []
    hidden_below: int | None = None
    for row in job_tree(visit.connection, info.id):
        if hidden_below is not None and row.depth > hidden_below:
            continue
        hidden_below = None
        job = find_job(visit.connection, row.job.id)
        if row.depth and not visit.may("view", job):
            hidden_below = row.depth
            continue
        path = None if job is None else visit.url("jobs", row.job.id)
        found.append(_branch(visit, row.depth, row.relation, row.job, path))
    return tuple(found) if len(found) > 1 else ()


def _branch(visit: Visit, depth: int, relation: str, info: JobInfo, path: str | None) -> Branch:
    row = operator_rows.row_of(visit, info)
    word = {
        "waits for": visit.t("waits for"),
        "part": visit.t("has the part"),
        "callback": visit.t("is followed by"),
    }
    return Branch(depth, word.get(relation, ""), path, row.title, row.word, row.look)


def _actions(visit: Visit, job: Any, info: JobDetails) -> list[tuple[str, str, str]]:
    """What can be done now that only operators may do: the name, the words, where."""
    named = {"retry": visit.t("Retry …"), "remove": visit.t("Remove …")}
    possible = operator_rows.possible(info.state)
    found = [
        (str(action), title, visit.url("jobs", info.id, action))
        for action, title in named.items()
        if action in possible and visit.may(action, job)
    ]
    if visit.may("put_again", job):
        found.append(("again", visit.t("Put again …"), visit.url("jobs", info.id, "again")))
    return found
