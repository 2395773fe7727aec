"""A small Grok application; the tests of the Grok edge grok it and send requests to it."""

from __future__ import annotations

from typing import Any

import grok
import sample
from zope.component import getUtility

import zodbjobs
from zodbjobs.grok import ManageJobs, ViewJobs
from zodbjobs.interfaces import IJob, IJobManager


class Portal(grok.Application, grok.Container):
    """The site."""


class PortalTraverser(grok.Traverser):
    grok.context(Portal)

    def traverse(self, name: str) -> Any:
        return getUtility(IJobManager) if name == "jobs" else None


class Office(grok.Model):
    """What jobs are about; who has a permission on it is granted there."""


class Status(grok.View):
    grok.context(IJob)
    grok.require(ViewJobs)

    def render(self) -> str:
        return f"{self.context.id} {self.context.status} {self.context.result}"


class Put(grok.View):
    grok.context(IJobManager)
    grok.require(ManageJobs)

    def render(self) -> str:
        return str(self.context.put(zodbjobs.Job(sample.add, 20, 3)))


class Crash(grok.View):
    """Puts a job, and fails, so that its transaction is aborted."""

    grok.context(IJobManager)
    grok.require(ManageJobs)

    def render(self) -> str:
        self.context.put(zodbjobs.Job(sample.add))
        raise ValueError("the request fails")


class JobsLayout(grok.Layout):
    """A layout for the pages; a test registers it."""

    grok.baseclass()

    def render(self) -> str:
        page = self.view
        return (
            f"<!DOCTYPE html><html><head><title>{page.title}</title>{page.head}</head>"
            f"<body>{page.content()}</body></html>"
        )
