"""The queues: what is where, what is paused; and one queue, which can be changed."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from datetime import datetime

from ZODB.utils import u64

from zodbjobs import clock
from zodbjobs.errors import UnknownQueue, ZodbjobsError
from zodbjobs.insights import (
    PauseInfo,
    QueueStats,
    QuotaInfo,
    all_queue_stats,
    find_worker,
    list_quotas,
    list_workers,
    queue_stats,
    stored_agents,
)
from zodbjobs.operations import agent_deeds, deeds
from zodbjobs.stored.lifecycle.options import UNSAID
from zodbjobs.web import charts, filters, responses, sentences
from zodbjobs.web.pace import paced
from zodbjobs.web.responses import Response
from zodbjobs.web.visit import DONE, NotFound, Visit


@dataclasses.dataclass(frozen=True)
class QueueRow:
    """A queue in a list; numbers as texts. `runs`, `waits`: whether anything does."""

    key: str
    name: str
    path: str
    word: str
    look: str
    reason: str | None
    waiting: str
    later: str
    active: str
    parked: str
    hour: str
    failed: str
    history: str
    oldest: datetime | None
    runs: bool
    waits: bool


@dataclasses.dataclass(frozen=True)
class AgentRow:
    """An agent that works for the queue. `worker`: the id; `name`: its machine and process."""

    id: str
    worker: str
    name: str
    queues: str
    size: int
    filter: str | None


@dataclasses.dataclass(frozen=True)
class QueueShown:
    """All that the page of one queue shows."""

    notice: str | None
    error: str | None
    row: QueueRow
    numbers: tuple[tuple[str, str, str], ...]
    times: tuple[tuple[str, str], ...]
    pauses: tuple[PauseInfo, ...]
    draining: str | None
    is_paused: bool
    quotas: tuple[QuotaInfo, ...]
    agents: tuple[AgentRow, ...]
    workers: tuple[tuple[str, str], ...]
    may_pause: bool
    may_change_quota: bool
    may_change_agent: bool


def queue_row(visit: Visit, stats: QueueStats) -> QueueRow:
    """The row of a queue."""
    t, number = visit.t, visit.language.number
    whole = next((pause for pause in stats.pauses if pause.match is None), None)
    if whole is not None:
        word, look, reason = t("paused"), "warning", whole.reason
    elif stats.draining is not None:
        word, look, reason = t("draining"), "warning", stats.draining
    elif stats.pauses:
        word, look, reason = t("partly paused"), "warning", stats.pauses[0].reason
    else:
        word, look, reason = t("open"), "good", None
    return QueueRow(
        key=filters.encoded(stats.name),
        name=stats.name or t("default queue"),
        path=visit.url("queues", filters.encoded(stats.name)),
        word=word,
        look=look,
        reason=reason,
        waiting=number(stats.waiting),
        later=number(stats.scheduled + stats.blocked + stats.paused),
        active=number(stats.active + stats.assigned),
        parked=number(stats.parked),
        hour=number(sum(each.finished for each in stats.chart)),
        failed=number(sum(each.failed for each in stats.chart)),
        history=number(stats.finished),
        oldest=stats.oldest_waiting,
        runs=bool(stats.active or stats.assigned),
        waits=bool(stats.waiting),
    )


def queues(visit: Visit) -> Response:
    """The page of all queues."""
    start = clock.monotonic()
    rows = tuple(queue_row(visit, each) for each in all_queue_stats(visit.connection))
    live = _live(rows, clock.monotonic() - start)
    return visit.page("queues", visit.t("Queues"), (visit.notice(), rows), live=live)


def queue(visit: Visit) -> Response:
    """The page of one queue."""
    return _page(visit)


def _live(rows: tuple[QueueRow, ...], cost: float) -> int:
    wanted = sentences.WAITING if any(row.waits for row in rows) else sentences.RESTING
    return paced(sentences.RUNNING if any(row.runs for row in rows) else wanted, cost)


def _name(visit: Visit) -> str:
    return filters.decoded(visit.parts["name"])


def _page(visit: Visit, error: str | None = None) -> Response:
    start = clock.monotonic()
    name = _name(visit)
    try:
        stats = queue_stats(visit.connection, name)
    except UnknownQueue:
        raise NotFound from None
    row = queue_row(visit, stats)
    workers = {info.id: f"{info.host}:{info.pid}" for info in list_workers(visit.connection)}
    shown = QueueShown(
        notice=visit.notice(),
        error=error,
        row=row,
        numbers=tuple(_numbers(visit, stats, row.key)),
        times=tuple(_times(visit, stats)),
        pauses=stats.pauses,
        draining=stats.draining,
        is_paused=any(pause.match is None for pause in stats.pauses),
        quotas=tuple(list_quotas(visit.connection, name)),
        agents=_agents(visit, name, workers),
        workers=tuple(workers.items()),
        may_pause=visit.may("pause"),
        may_change_quota=visit.may("change_quota"),
        may_change_agent=visit.may("change_agent"),
    )
    title = visit.t("Queue {name}", name=name) if name else visit.t("The default queue")
    if error is not None:
        return visit.page("queue", title, shown, status=400, cache=responses.NOT_KEPT)
    return visit.page("queue", title, shown, live=_live((row,), clock.monotonic() - start))


def _numbers(visit: Visit, stats: QueueStats, key: str) -> list[tuple[str, str, str]]:
    """Title, number, and where the jobs are."""
    named = (
        (visit.t("waiting"), stats.waiting, "waiting"),
        (visit.t("scheduled"), stats.scheduled, "scheduled"),
        (visit.t("blocked"), stats.blocked, "blocked"),
        (visit.t("put aside"), stats.paused, "paused"),
        (visit.t("assigned"), stats.assigned, "assigned"),
        (visit.t("running"), stats.active, "active"),
        (visit.t("parked"), stats.parked, "parked"),
        (visit.t("ended"), stats.finished, "completed"),
        (visit.t("without success"), stats.unsuccessful, "failed"),
    )
    number = visit.language.number
    return [
        (title, number(count), visit.url("jobs", state=state, queue=key))
        for title, count, state in named
    ]


def _times(visit: Visit, stats: QueueStats) -> list[tuple[str, str]]:
    found = []
    for title, times in (
        (visit.t("Waiting time, last hour"), stats.waiting_time),
        (visit.t("Duration, last hour"), stats.duration),
    ):
        if times is not None:
            found.append((title, charts.said_times(visit.language, times)))
    return found


def _agents(visit: Visit, queue: str, workers: dict[str, str]) -> tuple[AgentRow, ...]:
    return tuple(
        AgentRow(
            id=str(u64(agent._p_oid)),
            worker=agent.worker or "",
            name=workers.get(agent.worker or "", "?"),
            queues=visit.t("all queues")
            if agent.queues is None
            else ", ".join(name or visit.t("default queue") for name in agent.queues),
            size=agent.size,
            filter=agent.filter,
        )
        for agent in stored_agents(visit.connection)
        if agent.queues is None or queue in agent.queues
    )


# Changes. The words of who is refused are those of the error, in English: they name the cure.


def pause(visit: Visit) -> Response:
    """Begin no jobs of the queue, or none that match, until it is resumed."""
    match = visit.field("match") or None
    return _change(
        visit,
        "paused",
        lambda: deeds.pause(visit.connection, _name(visit), _why(visit) or "", match, _by(visit)),
    )


def resume(visit: Visit) -> Response:
    """Lift a pause, and a drain."""
    match = visit.field("match") or None
    return _change(
        visit,
        "resumed",
        lambda: deeds.resume(visit.connection, _name(visit), match, _by(visit), _why(visit)),
    )


def drain(visit: Visit) -> Response:
    """Take no new jobs."""
    return _change(
        visit,
        "draining",
        lambda: deeds.drain(visit.connection, _name(visit), _why(visit) or "", _by(visit)),
    )


def change_quota(visit: Visit) -> Response:
    """Let more or fewer jobs of a quota run at once, or begin in a span of time."""

    def change() -> None:
        has_rate = bool(visit.field("rate"))
        deeds.change_quota(
            visit.connection,
            _name(visit),
            visit.field("quota"),
            None if has_rate and not visit.field("size") else _number(visit, "size"),
            _by(visit),
            _why(visit),
            rate=_number(visit, "rate") if has_rate else UNSAID,
        )

    return _change(visit, "changed", change)


def change_agent(visit: Visit) -> Response:
    """Let an agent run more or fewer jobs at once."""
    return _change(
        visit,
        "changed",
        lambda: agent_deeds.change_agent(
            visit.connection,
            *_agent(visit),
            size=_size(visit),
            by=_by(visit),
            why=_why(visit),
        ),
    )


def add_agent(visit: Visit) -> Response:
    """Let a worker work for the queue."""
    return _change(
        visit,
        "changed",
        lambda: agent_deeds.add_agent(
            visit.connection,
            _worker(visit),
            _name(visit),
            _size(visit),
            by=_by(visit),
            why=_why(visit),
        ),
    )


def remove_agent(visit: Visit) -> Response:
    """Let a worker work no longer for an agent."""
    return _change(
        visit,
        "changed",
        lambda: agent_deeds.remove_agent(
            visit.connection, *_agent(visit), by=_by(visit), why=_why(visit)
        ),
    )


class _Wrong(Exception):
    """What was sent can't be; its argument says why, in the reader's language."""


def _change(visit: Visit, done: str, change: Callable[[], object]) -> Response:
    """Change something; back to the queue, or its page with what was wrong."""
    try:
        change()
    except UnknownQueue:
        raise NotFound from None
    except (_Wrong, ZodbjobsError) as error:
        return _page(visit, str(error))
    return responses.see_other(visit.url("queues", visit.parts["name"], **{DONE: done}))


def _by(visit: Visit) -> str | None:
    return visit.rights.principal


def _why(visit: Visit) -> str | None:
    return visit.field("why") or None


def _size(visit: Visit) -> int:
    return _number(visit, "size")


def _number(visit: Visit, name: str) -> int:
    text = visit.field(name)
    if not (text.isascii() and text.isdecimal() and len(text) < 10 and int(text)):
        raise _Wrong(visit.t("The number must be a whole one, from 1 on."))
    return int(text)


def _worker(visit: Visit) -> str:
    found = visit.field("worker")
    if not found:
        raise _Wrong(visit.t("Choose a worker."))
    return find_worker(visit.connection, found).id


def _agent(visit: Visit) -> tuple[str, None, int]:
    """The worker, and the number there, of the agent that the form names."""
    record = find_worker(visit.connection, _worker(visit))
    wanted = visit.field("agent")
    for number, agent in enumerate(record.agents, 1):
        if str(u64(agent._p_oid)) == wanted:
            return record.id, None, number
    raise _Wrong(visit.t("That agent isn’t there any more."))
