"""Who may look at jobs, and who may change them.

The ids are those of the predecessor, so that the roles of an application that grants
them stay as they are.
"""

from __future__ import annotations

import grok


class ViewJobs(grok.Permission):
    """To see jobs, their states and their results."""

    grok.name("waeup.viewJobs")
    grok.title("View jobs")


class ManageJobs(grok.Permission):
    """To put, cancel and remove jobs."""

    grok.name("waeup.manageJobs")
    grok.title("Manage jobs")
