"""The job manager for Grok applications.

Put ``<include package="zodbjobs.grok" />`` into the application's ZCML: it groks this
package, which registers the job manager, its traverser and the permissions. Needs the
extra ``grok``.
"""

from __future__ import annotations

from zodbjobs.grok.manager import JobManager
from zodbjobs.grok.permissions import ManageJobs, ViewJobs
from zodbjobs.grok.traverser import JobManagerTraverser

__all__ = ["JobManager", "JobManagerTraverser", "ManageJobs", "ViewJobs"]
