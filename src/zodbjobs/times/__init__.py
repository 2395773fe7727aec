"""Times: when something is to happen that happens again, as pure functions.

What happens when is a plain tuple, which a schedule stores: ``('cron', expression)``, ``('every',
microseconds, anchor)`` or ``('at', (microseconds, ...))``. Moments are microseconds since 1970.
"""

from __future__ import annotations

from zodbjobs.times.cron import checked_cron
from zodbjobs.times.when import (
    When,
    at,
    checked,
    every,
    first_after,
    in_words,
    last_until,
    shown,
    times,
)
from zodbjobs.times.zones import checked_zone, local

__all__ = [
    "When",
    "at",
    "checked",
    "checked_cron",
    "checked_zone",
    "every",
    "first_after",
    "in_words",
    "last_until",
    "local",
    "shown",
    "times",
]
