"""Asking: who asks about jobs, what they may do, and where the jobs are for them."""

from __future__ import annotations

from typing import Any

from zExceptions import NotFound, Unauthorized
from zope.component.hooks import getSite

from zodbjobs.insights import find_job
from zodbjobs.operations import deeds
from zodbjobs.plone.restapi.results import is_of_services
from zodbjobs.web.language import LANGUAGES, Language, language
from zodbjobs.web.rights import Rights, may
from zodbjobs.zope.rights import rights_at


class Asking:
    """A request to a site of somebody who is known; Unauthorized for nobody in particular."""

    def __init__(self, request: Any) -> None:
        self.request = request
        self.site = getSite()
        self.connection = self.site._p_jar
        self.rights: Rights = rights_at(self.site)
        if not self.rights.is_known:
            raise Unauthorized("You are not authorized to access this resource.")

    def may(self, action: str, job: Any) -> bool:
        """Whether they may do something to a job, or see it of it.

        Their own copy, move or transition they may retry: they could send the request for it
        again, and the job asks for their rights of now.
        """
        if may(self.rights, action, job):
            return True
        return (
            action == deeds.RETRY
            and may(self.rights, "view", job)
            and job.owner == self.rights.principal
            and is_of_services(job)
        )

    def job(self, job_id: str) -> Any:
        """The job of that id. NotFound if there is none, or they may not view it: which of the
        two isn't told.
        """
        found = find_job(self.connection, job_id)
        if found is None or not self.may("view", found):
            raise NotFound(job_id)
        return found

    def url(self, *names: str) -> str:
        """Where the jobs are, or one of them, as the browser sees it."""
        return "/".join([self.site.absolute_url(), "@jobs", *names])

    @property
    def language(self) -> Language:
        """The language that Plone has chosen for the request, if there are texts in it."""
        code = str(self.request.get("LANGUAGE") or "")[:2]
        return language(code if code in LANGUAGES else LANGUAGES[0])
