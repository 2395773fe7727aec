"""Metrics as Prometheus reads them: names, units, labels, and what a scrape costs."""

from __future__ import annotations

import contextlib
import importlib
import math
import re
import sys
from collections.abc import Iterable, Iterator
from datetime import timedelta
from typing import Any

import pytest
import sample
import transaction
import webtest
from bench import die, make_doomed, record
from prometheus_client import CollectorRegistry
from prometheus_client.openmetrics.parser import (
    text_string_to_metric_families as openmetrics_families,
)
from prometheus_client.parser import text_string_to_metric_families

import zodbjobs
from zodbjobs import clock, defaults, insights, metrics
from zodbjobs.errors import NotInstalled
from zodbjobs.testing import moving_clock, run_jobs

Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]

#: What is exported, and the names of the labels.
LABELS = {
    "zodbjobs_jobs": {"queue", "state"},
    "zodbjobs_oldest_due_age_seconds": {"queue"},
    "zodbjobs_queue_paused": {"queue"},
    "zodbjobs_schedule_lateness_seconds": set(),
    "zodbjobs_worker_heartbeat_age_seconds": set(),
    "zodbjobs_worker_threads": {"state"},
    "zodbjobs_workers": {"state"},
    "zodbjobs_put_total": {"queue"},
    "zodbjobs_finished_total": {"queue", "outcome"},
    "zodbjobs_retried_total": {"queue"},
    "zodbjobs_rescued_total": {"queue"},
    "zodbjobs_conflicts_total": {"kind"},
    "zodbjobs_wait_seconds": {"queue"},
    "zodbjobs_run_seconds": {"queue"},
    "zodbjobs_commit_seconds": {"kind"},
    "zodbjobs_commit_jobs": set(),
}


def text(db: Any, accept: str = "") -> str:
    body, _ = metrics.text_of(metrics.Collector(db, seconds=math.inf).collect(), accept)
    return body.decode()


def samples(db: Any) -> Samples:
    return {
        (each.name, frozenset(each.labels.items())): each.value
        for family in text_string_to_metric_families(text(db))
        for each in family.samples
    }


def value(db: Any, name: str, **labels: str) -> float:
    return samples(db)[name, frozenset(labels.items())]


def of_default(db: Any, name: str, **labels: str) -> float:
    return value(db, name, queue=metrics.DEFAULT_QUEUE, **labels)


# Names, units, labels


def families(db: Any) -> list[Any]:
    return list(text_string_to_metric_families(text(db)))


def test_the_names_are_those_that_are_documented(db: Any, queue: Any) -> None:
    queue.put(sample.nothing)
    transaction.commit()
    with contextlib.ExitStack() as stack:
        stack.callback(die, make_doomed(db))
        found = families(db)
    names = {f"{each.name}_total" if each.type == "counter" else each.name for each in found}
    assert names == set(LABELS)
    for family in found:
        for each in family.samples:
            name = f"{family.name}_total" if family.type == "counter" else family.name
            assert set(each.labels) - {"le"} == LABELS[name], each


def test_names_follow_the_rules_of_prometheus(db: Any, queue: Any) -> None:
    """Those that promtool checks."""
    for family in families(db):
        assert re.fullmatch(r"zodbjobs_[a-z_]+", family.name)
        assert family.documentation.endswith(".")
        assert not re.search(r"_(gauge|counter|histogram|count|sum|bucket|ms)$", family.name)
        assert family.type in ("gauge", "counter", "histogram")
        for each in family.samples:
            assert each.name.endswith("_total") == (family.type == "counter")
        if family.type == "histogram":
            check_histogram(family.samples)


def check_histogram(found: Iterable[Any]) -> None:
    """Bounds and counts grow; the last bucket has all."""
    last: dict[frozenset[tuple[str, str]], tuple[float, float]] = {}
    for each in found:
        series = frozenset(pair for pair in each.labels.items() if pair[0] != "le")
        if each.name.endswith("_bucket"):
            bound, before = float(each.labels["le"]), last.get(series, (0.0, 0.0))
            assert bound > before[0]
            assert each.value >= before[1]
            last[series] = bound, each.value
        elif each.name.endswith("_count"):
            assert last[series] == (float("inf"), each.value)


def test_openmetrics_is_given_to_who_wants_it(db: Any, queue: Any) -> None:
    wanted = "application/openmetrics-text; version=1.0.0"
    body, kind = metrics.text_of(metrics.Collector(db, seconds=math.inf).collect(), wanted)
    assert kind.startswith("application/openmetrics-text")
    assert {each.name for each in openmetrics_families(body.decode())} == {
        name.removesuffix("_total") for name in LABELS
    }


def test_all_outcomes_states_and_kinds_are_there_from_the_start(db: Any, queue: Any) -> None:
    """Else the first failure would be no growth of anything."""
    found = samples(db)
    for name, label, values in (
        ("zodbjobs_jobs", "state", 7),
        ("zodbjobs_finished_total", "outcome", 6),
        ("zodbjobs_conflicts_total", "kind", 5),
        ("zodbjobs_workers", "state", 4),
        ("zodbjobs_worker_threads", "state", 3),
    ):
        there = [v for (n, labels), v in found.items() if n == name and label in dict(labels)]
        assert there == [0] * values


def test_queues_beyond_the_bound_are_one(db: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(defaults, "METRICS_QUEUES", 3)
    with contextlib.closing(db.open()) as connection:
        queues = zodbjobs.get_queues(connection)
        for name in "edcba":
            queues.create(name).put(sample.nothing)
            transaction.commit()
        run_jobs(db, ["a", "b", "e"])
        found = samples(db)
        names = {dict(labels).get("queue") for _, labels in found} - {None}
        assert names == {metrics.DEFAULT_QUEUE, "e", "d", metrics.OTHER}
        assert value(db, "zodbjobs_put_total", queue=metrics.OTHER) == 3
        ended = value(db, "zodbjobs_finished_total", queue=metrics.OTHER, outcome="succeeded")
        assert ended == 2
        # A new one doesn't take away the label of another.
        queues.create("A")
        transaction.commit()
        assert value(db, "zodbjobs_put_total", queue="e") == 1
        transaction.abort()


@pytest.mark.parametrize("name", ['"\\\n', "\ud800", "(default)", "other", "ü"])
def test_any_name_of_a_queue_can_be_a_label(db: Any, name: str) -> None:
    with contextlib.closing(db.open()) as connection:
        zodbjobs.get_queues(connection).create(name)
        transaction.commit()
    names = {dict(labels).get("queue") for _, labels in samples(db)} - {None}
    assert names >= {metrics.DEFAULT_QUEUE}
    assert len(names) == (1 if name == metrics.DEFAULT_QUEUE else 2)


def test_no_label_tells_what_jobs_call(db: Any, queue: Any) -> None:
    job = queue.put(sample.fail)
    transaction.commit()
    run_jobs(db)
    shown = text(db)
    assert "sample" not in shown
    assert job.id not in re.findall(r'"([^"]*)"', shown)


# Values


def test_jobs_by_state(db: Any, queue: Any) -> None:
    first = queue.put(sample.nothing)
    queue.put(sample.nothing, after=[first])
    queue.put(sample.nothing, begin_after=timedelta(hours=1))
    transaction.commit()
    for state, number in (("waiting", 1), ("blocked", 1), ("scheduled", 1), ("active", 0)):
        assert of_default(db, "zodbjobs_jobs", state=state) == number
    doomed = make_doomed(db)
    assert len(doomed.claim()) == 1
    assert of_default(db, "zodbjobs_jobs", state="assigned") == 1
    die(doomed)


def test_for_how_long_the_oldest_has_been_due(db: Any, queue: Any) -> None:
    with moving_clock() as moved:
        assert of_default(db, "zodbjobs_oldest_due_age_seconds") == 0
        queue.put(sample.nothing, begin_after=timedelta(seconds=30))
        transaction.commit()
        moved.advance(20)
        assert of_default(db, "zodbjobs_oldest_due_age_seconds") == 0
        moved.advance(40)
        assert of_default(db, "zodbjobs_oldest_due_age_seconds") == pytest.approx(30, abs=0.01)


def test_for_how_long_a_schedule_is_due(db: Any, queue: Any) -> None:
    with moving_clock() as moved:
        at = clock.to_datetime(clock.now()) + timedelta(minutes=1)
        queue.parent.schedules.create("once", sample.nothing, at=[at])
        transaction.commit()
        assert value(db, "zodbjobs_schedule_lateness_seconds") == 0
        moved.advance(90)
        found = value(db, "zodbjobs_schedule_lateness_seconds")
        assert found == pytest.approx(30, abs=0.01)


def test_a_pause_is_told(db: Any, queue: Any) -> None:
    queue.pause("for the test", match="sample:*")
    transaction.commit()
    assert of_default(db, "zodbjobs_queue_paused") == 0
    queue.pause("for the test")
    transaction.commit()
    assert of_default(db, "zodbjobs_queue_paused") == 1


def test_workers(db: Any, queue: Any) -> None:
    assert "zodbjobs_worker_heartbeat_age_seconds" not in {name for name, _ in samples(db)}
    workers = queue.parent.workers
    workers["here"] = record("here", machine="another", threads=4)
    workers["here"].stuck = 1
    workers["gone"] = record("gone", threads=4, process_started="another")
    transaction.commit()
    found = {
        state: value(db, "zodbjobs_workers", state=state)
        for state in ("running", "stuck", "silent", "gone")
    }
    assert found == {"running": 0, "stuck": 1, "silent": 0, "gone": 1}
    assert value(db, "zodbjobs_worker_threads", state="idle") == 4
    assert value(db, "zodbjobs_worker_threads", state="stuck") == 1
    with moving_clock(clock.to_datetime(clock.now()) + timedelta(minutes=10)):
        age = value(db, "zodbjobs_worker_heartbeat_age_seconds")
    assert 599 < age < 700


def test_times_are_in_seconds(db: Any, queue: Any) -> None:
    with moving_clock() as moved:
        queue.put(zodbjobs.Job(sample.take, 7))
        transaction.commit()
        moved.advance(45)
        run_jobs(db)
        assert of_default(db, "zodbjobs_wait_seconds_sum") == 45
        assert of_default(db, "zodbjobs_run_seconds_sum") == 7
        assert of_default(db, "zodbjobs_wait_seconds_bucket", le="30.0") == 0
        assert of_default(db, "zodbjobs_wait_seconds_bucket", le="60.0") == 1


# What a scrape costs


@pytest.fixture
def slow_count(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Any]]:
    """To count a shard takes a second; which were counted."""
    counted: list[Any] = []
    with moving_clock() as moved:

        def count(shard: Any) -> insights.ShardJobs:
            counted.append(shard.index)
            moved.advance(1)
            return insights.count_shard(shard)

        monkeypatch.setattr(metrics, "count_shard", count)
        yield counted


def put_of(collector: metrics.Collector) -> float | None:
    body, _ = metrics.text_of(collector.collect())
    found = re.findall(r"^zodbjobs_put_total.* (.*)$", body.decode(), re.MULTILINE)
    return float(found[0]) if found else None


def test_a_reading_takes_a_bounded_time(db: Any, queue: Any, slow_count: list[Any]) -> None:
    queue.put(sample.nothing)
    transaction.commit()
    collector = metrics.Collector(db, seconds=2.5)
    assert [put_of(collector) for _ in range(3)] == [None, None, 1]
    assert slow_count == [0, 1, 2, 3, 4, 5, 6, 7, 0]
    queue.put(sample.nothing)
    transaction.commit()
    for _ in range(3):
        put_of(collector)
    assert put_of(collector) == 2


def test_what_is_counted_as_one_queue_waits_for_all_of_it(
    db: Any, queue: Any, slow_count: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(defaults, "METRICS_QUEUES", 1)
    for name in "ab":
        queue.parent.create(name)
        transaction.commit()
    collector = metrics.Collector(db, seconds=7.5)

    def labels() -> set[str]:
        body, _ = metrics.text_of(collector.collect())
        found = re.findall(r'^zodbjobs_put_total{queue="(.*)"}', body.decode(), re.MULTILINE)
        return set(found)

    assert [labels() for _ in range(3)] == [
        {metrics.DEFAULT_QUEUE},
        {metrics.DEFAULT_QUEUE},
        {metrics.DEFAULT_QUEUE, metrics.OTHER},
    ]


def test_what_is_printed_once_is_whole(db: Any, queue: Any, slow_count: list[Any]) -> None:
    assert put_of(metrics.Collector(db, seconds=math.inf)) == 0
    assert slow_count == [0, 1, 2, 3, 4, 5, 6, 7]


def test_what_is_counted_for_ever_reads_no_job_and_no_history(db: Any, queue: Any) -> None:
    """The objects that it loads are as many after 30 jobs as after 300."""

    def loaded() -> int:
        db.cacheMinimize()
        with contextlib.closing(db.open(manager := transaction.TransactionManager())) as other:
            before = other.getTransferCounts()[0]
            insights.read_totals(other)
            manager.abort()
            return int(other.getTransferCounts()[0] - before)

    counts = []
    for number in (30, 300):
        queue.put_many([sample.nothing] * number)
        transaction.commit()
        run_jobs(db)
        transaction.begin()
        counts.append(loaded())
    assert counts[1] <= counts[0] + 2


# As a collector, and served


def test_it_can_be_registered_before_the_queues_are_there(tmp_path: Any) -> None:
    from storages import file_storage

    with contextlib.closing(file_storage(tmp_path)) as bare:
        registry = CollectorRegistry()
        registry.register(metrics.Collector(bare))
        with pytest.raises(NotInstalled, match=re.escape("zodbjobs.install(db)")):
            list(registry.collect())
        zodbjobs.install(bare)
        assert registry.get_sample_value("zodbjobs_workers", {"state": "running"}) == 0


def test_an_application_of_its_own(
    db: Any, queue: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    browser = webtest.TestApp(metrics.make_wsgi_app(db))
    got = browser.get("/metrics")
    assert got.headers["Content-Type"].startswith("text/plain")
    assert got.headers["Cache-Control"] == "no-store"
    assert "zodbjobs_put_total" in got.text
    assert browser.head("/metrics").body == b""
    browser.post("/metrics", status=405)

    def fail(place: Any) -> Any:
        raise ConnectionError("the server has gone")

    monkeypatch.setattr(metrics, "read_totals", fail)
    assert browser.get("/metrics", status=503).text == "The database can't be read.\n"
    assert "metrics can't be read: ConnectionError: the server has gone" in caplog.text


def test_without_prometheus_client(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "prometheus_client", None)
    monkeypatch.delitem(sys.modules, "zodbjobs.metrics")
    with pytest.raises(ImportError, match=re.escape('pip install "zodbjobs[metrics]"')):
        importlib.import_module("zodbjobs.metrics")
