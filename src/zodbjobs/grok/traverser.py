"""From a URL to a job."""

from __future__ import annotations

import grok

from zodbjobs.interfaces import IJobManager
from zodbjobs.stored.job import Job


class JobManagerTraverser(grok.Traverser):
    """Leads from the job manager to its jobs by their ids.

    The manager looks into the current site, which the publication has set on the way.
    """

    grok.context(IJobManager)

    def traverse(self, name: str) -> Job | None:
        """The job with the id `name`, or None: then a view of that name is looked for."""
        found: Job | None = self.context.get(name)
        return found
