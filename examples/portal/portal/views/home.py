"""The first page: the faculties that one may see; for the manager, a job to try things with."""

from __future__ import annotations

import grok
from zope.authentication.interfaces import IUnauthenticatedPrincipal
from zope.security import checkPermission
from zope.security.interfaces import Unauthorized

from portal.model import Portal
from portal.views.page import Page, is_manager, manager
from zodbjobs import ProgressableJob, compute

# How long the test job takes.
_SECONDS = 5


class PortalTraverser(grok.Traverser):
    """Hangs the job manager, with its pages, at `jobs`."""

    grok.context(Portal)

    def traverse(self, name):
        """The manager; the faculties are found without this."""
        return manager() if name == "jobs" else None


class Index(Page):
    """The faculties."""

    grok.context(Portal)
    grok.require("zope.Public")
    page = "home.pt"
    title = "Faculties"

    def shown(self):
        """Those that one may read."""
        if IUnauthenticatedPrincipal.providedBy(self.request.principal):
            raise Unauthorized("index")
        faculties = [
            (faculty, len(faculty))
            for faculty in self.context.faculties()
            if checkPermission("portal.readStudents", faculty)
        ]
        return {"faculties": faculties, "is_manager": is_manager(self.context)}


class StartTestJob(grok.View):
    """Puts the job that only shows its progress, and returns 46."""

    grok.context(Portal)
    grok.name("test")
    grok.require("waeup.manageJobs")

    def render(self):
        """Lead to its page."""
        if not self.context["people"].is_meant(self.request):
            raise Unauthorized("test")
        job = ProgressableJob(compute, 23, _SECONDS)
        job_id = manager().put(job, title="A test job")
        where = f"{self.url(self.context, 'jobs')}/{job_id}"
        self.redirect(where if job_id else self.url(self.context))
