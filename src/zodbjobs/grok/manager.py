"""The job manager as a utility."""

from __future__ import annotations

import grok

from zodbjobs import manager
from zodbjobs.interfaces import IJobManager


class JobManager(manager.JobManager, grok.GlobalUtility):
    """The unnamed global utility for IJobManager."""

    grok.provides(IJobManager)
