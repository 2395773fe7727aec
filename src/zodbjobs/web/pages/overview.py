"""The overview of operators: what waits, runs and failed, how it went, and who works."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta

from zodbjobs import clock
from zodbjobs.insights import (
    Period,
    QueueStats,
    WorkerInfo,
    all_queue_stats,
    list_jobs,
    list_periods,
    list_workers,
)
from zodbjobs.interfaces import FAILED
from zodbjobs.web import charts, filters, operator_rows, sentences
from zodbjobs.web.charts import Chart, Table
from zodbjobs.web.operator_rows import OperatorRow
from zodbjobs.web.pace import paced
from zodbjobs.web.pages import mine
from zodbjobs.web.pages.queues import QueueRow, queue_row
from zodbjobs.web.pages.workers import WorkerRow, worker_row
from zodbjobs.web.responses import Response
from zodbjobs.web.visit import Visit

# Jobs of each of the short lists, and seconds that one looks for them.
_FEW = 5
_LOOK_SECONDS = 0.02

# What waits longer is told of.
_LONG = timedelta(minutes=5)


@dataclasses.dataclass(frozen=True)
class Tile:
    """A number; `note` says more of it. `path` leads to the jobs."""

    name: str
    title: str
    number: str
    note: str
    path: str
    look: str = ""


@dataclasses.dataclass(frozen=True)
class Alert:
    """What an operator should look at, and where."""

    text: str
    path: str
    link: str


@dataclasses.dataclass(frozen=True)
class ShortList:
    """The newest few of a kind; `path` leads to all."""

    name: str
    title: str
    rows: tuple[OperatorRow, ...]
    path: str
    nothing: str
    looked_back_to: datetime | None


@dataclasses.dataclass(frozen=True)
class Overview:
    """All that the page shows; of one realm only the lists are known."""

    notice: str | None
    alerts: tuple[Alert, ...]
    tiles: tuple[Tile, ...]
    charts: tuple[Chart, ...]
    tables: tuple[Table, ...]
    queues: tuple[QueueRow, ...]
    workers: tuple[WorkerRow, ...]
    lists: tuple[ShortList, ...]
    is_of_realm: bool


def home(visit: Visit) -> Response:
    """What comes first: the overview for operators, their jobs for all others."""
    return overview(visit) if visit.may_in_realm("view") else mine.mine(visit)


def overview(visit: Visit) -> Response:
    """The overview."""
    start = clock.monotonic()
    shown = _of_all(visit) if visit.may("view") else _of_realm(visit)
    live = _seconds_until_next(shown, clock.monotonic() - start)
    return visit.page("overview", visit.t("Overview"), shown, live=live)


def _seconds_until_next(shown: Overview, cost: float) -> int:
    runs = any(row.runs for row in shown.queues) or any(
        row.state == "active" for each in shown.lists for row in each.rows
    )
    waits = any(row.waits for row in shown.queues)
    wanted = sentences.WAITING if waits else sentences.RESTING
    return paced(sentences.RUNNING if runs else wanted, cost)


def _of_realm(visit: Visit) -> Overview:
    """Of one realm there are lists, but no numbers: nothing counts by realm."""
    lists = (
        _short(visit, "running", visit.t("Running"), visit.t("Nothing runs."), "active"),
        _short(visit, "waiting", visit.t("Waiting"), visit.t("Nothing waits."), "waiting"),
        _short(visit, "parked", visit.t("Parked"), visit.t("Nothing is parked."), "parked"),
        _failures(visit),
    )
    return Overview(visit.notice(), (), (), (), (), (), (), lists, True)


def _of_all(visit: Visit) -> Overview:
    stats = all_queue_stats(visit.connection)
    workers = list_workers(visit.connection)
    hour = list_periods(visit.connection)
    tens = list_periods(visit.connection, 60, 10)
    day = list_periods(visit.connection, 24 * 60, 30)
    return Overview(
        notice=visit.notice(),
        alerts=tuple(_alerts(visit, stats, workers)),
        tiles=tuple(_tiles(visit, stats, hour)),
        charts=_charts(visit, hour, tens, day),
        tables=(
            charts.table(visit.language, visit.t("The last hour"), tens),
            charts.table(visit.language, visit.t("The last day"), day),
        ),
        queues=tuple(queue_row(visit, each) for each in stats),
        workers=tuple(worker_row(visit, each) for each in workers),
        lists=(_failures(visit),),
        is_of_realm=False,
    )


def _tiles(visit: Visit, stats: Sequence[QueueStats], hour: Sequence[Period]) -> Iterator[Tile]:
    t, number = visit.t, visit.language.number
    waiting = sum(each.waiting for each in stats)
    later = sum(each.scheduled + each.blocked + each.paused for each in stats)
    oldest = min((e.oldest_waiting for e in stats if e.oldest_waiting), default=None)
    yield Tile(
        "waiting",
        t("Waiting"),
        number(waiting),
        t("the oldest for {age}", age=_age(visit, oldest))
        if oldest
        else t("{count} for later", count=number(later)),
        visit.url("jobs", state="waiting"),
    )
    runs = sum(each.active for each in stats)
    taken = sum(each.assigned for each in stats)
    yield Tile(
        "running",
        t("Running"),
        number(runs),
        t("{count} about to begin", count=number(taken)),
        visit.url("jobs", state="active"),
    )
    # The counters of minutes: with jobs of some ms there is hardly ever one to be seen running.
    minute = hour[-2].finished if len(hour) > 1 else 0
    last = max((each.last_ended for each in stats if each.last_ended), default=None)
    yield Tile(
        "minute",
        t("Finished in the last minute"),
        number(max(minute, hour[-1].finished)),
        t("the last one {age} ago", age=_age(visit, last)) if last else t("none yet"),
        visit.url("jobs", state="completed"),
    )
    failed = sum(each.failed for each in hour)
    yield Tile(
        "failed",
        t("Without success in the last hour"),
        number(failed),
        t("of {count}", count=number(sum(each.finished for each in hour))),
        visit.url("jobs", state=FAILED),
        "bad" if failed else "",
    )
    parked = sum(each.parked for each in stats)
    yield Tile(
        "parked",
        t("Parked"),
        number(parked),
        t("they can’t be run with the code that is there") if parked else t("all can be run"),
        visit.url("parked"),
        "warning" if parked else "",
    )
    yield Tile(
        "history",
        t("In the history"),
        number(sum(each.finished for each in stats)),
        t(
            "{count} of them without success",
            count=number(sum(each.unsuccessful for each in stats)),
        ),
        visit.url("jobs", state="completed"),
    )


def _age(visit: Visit, since: datetime) -> str:
    """How long ago it is, in whole seconds while it is less than a minute."""
    seconds = max(0, int((clock.to_datetime(clock.now()) - since).total_seconds()))
    return (
        visit.t("{count} s", count=seconds) if seconds < 60 else visit.language.duration(seconds)
    )


def _charts(
    visit: Visit, hour: Sequence[Period], tens: Sequence[Period], day: Sequence[Period]
) -> tuple[Chart, ...]:
    t, language = visit.t, visit.language
    an_hour_ago, a_day_ago = t("1 hour ago"), t("24 hours ago")
    return (
        charts.throughput(language, "hour", hour, t("Finished per minute"), an_hour_ago),
        charts.throughput(language, "day", day, t("Finished per half hour"), a_day_ago),
        charts.waiting(language, "hour-wait", tens, t("Waiting time, last hour"), an_hour_ago),
        charts.waiting(language, "day-wait", day, t("Waiting time, last day"), a_day_ago),
    )


def _alerts(
    visit: Visit, stats: Sequence[QueueStats], workers: Sequence[WorkerInfo]
) -> Iterator[Alert]:
    t = visit.t
    to_workers = (visit.url("workers"), t("Workers"))
    waiting = sum(each.waiting for each in stats)
    if not any(worker.state == "running" for worker in workers):
        text = t("No worker is running, so nothing is begun.")
        yield Alert(text, *to_workers)
    for worker in workers:
        if worker.state in _TROUBLES:
            yield Alert(t(_TROUBLES[worker.state], worker=_name(worker)), *to_workers)
    now = clock.to_datetime(clock.now())
    for each in stats:
        queue = t("Queue {name}", name=each.name) if each.name else t("The default queue")
        to_queue = (visit.url("queues", filters.encoded(each.name)), t("Queue"))
        for pause in each.pauses:
            if pause.match is None:
                text = t("{queue} is paused: {reason}", queue=queue, reason=pause.reason)
            else:
                text = t(
                    "{queue}: what calls {match} is paused: {reason}",
                    queue=queue,
                    match=pause.match,
                    reason=pause.reason,
                )
            yield Alert(text, *to_queue)
        if each.draining is not None:
            text = t("{queue} takes no new jobs: {reason}", queue=queue, reason=each.draining)
            yield Alert(text, *to_queue)
        oldest = each.oldest_waiting
        if waiting and oldest is not None and now - oldest > _LONG and not each.pauses:
            age = visit.language.duration((now - oldest).total_seconds())
            text = t("{queue}: a job has waited for {age}.", queue=queue, age=age)
            yield Alert(text, *to_queue)


def _(text: str) -> str:
    return text


_TROUBLES = {
    "silent": _("Worker {worker} has missed its heartbeats."),
    "stuck": _("Worker {worker} has threads that don’t come back from a job."),
    "gone": _("The process of worker {worker} is gone; others take over its jobs."),
}


def _name(worker: WorkerInfo) -> str:
    return f"{worker.host}:{worker.pid}"


def _failures(visit: Visit) -> ShortList:
    return _short(
        visit,
        "failures",
        visit.t("Latest failures"),
        visit.t("There are none in the history."),
        FAILED,
    )


def _short(visit: Visit, name: str, title: str, nothing: str, state: str) -> ShortList:
    wanted = filters.read(visit, {"state": state}).wanted
    found = list_jobs(visit.connection, **wanted, limit=_FEW, seconds=_LOOK_SECONDS)
    infos = operator_rows.visible(visit, found)
    return ShortList(
        name,
        title,
        tuple(operator_rows.row_of(visit, info) for info in infos),
        visit.url("jobs", state=state),
        nothing,
        found.looked_back_to if len(found) < _FEW else None,
    )
