"""Finds the queues of zc.async in a database, and the jobs in each."""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field
from typing import Any

from ZODB.utils import z64

from zodbjobs import clock
from zodbjobs.cli.errors import CommandError
from zodbjobs.cli.zc_async.containers import Containers
from zodbjobs.cli.zc_async.jobs import OldJob, claimed_state, read_job, recovering
from zodbjobs.cli.zc_async.records import Instance, Record, Records, Reference
from zodbjobs.cli.zc_async.values import value_of

_KEY = "zc.async"


@dataclass(frozen=True)
class Found:
    """A job, where it stands, and by which dispatcher and agent it was taken."""

    job: OldJob
    state: str
    agent: str | None = None


@dataclass
class OldQueue:
    """A queue by name: its jobs, its quotas with their sizes, and what can't be read."""

    name: str
    jobs: list[Found] = field(default_factory=list)
    ended: list[Found] = field(default_factory=list)
    quotas: dict[str, int] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)


def find_queues(records: Records, database: str) -> list[OldQueue]:
    """The queues in their order; CommandError if the database has none."""
    containers = Containers(records)
    root = containers.mapping(Reference(z64))
    if containers.problems:
        raise CommandError(f"can't read the root of {database}: {containers.problems[0]}")
    queues = root.get(_KEY)
    if queues is None:
        raise CommandError(
            f"{database} has no queues of zc.async: its root has no {_KEY!r}; they may be in "
            "the file of another database, often named async"
        )
    if isinstance(queues, Reference) and queues.database:
        raise CommandError(
            f"the queues of {database} are in the database {queues.database!r}; give its file"
        )
    names = containers.zc_dict(queues)
    if containers.problems and not names:
        raise CommandError(f"can't read the queues of {database}: {containers.problems[0]}")
    found = [_read_queue(records, str(name), queue) for name, queue in names.items()]
    if found:
        found[0].problems[:0] = containers.problems
    return found


def _read_queue(records: Records, name: str, reference: Any) -> OldQueue:
    containers = Containers(records)
    queue = OldQueue(name, problems=containers.problems)
    record = containers.record(reference)
    if record is None:
        return queue
    queue.quotas = containers.tried(lambda: _quotas(containers, record), {}, "a quota")
    waiting = containers.zc_queue(record.get("_queue"))
    if record.get("_putback_queue") is not None:  # goes before all others
        waiting = containers.zc_queue(record.get("_putback_queue")) + waiting
    waiting += [job for _, job in containers.tree(record.get("_held"))]
    queue.jobs = [_waiting(containers, job) for job in waiting]
    agents: list[tuple[str, Record]] = []
    agents = containers.tried(lambda: _agents(containers, record), agents, "an agent")
    for name, agent in agents:
        queue.jobs += [
            _claimed(containers, j, name) for j in containers.zc_queue(agent.get("_data"))
        ]
        queue.ended += [_ended(containers, job, name) for job in _completed(containers, agent)]
    return queue


def _waiting(containers: Containers, reference: Any) -> Found:
    job = read_job(containers, reference)
    inner = recovering(containers, job)
    if inner is not None:
        return Found(*inner)
    now = clock.to_datetime(clock.now())
    due = job.begin_after or now
    if job.begin_by is not None and now - due > job.begin_by:
        return Found(job, "expired")
    return Found(job, "scheduled" if due > now else "pending")


def _claimed(containers: Containers, reference: Any, agent: str) -> Found:
    job = read_job(containers, reference)
    inner, state = recovering(containers, job) or (job, claimed_state(job))
    return Found(inner, state, agent)


def _ended(containers: Containers, reference: Any, agent: str) -> Found:
    job = read_job(containers, reference)
    return Found(job, "failed" if job.failure else "succeeded", agent)


def _quotas(containers: Containers, queue: Record) -> dict[str, int]:
    """The quotas of a queue: sizes by name; 1 where that can't be read."""
    found = {}
    for name, reference in containers.zc_dict(queue.get("quotas")).items():
        quota = containers.record(reference)
        size = None if quota is None else quota.get("size")
        found[str(name)] = size if isinstance(size, int) else 1
    return found


def _agents(containers: Containers, queue: Record) -> list[tuple[str, Record]]:
    """The agents of all dispatchers of a queue, with the names of both."""
    found = []
    for dispatcher, agents in containers.zc_dict(queue.get("dispatchers")).items():
        for name, reference in containers.zc_dict(agents).items():
            agent = containers.record(reference)
            if agent is not None:
                found.append((f"{name} of {_identity(dispatcher)}", agent))
    return found


def _completed(containers: Containers, agent: Record) -> list[Any]:
    """The jobs in the history of an agent, which is a forest of trees; the newest first."""
    history = containers.record(agent.get("completed"))
    forest = history and containers.record(history.get("_data"))
    if not forest:
        return []
    buckets = containers.sequence(forest.get("buckets"))
    pairs = [pair for bucket in buckets for pair in containers.tree(bucket)]
    return [job for _, job in sorted(pairs, key=lambda pair: str(pair[0]).zfill(20))]


def _identity(dispatcher: Any) -> str:
    """The UUID of a dispatcher, which a record holds as an instance with a number."""
    state = dispatcher.state if isinstance(dispatcher, Instance) else None
    number = state.get("int") if isinstance(state, dict) else None
    return str(uuid.UUID(int=number)) if isinstance(number, int) else str(value_of(dispatcher))
