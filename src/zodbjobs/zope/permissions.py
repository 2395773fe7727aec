"""Who may look at jobs, and who may change them; `permissions.zcml` declares the two."""

from __future__ import annotations

#: To see jobs, their states and their progress.
VIEW_JOBS = "zodbjobs: View jobs"

#: To see and do all that can be seen of jobs and done to them.
MANAGE_JOBS = "zodbjobs: Manage jobs"
