"""Filtering: an agent's filter, asked so that nothing which it does harms others."""

from __future__ import annotations

import logging
from typing import Any

from ZODB.broken import Broken

from zodbjobs.runtime.storage import errors
from zodbjobs.stored.lifecycle import calls

log = logging.getLogger("zodbjobs")


class LoadedFilter:
    """A filter by its dotted name; raises MissingCode if it isn't there in this process."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.asked = 0
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
            if errors.is_transient(error) or errors.is_disconnect(error):
                raise
            if isinstance(error, KeyboardInterrupt):
                raise
            log.error(
                "the filter %s raised for %r; agents with it leave that job to others, until "
                "they have another filter",
                self.name,
                job,
                exc_info=True,
            )
            return False
