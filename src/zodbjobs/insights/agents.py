"""The agents of the workers, and what they would take."""

from __future__ import annotations

from typing import Any

from zodbjobs import clock
from zodbjobs.errors import BadArgument
from zodbjobs.insights.infos import JobInfo
from zodbjobs.insights.jobs import job_info, unreadable_reason
from zodbjobs.stored.agents import Agent
from zodbjobs.stored.lifecycle import browse
from zodbjobs.stored.lifecycle.root import get_queues


def stored_agents(place: Any) -> list[Agent]:
    """The agents of all registered workers, in the order of these.

    A change of `size` or `filter` joins the caller's transaction, and is applied within a second
    of its commit. `worker` is the id of an agent's worker.
    """
    return [agent for record in get_queues(place).workers.values() for agent in record.agents]


def find_agents(place: Any, worker: str, queue: str) -> list[Agent]:
    """The agents for a queue of a worker, given by its id or the first characters of that.

    Raises BadArgument unless there are any, of one worker.
    """
    found = [a for a in stored_agents(place) if (a.worker or "").startswith(worker)]
    found = [agent for agent in found if agent.queue == queue]
    if len({agent.worker for agent in found}) != 1:
        raise BadArgument(
            f"{len(found)} agents for queue {queue!r} are of workers whose ids begin with "
            f"{worker!r}; `zodbjobs agents`, or stored_agents of zodbjobs.insights, lists them"
        )
    return found


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
