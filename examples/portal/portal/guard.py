"""Refuses work when there is too much of it."""

from __future__ import annotations

import os

#: The environment variable with how many of a person's jobs may wait or run.
VARIABLE = "PORTAL_MOST_JOBS"
