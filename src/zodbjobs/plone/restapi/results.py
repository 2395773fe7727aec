"""Results: what a job has come to, as JSON; of one of many, source by source."""

from __future__ import annotations

from typing import Any

from zodbjobs.insights.shown import redactor_of
from zodbjobs.interfaces import SUCCEEDED
from zodbjobs.plone.restapi import work
from zodbjobs.stored.composition import Composition
from zodbjobs.stored.lifecycle.again import is_json

#: What takes a source and where that was, the last of its arguments.
_TAKE_SOURCE = tuple(f"{each.__module__}:{each.__name__}" for each in (work.copy, work.move))

_OF_SERVICES = (*_TAKE_SOURCE, f"{work.transition.__module__}:{work.transition.__name__}")

# Of a part, if the whole has ended before.
_NOT_BEGUN = {"type": "NotBegun", "message": "it was not begun"}


def result_of(request: Any, job: Any) -> Any:
    """The result of a job that has ended; None if that is no plain JSON, or may not be shown.

    Of a copy or a move a list with what plone.restapi would have answered for each source, or
    with ``error`` in place of ``target``.
    """
    if isinstance(job, Composition) and job.args and all(map(_takes_source, job.args)):
        return [entry for part in job.args for entry in _entries(request, part)]
    if _takes_source(job):
        return _entries(request, job)
    if job.outcome != SUCCEEDED or not is_json(job.result):
        return None
    return redactor_of(job).value(job.result, "result")


def is_of_services(job: Any) -> bool:
    """Whether it is a copy, a move or a transition that these services have put, of as many
    sources as one likes.
    """
    parts = job.args if isinstance(job, Composition) else [job]
    return bool(parts) and all(each.description in _OF_SERVICES for each in parts)


def _takes_source(job: Any) -> bool:
    return job.description in _TAKE_SOURCE


def _entries(request: Any, job: Any) -> list[dict[str, Any]]:
    if job.outcome == SUCCEEDED:
        return list(job.result)
    source = request.physicalPathToURL(job.args[-1])
    return [{"source": source, "error": error_of(job) or _NOT_BEGUN}]


def error_of(job: Any) -> dict[str, Any] | None:
    """Why a job has failed, as plone.restapi tells of errors; None if it hasn't."""
    failure = job.failure
    if failure is None:
        return None
    message = redactor_of(job).text(failure.message, "failure")
    return {"type": failure.type.rpartition(".")[2], "message": message}
