"""Assembly: the parts of a worker, put together in one place."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any, NamedTuple

from zodbjobs import defaults
from zodbjobs.runtime.dispatcher import Dispatcher
from zodbjobs.runtime.group import Group
from zodbjobs.runtime.lane import Lane
from zodbjobs.runtime.registration import Registration
from zodbjobs.runtime.runner import Runner
from zodbjobs.runtime.slot import Slot
from zodbjobs.runtime.storage import abilities
from zodbjobs.runtime.thread_session import ThreadSession
from zodbjobs.runtime.wakeup import Wakeup
from zodbjobs.runtime.workload import Workload
from zodbjobs.stored.agents import Agent
from zodbjobs.stored.schedule import Schedule


class Options(NamedTuple):
    """What a Worker was told; see there."""

    queues: Sequence[str] | None = None
    threads: int = 1
    #: What it works for; without it there is one for `queues` and `threads`.
    agents: Sequence[Agent] = ()
    group_commit: float = defaults.GROUP_SECONDS
    history_seconds: float = defaults.HISTORY_SECONDS
    history_count: int = defaults.HISTORY_COUNT
    heartbeat_seconds: float = defaults.HEARTBEAT_SECONDS
    #: As many stuck threads end it; None for the default.
    stuck_threads: int | None = None
    #: Those that its code declares.
    schedules: Sequence[Schedule] = ()
    #: Whether it claims from all shards, and leaves none to other workers.
    owns_all: bool = False


class Parts:
    """A registered worker's parts; what runs them is a thread pool, or a test.

    Registers when it is made, and raises what that raises. There is a lane for each agent. A
    claim's way: `dispatcher` -> the workload of a lane -> a runner -> `dispatcher`.
    """

    def __init__(self, db: Any, options: Options, stopping: threading.Event) -> None:
        self._db = db
        self._stopping = stopping
        agents = options.agents or [Agent.of_all(options.queues, options.threads)]
        self.registration = registration = Registration(
            db, agents, options.heartbeat_seconds, options.schedules
        )
        one_process = abilities.is_for_one_process(db)
        self._group_commit = options.group_commit
        self._group_jobs = defaults.GROUP_JOBS if one_process else defaults.SERVER_GROUP_JOBS
        self.wakeup = Wakeup(registration.db)
        self._owns_all = options.owns_all
        self.lanes = [
            self.make_lane(oid, agent)
            for oid, agent in zip(registration.agent_oids, agents, strict=True)
        ]
        #: Those of all lanes.
        self.slots = [slot for lane in self.lanes for slot in lane.slots]
        self.dispatcher = Dispatcher(
            registration.session,
            self.slots,
            self.lanes,
            self.wakeup,
            stopping,
            options.heartbeat_seconds,
            registration.measures,
            [registration.conflicts],
        )

    @property
    def workload(self) -> Workload:
        """That of the first lane: the only one, unless there are several agents."""
        return self.lanes[0].workload

    def make_lane(self, oid: bytes, agent: Agent) -> Lane:
        """A lane for an agent, of which the worker's record has a copy with that object id."""
        session, owns_all = self.registration.session, self._owns_all
        return Lane(oid, agent, session, self.wakeup, self.make_slot, owns_all)

    def make_slot(self, agent: bytes) -> Slot:
        """The slot of another thread of an agent, given by its object id."""
        group = Group(self._group_commit, self._group_jobs)
        return Slot(group, agent, self.registration.measures, self.registration.conflicts)

    def make_runner(self, slot: Slot) -> Runner:
        """The runner of a slot, with a connection of its own for the calling thread only."""
        thread_session = ThreadSession(self._db, self.registration.session_in)
        return Runner(self._db, thread_session, slot, self.dispatcher.report, self._stopping)
