"""From a URL to a job, and to the pages."""

from __future__ import annotations

from typing import Any

import grok
from zope.component import queryMultiAdapter
from zope.component.hooks import getSite
from zope.publisher.defaultview import queryDefaultViewName
from zope.publisher.interfaces import NotFound

from zodbjobs.grok.pages import Pages
from zodbjobs.grok.rights import rights_at
from zodbjobs.interfaces import IJob, IJobManager
from zodbjobs.stored.job import Job
from zodbjobs.web.rights import may


class _PagesTraverser(grok.Traverser):
    """Leads to the pages where the application has no view of its own."""

    grok.baseclass()

    #: Names between the mount of the pages and the context, in the URL.
    below_mount = 0

    def page_path(self, *name: str) -> list[str]:
        """The names, below the mount, of the page of the context, or of one below that."""
        raise NotImplementedError

    def browserDefault(self, request: Any) -> tuple[Any, tuple[str, ...]]:
        """The default view of the application's, else the page of the context."""
        name = queryDefaultViewName(self.context, request)
        if name is not None and queryMultiAdapter((self.context, request), name=name) is not None:
            return self.context, (f"@@{name}",)
        return self._pages(request, self.below_mount, self.page_path()), ()

    def publishTraverse(self, request: Any, name: str) -> Any:
        """What `traverse` finds, else a view, else the page below the context.

        Names that there aren't lead to the pages too: they ask who is there before they say so.
        """
        try:
            return super().publishTraverse(request, name)
        except NotFound:
            rest = [*self.page_path(name), *reversed(request.getTraversalStack())]
            request.setTraversalStack([])  # a page's names are its own
            return self._pages(request, self.below_mount + 1, rest)

    def _pages(self, request: Any, level: int, names: list[str]) -> Pages:
        return Pages(self.context, request, request.getURL(level, path_only=True), names)


class JobManagerTraverser(_PagesTraverser):
    """Leads from the job manager to its jobs by their ids.

    The manager looks into the current site, which the publication has set on the way.
    """

    grok.context(IJobManager)

    def page_path(self, *name: str) -> list[str]:
        """A number is a job's, also of one that wasn't put by way of the manager."""
        return ["jobs", *name] if name and name[0].isdecimal() else list(name)

    def traverse(self, name: str) -> Job | None:
        """The job with the id `name`, for who may view it; else None, as where there is none: then
        a view of the manager or a page is looked for. What answers for a job would tell, by its
        answer to those who may not see it, which ids there are.
        """
        found = self.context.get(name)
        if not IJob.providedBy(found):  # one of a class that is missing has a page
            return None
        rights = rights_at(getSite(), self.request.principal)
        return found if may(rights, "view", found) else None


class JobTraverser(_PagesTraverser):
    """Leads from a job to its page, and to those below that."""

    grok.context(IJob)
    below_mount = 1

    def page_path(self, *name: str) -> list[str]:
        """The job's page is below that of all jobs."""
        return ["jobs", self.context.id, *name]

    def traverse(self, name: str) -> None:
        """Nothing: a job contains nothing."""
