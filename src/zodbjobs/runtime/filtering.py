"""Filtering: an agent's filter, asked so that nothing which it does harms others."""

from __future__ import annotations

import logging
from typing import Any

from ZODB.broken import Broken

from zodbjobs.interrupt import is_ctrl_c
from zodbjobs.runtime.storage import errors
from zodbjobs.stored.lifecycle import calls

log = logging.getLogger("zodbjobs")

# So often a filter may conflict for one job: a storage's conflict goes away, its own doesn't.
_MOST_CONFLICTS = 5


class LoadedFilter:
    """A filter by its dotted name; raises MissingCode if it isn't there in this process."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.asked = 0
        self._conflicts: dict[bytes, int] = {}  # by the object ids of jobs
        self._function = calls.from_stored(name)

    def accepts(self, job: Any) -> bool:
        """Whether the filter takes a job. One that can't be loaded here is taken, so that it is
        parked with the reason; one for which it raises is refused, and that is told.
        """
        self.asked += 1
        try:
            job._p_activate()
        except (Exception, SystemExit) as error:
            if errors.is_transient(error) or errors.is_disconnect(error):
                raise
            return True
        if isinstance(job, Broken):
            return True
        try:
            return bool(self._function(job))
        except BaseException as error:
            if errors.is_disconnect(error) or is_ctrl_c(error):
                raise
            if errors.is_transient(error) and not self._conflicts_for_ever(job):
                raise
            log.error(
                "the filter %s raised for %r; agents with it leave that job to others, until "
                "they have another filter",
                self.name,
                job,
                exc_info=True,
            )
            return False

    def _conflicts_for_ever(self, job: Any) -> bool:
        """Count a conflict about a job; whether no other claim is to wait for it."""
        number = self._conflicts.pop(job._p_oid, 0) + 1
        if number < _MOST_CONFLICTS:
            self._conflicts[job._p_oid] = number
        return number >= _MOST_CONFLICTS
