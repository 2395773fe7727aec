"""The workers: whether they live, what they work for, and what they have."""

from __future__ import annotations

import dataclasses
from datetime import datetime

from zodbjobs.insights import WorkerInfo, list_workers, stored_agents
from zodbjobs.web import sentences
from zodbjobs.web.language import message as _
from zodbjobs.web.responses import Response
from zodbjobs.web.visit import Visit

_WORDS = {
    "running": (_("alive"), "good"),
    "silent": (_("silent"), "warning"),
    "stuck": (_("stuck"), "warning"),
    "gone": (_("gone"), "bad"),
}


@dataclasses.dataclass(frozen=True)
class WorkerRow:
    """A worker. `name`: its machine and process; `jobs`: where those are that it has."""

    id: str
    name: str
    word: str
    look: str
    version: str | None
    started: datetime
    last_written: datetime | None
    heartbeat: str
    threads: str
    active: str
    assigned: str
    stuck: int
    agents: tuple[str, ...]
    jobs: str


def worker_row(visit: Visit, info: WorkerInfo, agents: tuple[str, ...] = ()) -> WorkerRow:
    """The row of a worker."""
    word, look = _WORDS[info.state]
    number = visit.language.number
    return WorkerRow(
        id=info.id,
        name=f"{info.host}:{info.pid}",
        word=visit.t(word),
        look=look,
        version=info.version,
        started=info.started,
        last_written=info.last_written,
        heartbeat=number(info.heartbeat),
        threads=number(info.threads),
        active=number(info.active),
        assigned=number(info.assigned),
        stuck=info.stuck,
        agents=agents,
        jobs=visit.url("jobs", worker=info.id, state="active"),
    )


def workers(visit: Visit) -> Response:
    """The page of the workers."""
    agents: dict[str | None, list[str]] = {}
    for agent in stored_agents(visit.connection):
        agents.setdefault(agent.worker, []).append(served(visit, agent.queues, agent.size))
    found = list_workers(visit.connection)
    rows = tuple(worker_row(visit, info, tuple(agents.get(info.id, ()))) for info in found)
    live = sentences.WAITING if rows else sentences.RESTING
    return visit.page("workers", visit.t("Workers"), (visit.notice(), rows), live=live)


def served(visit: Visit, queues: tuple[str, ...] | None, size: int) -> str:
    """What an agent works for, in words."""
    names = [name or visit.t("default queue") for name in queues or ()]
    what = visit.t("all queues") if queues is None else ", ".join(names)
    return visit.t("{what}: {count} at a time", what=what, count=visit.language.number(size))
