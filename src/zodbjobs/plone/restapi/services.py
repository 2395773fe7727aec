"""Services: plone.restapi's own ``@copy``, ``@move`` and ``@workflow``, which do their work in
jobs if the request would like that: `Prefer: respond-async`. Without it they are what they were.
"""

from __future__ import annotations

from typing import Any

from plone.restapi.services.copymove import copymove
from plone.restapi.services.workflow.transition import WorkflowTransition
from Products.CMFCore.WorkflowCore import WorkflowException
from zope.i18n import translate

from zodbjobs import Job
from zodbjobs.plone.restapi import titles, work
from zodbjobs.plone.restapi.accepting import accept, is_wanted
from zodbjobs.plone.restapi.body import body_of
from zodbjobs.plone.restapi.sources import Source, sources_of


class Copy(copymove.Copy):
    """``@copy``."""

    def reply(self) -> Any:
        """What the request is answered."""
        if not is_wanted(self):
            return super().reply()
        sources = sources_of(self)
        return accept(self, titles.copy(self, sources), _jobs(work.copy, self, sources))


class Move(copymove.Move):
    """``@move``."""

    def reply(self) -> Any:
        """What the request is answered."""
        if not is_wanted(self):
            return super().reply()
        sources = sources_of(self)
        return accept(self, titles.move(self, sources), _jobs(work.move, self, sources))


def _jobs(function: Any, service: Any, sources: list[Source]) -> list[Job]:
    return [Job(function, service.context, source.obj, source.path) for source in sources]


class Transition(WorkflowTransition):
    """``@workflow``."""

    def reply(self) -> Any:
        """What the request is answered."""
        if self.transition is None or not is_wanted(self):
            return super().reply()
        body = body_of(self.request)
        refused = self._refused(body)
        if refused is not None:
            self.request.response.setStatus(400)
            return {"error": {"type": "WorkflowException", "message": refused}}
        job = Job(work.transition, self.context, self.transition, body)
        return accept(self, titles.transition(self), [job])

    def _refused(self, body: dict[str, Any]) -> str | None:
        """Why the workflow would refuse it now, in its own words, or None."""
        workflows = self.wftool.getWorkflowsFor(self.context)
        if not workflows:  # what is in it may have one
            return None if body.get("include_children") else "No workflows found."
        if any(each.isActionSupported(self.context, self.transition) for each in workflows):
            return None
        try:
            if self.is_same_state(self.context):
                return None
        except WorkflowException as error:  # a workflow without states
            return str(translate(str(error), context=self.request))
        return f"No workflow provides the '{self.transition}' action."
