"""What a worker shows of itself in the database."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from BTrees.LOBTree import LOBTree
from persistent import Persistent
from ZODB.POSException import POSKeyError

from zodbjobs import clock
from zodbjobs.stored.counters import Counters
from zodbjobs.stored.gates import Gate
from zodbjobs.stored.lifecycle import keys
from zodbjobs.stored.lifecycle.keys import SENTINEL
from zodbjobs.stored.trees import WideTree, lasting_tree

if TYPE_CHECKING:
    from zodbjobs.stored.agents import Agent
    from zodbjobs.stored.conflicts import Conflicts
    from zodbjobs.stored.job import Job
    from zodbjobs.stored.lifecycle.claim import Claim


class RunningJob(Persistent):
    """What one running job tells: when it started (microseconds), annotations, log lines."""

    annotations: dict[str, Any] | None = None
    log: tuple[str, ...] = ()

    def __init__(self, started: int) -> None:
        self.started = started


class WorkerRecord(Persistent):
    """Who a worker is, that it lives, and what it holds.

    `lease`: the jobs that it has claimed and not yet booked, by key. `running`: what runs
    right now, by key. `heartbeat` grows every `heartbeat_seconds`. `queues`: the names of those
    that it works for, None for all. `late`: what was added to the jobs of the lease, in the order
    of adding: the job's key, the job, what is added to (the job or a callback of it), and what is
    added: a callback, a handle, a gate, or an annotation as its name and its value. `slots`:
    those of quotas that its jobs have, by the job's key; None for a job that only is to be ended,
    for it wasn't begun in time. `agents`: what it works for. `stuck`: how many of its threads
    don't return from a job that has timed out. `counters`: what is counted of it. `schedules`:
    the names of those that its code declares. `conflicts`: what its jobs fought over, or None.

    `machine` tells where `pid` is a process number, and `process_started` tells two processes
    of one number apart; both are '' where that isn't known. `version`: of zodbjobs, or None.
    """

    heartbeat = 0
    stuck = 0
    version: str | None = None
    queues: tuple[str, ...] | None = None
    agents: tuple[Agent, ...] = ()
    conflicts: Conflicts | None = None
    schedules: tuple[str, ...] = ()

    def __init__(
        self,
        id: str,
        *,
        host: str,
        machine: str,
        pid: int,
        process_started: str,
        started: int,
        threads: int,
        heartbeat_seconds: float,
    ) -> None:
        self.id = id
        self.host = host
        self.machine = machine
        self.pid = pid
        self.process_started = process_started
        self.started = started
        self.threads = threads
        self.heartbeat_seconds = heartbeat_seconds
        self.lease = WideTree()
        self.lease[SENTINEL] = None
        self.running = LOBTree()
        self.slots = LOBTree()
        self.late = lasting_tree()
        self.counters = Counters()

    def set_agents(self, agents: Sequence[Agent]) -> None:
        """Let it work for `agents`, which are of no other worker, and so for their queues."""
        self.agents = tuple(agents)
        names: dict[str, None] = {}
        for agent in agents:
            names.update(dict.fromkeys(agent.queues or ()))
        queues = None if any(agent.queues is None for agent in agents) else tuple(names)
        if queues != self.queues:
            self.queues = queues

    def agent(self, oid: bytes) -> Agent | None:
        """The agent with that object id; None if it was removed, and the database packed."""
        for agent in self.agents:
            if agent._p_oid == oid:
                return agent
        try:
            removed: Agent = self._p_jar.get(oid)
        except POSKeyError:
            return None
        return removed

    def serves(self, queue: str) -> bool:
        """Whether it works for the queue of that name."""
        return self.queues is None or queue in self.queues

    def holds(self, key: int | None, job: Job) -> bool:
        """Whether `job` is in the lease under `key`."""
        return key is not None and self.lease.get(key) is job

    def is_too_late(self, key: int) -> bool:
        """Whether the job that it holds under `key`, not begun in time, only is to be ended."""
        return bool(self.slots) and self.slots.get(key, ()) is None

    def leased(self) -> list[tuple[int, Job]]:
        """The keys and jobs of the lease."""
        return list(self.lease.items(SENTINEL + 1))

    def add_late(self, key: int, job: Job, target: Any, follower: Any) -> None:
        """Note what is added to a job that it holds, or to a callback of that."""
        place = keys.free_key(self.late, keys.key_for_now(0, clock.now()))
        self.late[place] = (key, job, target, follower)

    def has_late(self, job: Job) -> bool:
        """Whether a callback that was added to `job` waits for this worker."""
        late = self.late
        if late.maxKey() == SENTINEL:
            return False
        entries = late.values(SENTINEL + 1)
        return any(e[1] is job and not isinstance(e[3], Gate | tuple) for e in entries)

    def late_annotations(self, job: Job) -> dict[str, Any]:
        """The annotations that others have set on `job` since it was claimed."""
        late = self.late
        if late.maxKey() == SENTINEL:
            return {}
        entries = late.values(SENTINEL + 1)
        return dict(e[3] for e in entries if e[1] is job and type(e[3]) is tuple)

    def job_of(self, claim: Claim) -> Job | None:
        """The claimed job if the lease still holds it, else None."""
        job: Job | None = self.lease.get(claim.key)
        if job is None or job._p_oid != claim.oid:
            return None
        return job

    def release(self, key: int) -> None:
        """Take a key off the lease, and off what runs; the job's slots are free by that."""
        del self.lease[key]
        if key in self.running:
            del self.running[key]
        if self.slots and key in self.slots:
            for slots in self.slots.pop(key) or ():
                slots.give_back((self.id, key))
