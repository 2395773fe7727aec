"""The agents of the workers, and what they would take."""

from __future__ import annotations

from typing import Any

from zodbjobs import clock
from zodbjobs.errors import BadArgument
from zodbjobs.insights.infos import JobInfo
from zodbjobs.insights.jobs import job_info, unreadable_reason
from zodbjobs.queue_names import spoken
from zodbjobs.stored.agents import Agent
from zodbjobs.stored.lifecycle import browse
from zodbjobs.stored.lifecycle.root import get_queues
from zodbjobs.stored.workers import WorkerRecord


def stored_agents(place: Any) -> list[Agent]:
    """The agents of all registered workers, in the order of these.

    A change of `size` or `filter` joins the caller's transaction, and is applied within a second
    of its commit. `worker` is the id of an agent's worker.
    """
    return [agent for record in get_queues(place).workers.values() for agent in record.agents]


def find_worker(place: Any, worker: str) -> WorkerRecord:
    """The record of a worker, given by its id or the first characters of that.

    Raises BadArgument unless there is one such.
    """
    found = [r for r in get_queues(place).workers.values() if r.id.startswith(worker)]
    if len(found) != 1:
        raise BadArgument(
            f"{len(found)} workers have ids that begin with {worker!r}; `zodbjobs agents`, or "
            "stored_agents of zodbjobs.insights, lists them"
        )
    record: WorkerRecord = found[0]
    return record


def find_agents(
    place: Any, worker: str, queue: str | None = None, number: int | None = None
) -> list[Agent]:
    """The agents of a worker, given by its id or the first characters of that: those for `queue`
    alone, or the one of that `number`, counted from 1; without these its only one.

    Raises BadArgument unless there are any, of one worker.
    """
    record = find_worker(place, worker)
    found = list(enumerate(record.agents, 1))
    if queue is None and number is None and len(found) > 1:
        raise BadArgument(
            f"worker {record.id} has {len(found)} agents; say which one, by its queue or its "
            "number, as `zodbjobs agents` lists them"
        )
    chosen = [
        agent
        for place_of, agent in found
        if number in (None, place_of) and (queue is None or agent.queue == queue)
    ]
    if not chosen:
        asked = [] if number is None else [f"the number {number}"]
        asked += [] if queue is None else [f"{spoken(queue)} alone"]
        raise BadArgument(
            f"worker {record.id} has no agent with {' and '.join(asked)}; `zodbjobs agents`, or "
            "stored_agents of zodbjobs.insights, lists those that it has"
        )
    return chosen


def jobs_for(agent: Agent, limit: int = 50) -> list[JobInfo]:
    """Up to `limit` waiting jobs that a stored agent would take, the first one first.

    Calls its filter in this process, and raises what that raises, or MissingCode. A filter that
    takes few makes it look far. Jobs that aren't due yet are among them.
    """
    queues = get_queues(agent)
    chosen = queues.values() if agent.queues is None else [queues[n] for n in agent.queues]
    found: list[JobInfo] = []
    for queue in chosen:
        for _, job in browse.in_order(queue.shards, clock.now()):
            if len(found) >= limit:
                return found
            if unreadable_reason(job) is not None or agent.accepts(job):
                found.append(job_info(job))
    return found
