"""Slots: those of quotas that nobody holds are found, and freed."""

from __future__ import annotations

import logging

from zodbjobs import defaults
from zodbjobs.queue_names import spoken
from zodbjobs.runtime.periodic import Interval
from zodbjobs.runtime.session import Session
from zodbjobs.stored.quotas import Slots

log = logging.getLogger("zodbjobs")


class FreeSlots:
    """Frees slots of which the holder has no such job, in a step of the dispatcher.

    A slot goes with the job's key in a lease, so that this finds none, unless somebody has undone
    a transaction.
    """

    def __init__(self) -> None:
        self._interval = Interval(defaults.SLOTS_SECONDS)

    def is_due(self) -> bool:
        """Whether it is time to look."""
        return self._interval.is_due()

    def write(self, session: Session) -> None:
        """Free what is found; joins the transaction of `session`."""
        for queue in session.queues():
            for slots in queue.quotas.all_slots():
                self._look(session, slots, queue.name)
            queue.quotas.drop_old_turns()

    def _look(self, session: Session, slots: Slots, queue: str) -> None:
        workers = session.stored.workers
        for worker_id, key in slots.held:
            record = workers.get(worker_id)
            if record is None or slots not in (record.slots.get(key) or ()):
                log.error(
                    "a slot of quota %r of %s was held for a job that worker %s doesn't "
                    "have; it is free now",
                    *(slots.name, spoken(queue), worker_id),
                )
                slots.give_back((worker_id, key))
        slots.open()

    def written(self) -> None:
        """Note that it was committed."""
        self._interval.done()
