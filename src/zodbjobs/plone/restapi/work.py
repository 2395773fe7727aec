"""Work: what the jobs of these services call. Its names are stored with jobs.

Each calls the very service of plone.restapi, which asks for the rights of the user again, and
answers as it would have answered the request.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from plone.restapi.services.copymove import copymove
from plone.restapi.services.workflow.transition import WorkflowTransition
from Products.CMFCore.utils import getToolByName
from Products.CMFCore.WorkflowCore import WorkflowException
from Products.Five.browser import BrowserView
from zExceptions import Unauthorized
from zope.globalrequest import getRequest

from zodbjobs import Job, local
from zodbjobs.errors import ZodbjobsError


class Refused(ZodbjobsError):
    """A service of plone.restapi has refused what a job was to do."""


class SourcesFailed(ZodbjobsError):
    """Some of the sources of a request could not be done; the others were."""


def copy(context: Any, source: Any, path: str) -> Any:
    """Copy `source`, which was found at `path`, into `context`; what ``@copy`` answers."""
    return _paste(_CopyOne(context, getRequest()), source, path)


def move(context: Any, source: Any, path: str) -> Any:
    """Move `source`, which was found at `path`, into `context`; what ``@move`` answers."""
    return _paste(_MoveOne(context, getRequest()), source, path)


def transition(context: Any, name: str, body: dict[str, Any]) -> Any:
    """Let `context`, and with ``include_children`` what is in it, do a transition; what
    ``@workflow`` answers.
    """
    service = _Transition(context, getRequest())
    service.transition = name
    return _answer(service, body, lambda: service.has_gone_through)


def report(*jobs: Job) -> list[Any]:
    """What the jobs of all sources have answered; SourcesFailed if some of them didn't succeed."""
    failed = [job for job in jobs if job.outcome != "succeeded"]
    if failed:
        first = failed[0]
        why = first.failure or first.outcome
        raise SourcesFailed(
            f"{len(failed)} of {len(jobs)} sources could not be done, {first.args[-1]} for one: "
            f"{why}; retry the job for these alone"
        )
    return [answer for job in jobs for answer in job.result]


# The directive that registers a service makes a view of it, and so do these.


class _SourceInHand:
    """A service that is given its source."""

    source: Any

    def get_object(self, key: str) -> Any:
        return self.source


class _CopyOne(_SourceInHand, copymove.Copy, BrowserView):
    pass


class _MoveOne(_SourceInHand, copymove.Move, BrowserView):
    pass


class _Transition(WorkflowTransition, BrowserView):
    """Tells how many of the objects are done, and can be left in between."""

    #: Whether all were done. What has no workflow itself is answered with an error all the same.
    has_gone_through = False

    _done = 0
    _total: int | None = None

    def recurse_transition(
        self,
        objs: Any,
        comment: str,
        publication_dates: dict[str, Any],
        include_children: bool = False,
    ) -> None:
        is_first = self._total is None
        if self._total is None:
            self._total = self._count() if include_children else 1
        for obj in objs:
            local.check()
            local.set_progress(100.0 * min(self._done, self._total) / self._total)
            self._done += 1
            try:
                super().recurse_transition([obj], comment, publication_dates, include_children)
            except WorkflowException:
                self._refuse_by_right(obj)
                raise
        self.has_gone_through = is_first

    def _refuse_by_right(self, obj: Any) -> None:
        """Raise Unauthorized if the workflow has the transition here, and a guard refuses it."""
        for workflow in self.wftool.getWorkflowsFor(obj):
            state = workflow._getWorkflowStateOf(obj)  # noqa: SLF001
            if state is not None and self.transition in state.transitions:
                path = "/".join(obj.getPhysicalPath())
                raise Unauthorized(f"You are not allowed to {self.transition} {path}")

    def _count(self) -> int:
        """How many objects there are, as far as the catalog knows."""
        catalog = getToolByName(self.context, "portal_catalog")
        path = "/".join(self.context.getPhysicalPath())
        return max(1, len(catalog.unrestrictedSearchResults(path=path)))


def _paste(service: Any, source: Any, path: str) -> Any:
    service.source = source
    answer = _answer(service, {"source": path})
    if not answer:
        raise Refused(f"{path} was not taken, and nothing was changed")
    return answer


def _answer(
    service: Any, body: dict[str, Any], is_done: Callable[[], bool] = lambda: False
) -> Any:
    """What a service answers to `body`; raises what it would have told by a status, unless all is
    done.
    """
    request = service.request
    request["BODY"] = json.dumps(body)
    answer = service.reply()
    status = request.response.getStatus()
    if is_done():
        return answer
    if status in (401, 403):
        raise Unauthorized(f"You are not allowed to do this to {body.get('source', 'it')}")
    if status >= 400:
        raise Refused(_message(answer) or f"it was refused with status {status}")
    return answer


def _message(answer: Any) -> str | None:
    error = answer.get("error") if isinstance(answer, dict) else None
    return error.get("message") if isinstance(error, dict) else None
