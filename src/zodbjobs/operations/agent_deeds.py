"""Deeds to the agents of a worker, in the caller's transaction, with their audit.

Each function takes a `place`, a connection or any object stored in the database; joins the
transaction of that connection, and never commits. `by` is the id of who does it, None for code
that doesn't say, and `why` a reason in words. Each raises NotStored and NotInstalled as
`get_queues` does. What is changed lasts until the worker starts anew, with what its code says.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal

from zodbjobs import defaults
from zodbjobs.errors import BadStatus
from zodbjobs.insights import find_agents, find_worker
from zodbjobs.stored.agents import Agent
from zodbjobs.stored.audit import Record
from zodbjobs.stored.lifecycle import auditing
from zodbjobs.stored.lifecycle.options import UNSAID, Unsaid
from zodbjobs.stored.lifecycle.root import get_queues
from zodbjobs.stored.queues import Queues
from zodbjobs.stored.workers import WorkerRecord

__all__ = ["add_agent", "change_agent", "remove_agent"]


def change_agent(
    place: Any,
    worker: str,
    queue: str | None = None,
    number: int | None = None,
    *,
    size: int | None = None,
    filter: Callable[..., Any] | str | Literal[Unsaid.UNSAID] | None = UNSAID,
    by: str | None = None,
    why: str | None = None,
) -> None:
    """Let agents of a worker run `size` jobs at a time each, or choose by another filter, None for
    none; left out it stays. The worker follows within a second of the commit.

    `worker` is its id, or the first characters of that. The agents are those for `queue` alone, or
    the one of that `number`, counted from 1; without these the only one. Raises BadArgument for
    what isn't there, or can't be. The filter's code may be missing here.
    """
    auditing.check(by, why)
    changes = [] if size is None else [f"size {size}"]
    changes += [] if filter is UNSAID else [f"filter {filter}"]
    for agent in find_agents(place, worker, queue, number):
        if size is not None:
            agent.size = size
        if filter is not UNSAID:
            agent.filter = filter
    _note_on_agents(place, "change agent", worker, queue, number, by, why, changes)


def add_agent(
    place: Any,
    worker: str,
    queue: str,
    size: int = defaults.AGENT_SIZE,
    filter: Callable[..., Any] | str | None = None,
    *,
    by: str | None = None,
    why: str | None = None,
) -> None:
    """Let a worker, given by its id or the first characters of that, work for another agent.

    It begins within a second of the commit. Raises UnknownQueue, and BadArgument for what isn't
    there, or can't be.
    """
    auditing.check(by, why)
    made = Agent(queue, size, filter)
    queues, record = get_queues(place), find_worker(place, worker)
    queues[queue]  # an unknown name is an error now, not an agent without work
    agent = made.copy_for(record.id)
    queues._p_jar.add(agent)
    _subscribe(queues, record, [*record.agents, agent])
    _note_on_agents(place, "add agent", worker, queue, None, by, why, [f"size {size}"])


def remove_agent(
    place: Any,
    worker: str,
    queue: str | None = None,
    number: int | None = None,
    *,
    by: str | None = None,
    why: str | None = None,
) -> None:
    """Let a worker work no longer for agents, within a second of the commit; these are found as by
    `change_agent`. What they run goes on, to its next checkpoint if it makes any; what they
    claimed and didn't begin is given back.

    Raises BadArgument for what isn't there, and BadStatus if no agent would be left: a worker that
    works for nothing would look as if it were well.
    """
    auditing.check(by, why)
    found = find_agents(place, worker, queue, number)
    queues, record = get_queues(place), find_worker(place, worker)
    left = [agent for agent in record.agents if agent not in found]
    if not left:
        raise BadStatus(
            f"worker {record.id} would have no agent left, and nothing to do; stop its "
            "process, pause the queue, or add another agent first"
        )
    _subscribe(queues, record, left)
    _note_on_agents(place, "remove agent", worker, queue, number, by, why, [])


def _subscribe(queues: Queues, record: WorkerRecord, agents: Sequence[Agent]) -> None:
    before = record.queues
    record.set_agents(agents)
    if record.queues != before:
        queues.resubscribed += 1


def _note_on_agents(
    place: Any,
    action: str,
    worker: str,
    queue: str | None,
    number: int | None,
    by: str | None,
    why: str | None,
    changes: list[str],
) -> None:
    which = [f"worker {find_worker(place, worker).id}"]
    which += [] if number is None else [f"agent {number}"]
    detail = ", ".join([*which, *changes])
    auditing.note(get_queues(place), Record(action, by, why, queue, detail=detail))
