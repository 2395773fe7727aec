"""The job manager for Grok applications.

Put ``<include package="zodbjobs.grok" />`` into the application's ZCML: it groks this
package, which registers the job manager, its traverser, the pages of `zodbjobs.web` at the manager
and at each job, and the permissions. Needs the extra ``grok``.
"""

from __future__ import annotations

from zodbjobs.grok.interfaces import IJobsLayout
from zodbjobs.grok.manager import JobManager
from zodbjobs.grok.namespaces import refuse_namespaces
from zodbjobs.grok.permissions import ManageJobs, ViewJobs
from zodbjobs.grok.rights import realm_of
from zodbjobs.grok.traverser import JobManagerTraverser, JobTraverser

__all__ = [
    "IJobsLayout",
    "JobManager",
    "JobManagerTraverser",
    "JobTraverser",
    "ManageJobs",
    "ViewJobs",
    "realm_of",
    "refuse_namespaces",
]
