"""Jobs: the services ``@jobs``, ``@jobs/ID`` and ``@jobs/ID/retry`` of a site."""

from __future__ import annotations

from typing import Any

from plone.restapi.services import Service
from zExceptions import BadRequest, Forbidden, NotFound
from zope.interface import implementer
from zope.publisher.interfaces import IPublishTraverse

from zodbjobs.operations import deeds
from zodbjobs.plone.restapi.accepting import answer_accepted
from zodbjobs.plone.restapi.allowing import allow_writing
from zodbjobs.plone.restapi.asking import Asking
from zodbjobs.plone.restapi.listing import batch_of
from zodbjobs.plone.restapi.serializer import details


@implementer(IPublishTraverse)
class JobsService(Service):
    """Base of these: it has the names of the URL that follow ``@jobs``."""

    def __init__(self, context: Any, request: Any) -> None:
        super().__init__(context, request)
        self.names: list[str] = []

    def publishTraverse(self, request: Any, name: str) -> Any:
        """Take one more name."""
        self.names.append(name)
        return self

    def perform(self, asking: Asking, action: str) -> dict[str, Any] | None:
        """Do something to the job of the URL; what is answered if that can't be done to it.

        Raises NotFound, or Forbidden if they may view it only.
        """
        job = asking.job(self.names[0])
        if not asking.may(action, job):
            raise Forbidden(f"You are not allowed to {action} this job.")
        allow_writing(self.request)
        ids, by = [self.names[0]], asking.rights.principal
        (result,) = deeds.perform(asking.connection, action, ids, by=by)
        if result.done:
            return None
        self.request.response.setStatus(409)
        return {"error": {"type": "Conflict", "message": result.refused}}


class Get(JobsService):
    """``GET @jobs`` and ``GET @jobs/ID``."""

    def reply(self) -> Any:
        """A batch of jobs, or one."""
        asking = Asking(self.request)
        self.request.response.setHeader("Cache-Control", "no-store")  # the next look differs
        if not self.names:
            return batch_of(asking)
        if len(self.names) > 1:
            raise NotFound("/".join(self.names))
        return details(asking, asking.job(self.names[0]))


class Delete(JobsService):
    """``DELETE @jobs/ID``: cancels it."""

    def reply(self) -> Any:
        """Nothing, or that it has ended: 409."""
        asking = Asking(self.request)
        if len(self.names) != 1:
            raise NotFound("/".join(self.names))
        refused = self.perform(asking, deeds.CANCEL)
        return self.reply_no_content() if refused is None else refused


class Post(JobsService):
    """``POST @jobs/ID/retry``: puts it in again."""

    def reply(self) -> Any:
        """The job, with 202; or that it can't be retried: 409."""
        asking = Asking(self.request)
        if not self.names:
            raise BadRequest("To retry a job, send POST to @jobs/ID/retry")
        if self.names[1:] != ["retry"]:
            raise NotFound("/".join(self.names))
        refused = self.perform(asking, deeds.RETRY)
        if refused is not None:
            return refused
        return answer_accepted(self.request, asking.job(self.names[0]))
