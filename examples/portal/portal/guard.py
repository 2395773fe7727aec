"""Refuses work when there is too much of it; who asked for it is told when to try again."""

from __future__ import annotations

import os

from zodbjobs.load_guard import LoadGuard

#: The environment variables with the bounds: how many of a person's jobs may wait or run, and from
#: how many percent of the memory on nobody's are taken.
JOBS, MEMORY = "PORTAL_MOST_JOBS", "PORTAL_MOST_MEMORY"

guard = LoadGuard(
    running_per_owner=int(os.environ.get(JOBS) or 5),
    memory=float(os.environ.get(MEMORY) or 95),
)
