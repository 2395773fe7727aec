"""Lane: where the jobs of one agent wait and run, apart from those of a worker's other agents."""

from __future__ import annotations

import logging
from collections.abc import Callable

from zodbjobs.errors import MissingCode
from zodbjobs.runtime.claimer import Claimer
from zodbjobs.runtime.filtering import LoadedFilter
from zodbjobs.runtime.session import Session
from zodbjobs.runtime.slot import Slot
from zodbjobs.runtime.wakeup import Wakeup
from zodbjobs.runtime.workload import Workload
from zodbjobs.stored.agents import Agent
from zodbjobs.stored.lifecycle.claim import Claim

log = logging.getLogger("zodbjobs")


class Lane:
    """An agent at work: its workload, what claims for that, and the slots of its threads.

    `oid` is the object id of the agent in the worker's record. `is_leaving`: the agent was
    removed; what it claimed and didn't begin is given back, what runs goes on.
    """

    def __init__(
        self,
        oid: bytes,
        agent: Agent,
        session: Session,
        wakeup: Wakeup,
        make_slot: Callable[[bytes], Slot],
        owns_all: bool = False,
    ) -> None:
        self.oid = oid
        self.is_leaving = False
        self.queues = agent.queues
        self.size = agent.size
        self.filter: str | None = None
        self.workload = Workload(agent.size)
        self.claimer = Claimer(session, agent.size, wakeup.look(), owns_all, agent.queues)
        self.slots = [make_slot(oid) for _ in range(agent.size)]
        #: What was handed out and isn't booked, by the keys in the lease: of two databases
        #: both may have a job of one id.
        self.outstanding: dict[int, Claim] = {}
        #: Whether it ever had a job with quotas, or one that was interrupted: else nobody looks
        #: for such among what is outstanding, at each step.
        self.has_had_special = False
        self.set_filter(agent.filter)

    def serves(self, queue: str) -> bool:
        """Whether it takes jobs of the queue of that name."""
        if self.is_leaving:
            return False
        return self.queues is None or queue in self.queues

    def set_filter(self, name: str | None) -> None:
        """Have another filter; nothing is claimed while this process hasn't its code."""
        if name == self.filter:
            return
        self.filter = name
        try:
            self.claimer.choose(None if name is None else LoadedFilter(name))
        except MissingCode as error:
            log.error("an agent claims nothing, as its filter is missing: %s", error)
            self.claimer.choose_none()

    def leave(self) -> None:
        """Claim nothing more, and have room for no more jobs; the thread pool does the rest."""
        self.is_leaving = True
        self.size = 0
        self.claimer.stop()
        self.workload.resize(0)

    def __str__(self) -> str:
        names = "all queues" if self.queues is None else ", ".join(map(repr, self.queues))
        return f"an agent of {names}"

    def resize(self, size: int) -> None:
        """Have room for another number of jobs at a time; the thread pool does the rest."""
        self.size = size
        self.workload.resize(size)
        self.claimer.resize(size)
