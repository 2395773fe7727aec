"""Metrics for Prometheus, from what is stored: true after restarts, and with several processes.

`Collector` is registered with a registry of prometheus_client; `make_wsgi_app` serves one. What is
read is one snapshot of the database. Needs the extra `metrics`.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from zodbjobs import clock, defaults
from zodbjobs.insights import (
    HeldJobs,
    Histogram,
    QueueTotals,
    ShardJobs,
    Totals,
    WorkerInfo,
    count_held,
    count_shard,
    read_totals,
)
from zodbjobs.insights.numbers import GONE, RUNNING, SILENT, STUCK
from zodbjobs.insights.reading import reading
from zodbjobs.insights.totals import STATES, total_of
from zodbjobs.runtime.measures import KINDS
from zodbjobs.stored.lifecycle.root import get_queues
from zodbjobs.stored.queue import Queue

try:
    from prometheus_client import CollectorRegistry
    from prometheus_client.core import (
        CounterMetricFamily,
        GaugeMetricFamily,
        HistogramMetricFamily,
        Metric,
    )
    from prometheus_client.exposition import choose_encoder
except ImportError as error:
    raise ImportError(
        'metrics need prometheus_client: pip install "zodbjobs[metrics]"', name=error.name
    ) from error

_log = logging.getLogger("zodbjobs")

#: How the default queue is called; a label that is empty is none.
DEFAULT_QUEUE = "(default)"

#: The queue of what is in none of those that have a name.
OTHER = "other"

_INFINITY = float("inf")

#: Metrics, read in the current transaction of a connection.
Families = Iterator[Metric]


class Reader:
    """Reads the metrics of one database, in a bounded time.

    All of it is of one snapshot, and takes the same time whatever the history holds, but for
    counting what waits: that takes longer the more there is. So shards are counted for
    `seconds` (METRICS_SECONDS) at most, or one of them; of the others the last count serves, and
    the next reading begins with them. Until each shard of a queue was counted once, there is no
    `zodbjobs_jobs` and no `zodbjobs_put_total` under its label: a sum that lacks some would look
    like a counter that began anew.
    """

    def __init__(self, seconds: float | None = None) -> None:
        self._seconds = defaults.METRICS_SECONDS if seconds is None else seconds
        self._lock = threading.Lock()
        self._counted: dict[bytes, ShardJobs] = {}
        self._turn = 0

    def read(self, connection: Any) -> list[Metric]:
        """All metrics, as the current transaction of a connection has them. Raises as `get_queue`,
        and what the storage raises.
        """
        totals = read_totals(connection)
        label = _labels(totals)
        with self._lock:
            jobs = self._count(get_queues(connection).values(), label)
        held = count_held(connection)
        return [*_of_jobs(jobs, held, label), *_of_totals(totals, label)]

    def _count(self, queues: list[Queue], label: _Label) -> dict[str, list[ShardJobs]]:
        """The counts of the shards of each queue, but for labels of which some are missing."""
        shards = [shard for queue in queues for shard in queue.shards]
        until = clock.monotonic() + self._seconds
        first = self._turn % max(1, len(shards))
        for shard in (*shards[first:], *shards[:first]):
            self._counted[shard._p_oid] = count_shard(shard)
            # Lets go of the indexes that were read; there may be many.
            shard._p_jar.cacheGC()
            self._turn += 1
            if clock.monotonic() >= until:
                break
        oids = {queue.name: [shard._p_oid for shard in queue.shards] for queue in queues}
        missing = {label(name) for name, each in oids.items() if set(each) - set(self._counted)}
        return {
            name: [self._counted[oid] for oid in each]
            for name, each in oids.items()
            if label(name) not in missing
        }


class Collector:
    """A collector for a registry of prometheus_client: the metrics of the queues in `db`.

    Each scrape opens a connection, and reads one snapshot. `seconds`: as in `Reader`. Raises
    NotInstalled if the database has no queues, and what the storage raises.
    """

    def __init__(self, db: Any, seconds: float | None = None) -> None:
        self._db = db
        self._reader = Reader(seconds)

    def collect(self) -> list[Metric]:
        """All metrics."""
        with reading(self._db) as connection:
            return self._reader.read(connection)

    def describe(self) -> list[Metric]:
        """Nothing: that it is registered reads no database."""
        return []


def text_of(metrics: Iterable[Metric], accept: str = "") -> tuple[bytes, str]:
    """Metrics as a scraper with that `Accept` wants them, and the content type of this."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Ready(metrics))
    encode, content_type = choose_encoder(accept)
    return encode(registry), content_type


class _Ready:
    def __init__(self, metrics: Iterable[Metric]) -> None:
        self._metrics = list(metrics)

    def collect(self) -> list[Metric]:
        return self._metrics


def make_wsgi_app(db: Any) -> Callable[[dict[str, Any], Any], Iterable[bytes]]:
    """A WSGI application that answers each GET with the metrics of `db`.

    It asks nobody who they are: let it listen on this machine only, or mount it behind what does.
    While the storage is away it answers 503, so that a scraper sees that, and goes on.
    """
    collector = Collector(db)

    def application(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        if environ["REQUEST_METHOD"] not in ("GET", "HEAD"):
            start_response("405 Method Not Allowed", [("Allow", "GET, HEAD")])
            return []
        status, kind = "200 OK", "text/plain; charset=utf-8"
        try:
            body, kind = text_of(collector.collect(), environ.get("HTTP_ACCEPT", ""))
        except Exception as error:
            _log.warning("metrics can't be read: %s: %s", type(error).__name__, error)
            status, body = "503 Service Unavailable", b"The database can't be read.\n"
        headers = [("Content-Type", kind), ("Content-Length", str(len(body)))]
        start_response(status, [*headers, ("Cache-Control", "no-store")])
        return [] if environ["REQUEST_METHOD"] == "HEAD" else [body]

    return application


# Names of queues


_Label = Callable[[str], str]


def _labels(totals: Totals) -> _Label:
    """Gives the label of a queue: its name, for those that were made first."""
    named = {queue.name for queue in totals.queues[: defaults.METRICS_QUEUES]}

    def label(name: str) -> str:
        if not name:
            return DEFAULT_QUEUE
        # Any str may be the name of a queue, also one that isn't text.
        return name.encode("utf-8", "replace").decode("utf-8") if name in named else OTHER

    return label


def _summed(found: Iterable[tuple[str, float]]) -> dict[str, float]:
    sums: dict[str, float] = {}
    for name, value in found:
        sums[name] = sums.get(name, 0) + value
    return sums


# What is there now


def _of_jobs(queues: Mapping[str, Sequence[ShardJobs]], held: HeldJobs, label: _Label) -> Families:
    jobs = GaugeMetricFamily(
        "zodbjobs_jobs", "Jobs that have not ended, by state.", labels=("queue", "state")
    )
    beside = {"assigned": held.assigned, "active": held.active}
    for state in STATES:
        found = [
            (label(name), sum(shard.states.get(state, 0) for shard in shards))
            for name, shards in queues.items()
        ]
        found += [(label(name), n) for name, n in beside.get(state, {}).items() if name in queues]
        if state == "assigned" and held.not_looked_at:
            found.append((OTHER, held.not_looked_at))
        for name, count in _summed(found).items():
            jobs.add_metric((name, state), count)
    yield jobs
    put = CounterMetricFamily(
        "zodbjobs_put", "Jobs that were put, or put again by hand.", labels=("queue",)
    )
    counts = ((label(name), sum(s.put for s in shards)) for name, shards in queues.items())
    for name, count in _summed(counts).items():
        put.add_metric((name,), count)
    yield put


# What was counted


def _of_totals(totals: Totals, label: _Label) -> Families:
    yield from _of_workers(totals.workers)
    yield from _of_queues(totals.queues, label)
    late = GaugeMetricFamily(
        "zodbjobs_schedule_lateness_seconds",
        "For how long the schedule has been due that has been due for longest; 0 if none is.",
    )
    late.add_metric((), totals.schedule_lateness.total_seconds())
    yield late
    conflicts = CounterMetricFamily(
        "zodbjobs_conflicts",
        "Transactions of workers that conflicted: of a job (job), of jobs that share a commit "
        "(together), of a batch of a Sweep (checkpoint), of results of jobs that wrote nothing "
        "(results), of what claims and books (step).",
        labels=("kind",),
    )
    for kind, count in {**dict.fromkeys(KINDS, 0), **totals.conflicts}.items():
        conflicts.add_metric((kind,), count)
    yield conflicts
    seconds = HistogramMetricFamily(
        "zodbjobs_commit_seconds",
        "How long commits of workers took, by kind; see zodbjobs_conflicts.",
        labels=("kind",),
    )
    for kind, histogram in {**dict.fromkeys(KINDS, Histogram()), **totals.commits}.items():
        _add(seconds, (kind,), histogram, defaults.COMMIT_BUCKETS, 1e6)
    yield seconds
    jobs = HistogramMetricFamily(
        "zodbjobs_commit_jobs", "Of how many jobs a commit had the results.", labels=()
    )
    _add(jobs, (), totals.commit_jobs, defaults.COMMIT_JOBS_BUCKETS, 1)
    yield jobs


def _of_workers(workers: Iterable[WorkerInfo]) -> Families:
    workers = list(workers)
    states = GaugeMetricFamily("zodbjobs_workers", "Workers by state.", labels=("state",))
    for state in (RUNNING, STUCK, SILENT, GONE):
        states.add_metric((state,), sum(worker.state == state for worker in workers))
    yield states
    silence = GaugeMetricFamily(
        "zodbjobs_worker_heartbeat_age_seconds",
        "Since when the worker has given no sign of life that has given none for longest.",
    )
    written = [worker.last_written for worker in workers if worker.last_written is not None]
    if written:
        silence.add_metric((), _age(min(written)))
    yield silence
    living = [worker for worker in workers if worker.state != GONE]
    threads = GaugeMetricFamily(
        "zodbjobs_worker_threads",
        "Threads of all workers: busy for 0.2 s or longer, idle or in a shorter job, and stuck in "
        "a job that has timed out, beside the others.",
        labels=("state",),
    )
    busy = [min(worker.active, worker.threads) for worker in living]
    threads.add_metric(("busy",), sum(busy))
    threads.add_metric(("idle",), sum(worker.threads for worker in living) - sum(busy))
    threads.add_metric(("stuck",), sum(worker.stuck for worker in living))
    yield threads


def _of_queues(queues: Iterable[QueueTotals], label: _Label) -> Families:
    by_label: dict[str, list[QueueTotals]] = {}
    for queue in queues:
        by_label.setdefault(label(queue.name), []).append(queue)
    ages = GaugeMetricFamily(
        "zodbjobs_oldest_due_age_seconds",
        "For how long the oldest job has been due that waits; 0 if none waits.",
        labels=("queue",),
    )
    paused = GaugeMetricFamily(
        "zodbjobs_queue_paused", "1 if nothing of the queue is begun, else 0.", labels=("queue",)
    )
    finished = CounterMetricFamily(
        "zodbjobs_finished", "Jobs that ended, by outcome.", labels=("queue", "outcome")
    )
    retried = CounterMetricFamily(
        "zodbjobs_retried",
        "Attempts that failed, and are followed by another.",
        labels=("queue",),
    )
    rescued = CounterMetricFamily(
        "zodbjobs_rescued",
        "Jobs that were given back to the queue, as their worker died or stopped.",
        labels=("queue",),
    )
    waited = HistogramMetricFamily(
        "zodbjobs_wait_seconds", "How long jobs had been due when they began.", labels=("queue",)
    )
    ran = HistogramMetricFamily(
        "zodbjobs_run_seconds", "How long the attempts took that ended jobs.", labels=("queue",)
    )
    for name, group in by_label.items():
        ages.add_metric((name,), max(_age(queue.oldest_due) for queue in group))
        paused.add_metric((name,), any(queue.paused for queue in group))
        for outcome, count in _by_outcome(group).items():
            finished.add_metric((name, outcome), count)
        retried.add_metric((name,), sum(queue.retried for queue in group))
        rescued.add_metric((name,), sum(queue.rescued for queue in group))
        for family, histograms in (
            (waited, [queue.waited for queue in group]),
            (ran, [queue.ran for queue in group]),
        ):
            _add(family, (name,), total_of(histograms), defaults.SECONDS_BUCKETS, 1e6)
    yield from (ages, paused, finished, retried, rescued, waited, ran)


def _age(since: datetime | None) -> float:
    """Seconds since then, by the clock of this machine; 0 for None."""
    if since is None:
        return 0.0
    return max(0.0, (clock.to_datetime(clock.now()) - since).total_seconds())


def _by_outcome(group: Iterable[QueueTotals]) -> Mapping[str, float]:
    return _summed(pair for queue in group for pair in queue.finished.items())


def _add(
    family: HistogramMetricFamily,
    labels: tuple[str, ...],
    histogram: Histogram,
    bounds: tuple[float, ...],
    unit: float,
) -> None:
    """Add a histogram whose sum has so many in a `unit`."""
    classes = histogram.classes or (0,) * (len(bounds) + 1)
    count, buckets = 0, []
    for bound, number in zip((*bounds, _INFINITY), classes, strict=True):
        count += number
        buckets.append(("+Inf" if bound == _INFINITY else str(float(bound)), count))
    family.add_metric(labels, buckets, histogram.total / unit)
