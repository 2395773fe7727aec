"""Who may look at jobs, and who may change them.

The ids are those of the predecessor, so that the roles of an application that grants
them stay as they are.
"""

from __future__ import annotations

import grok

VIEW_JOBS = "waeup.viewJobs"
MANAGE_JOBS = "waeup.manageJobs"


class ViewJobs(grok.Permission):
    """To see jobs, their states and their progress."""

    grok.name(VIEW_JOBS)
    grok.title("View jobs")


class ManageJobs(grok.Permission):
    """To see and do all that can be seen of jobs and done to them."""

    grok.name(MANAGE_JOBS)
    grok.title("Manage jobs")
