"""Threads that don't return from a job that has timed out."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import patience
import pytest
import sample
import transaction

import zodbjobs
from zodbjobs import defaults, events
from zodbjobs.insights import list_workers
from zodbjobs.runtime import runner


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(defaults, "STUCK_SECONDS", 0.0)
    yield
    sample.gate.set()
    patience.no_runner_is_left()


def put(queue: Any, function: Any, *args: Any, **options: Any) -> zodbjobs.Job:
    job = queue.put(zodbjobs.Job(function, *args), **options)
    transaction.commit()
    return job  # type: ignore[no-any-return]


def stuck(db: Any) -> int:
    """The number that the record of the only worker has."""
    with db.transaction() as connection:
        (worker,) = list_workers(connection)
    return worker.stuck


def test_one_is_replaced_counted_and_told(db: Any, queue: Any, caplog: Any) -> None:
    job = put(queue, sample.wait, timeout=0.01)
    with zodbjobs.Worker(db, threads=1, stuck_threads=3):
        patience.wait_for(job)
        patience.wait_for(put(queue, sample.nothing))
        second = put(queue, sample.wait, timeout=0.01)
        patience.wait_for(second)
        patience.until(lambda: stuck(db) == 2)
        transaction.begin()
        patience.until(lambda: caplog.text.count("another one takes its place") == 2)
        assert f"Job {job.id} in" in caplog.text
        assert "in wait\n    assert gate.wait(60)" in caplog.text
        sample.gate.set()
        patience.until(lambda: stuck(db) == 0)
        patience.wait_for(put(queue, sample.nothing))
    transaction.begin()
    assert (job.outcome, second.outcome) == ("failed", "failed")


def test_who_returns_soon_is_not_replaced(
    db: Any, queue: Any, caplog: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(defaults, "STUCK_SECONDS", 3600.0)
    job = put(queue, sample.wait_for_cancel, timeout=0.01)
    with zodbjobs.Worker(db, threads=1):
        patience.wait_for(job)
        patience.wait_for(put(queue, sample.nothing))
    assert "takes its place" not in caplog.text
    assert sample.noted == ["cancelled"]


def test_at_the_bound_the_worker_stops_in_order(db: Any, queue: Any, caplog: Any) -> None:
    put(queue, sample.wait, timeout=0.01)
    worker = zodbjobs.Worker(db, threads=1)
    told: list[Any] = []
    undo = events.subscribe(told.append, events.WorkerStopped)
    assert worker.run() == 1
    undo()
    assert [event.given_up for event in told] == [worker.given_up]
    assert worker.given_up in caplog.text
    assert "1 of its threads didn't return from jobs that had timed out" in str(worker.given_up)
    with db.transaction() as connection:
        assert list_workers(connection) == []
    waits = put(queue, sample.nothing)
    with zodbjobs.Worker(db, threads=1):
        patience.wait_for(waits)


def test_a_worker_that_is_told_to_stop_says_so(db: Any) -> None:
    stop = threading.Event()
    stop.set()
    worker = zodbjobs.Worker(db, threads=1)
    assert worker.run_until(stop) == 0
    assert worker.given_up is None


def test_the_bound_is_as_many_as_threads(db: Any, queue: Any) -> None:
    with zodbjobs.Worker(db, threads=2) as worker:
        put(queue, sample.wait, timeout=0.01)
        patience.until(lambda: stuck(db) == 1)
        patience.wait_for(put(queue, sample.nothing))
        assert worker.given_up is None
        put(queue, sample.wait, timeout=0.01)
        patience.until(lambda: worker.given_up)
    with pytest.raises(ValueError, match="stuck_threads is at least 1"):
        zodbjobs.Worker(db, stuck_threads=0)


@pytest.mark.parametrize("is_replaced", [True, False])
def test_one_that_timed_out_does_not_hold_up_the_stop(
    db: Any, queue: Any, caplog: Any, monkeypatch: pytest.MonkeyPatch, is_replaced: bool
) -> None:
    monkeypatch.setattr(defaults, "STUCK_SECONDS", 0.0 if is_replaced else 3600.0)
    job = put(queue, sample.wait, timeout=0.01)
    with zodbjobs.Worker(db, threads=1, stuck_threads=2, stop_seconds=30):
        patience.wait_for(job)
        patience.until(lambda: stuck(db) == is_replaced)
    assert "stops while jobs still run" not in caplog.text
    left = [t for t in threading.enumerate() if t.name.startswith("zodbjobs runner")]
    assert [thread.daemon for thread in left] == [True]


def conflict_and_wait() -> None:
    """Conflict until it runs alone, and then for ever."""
    sample.conflicts(defaults.CONFLICTS_TOGETHER)
    sample.wait()


def test_who_runs_alone_lets_others(db: Any, queue: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A job that keeps conflicting isn't held up by one that hung when it ran alone."""
    monkeypatch.setattr(sample, "conflict_and_wait", conflict_and_wait, raising=False)
    monkeypatch.setattr(conflict_and_wait, "__module__", "sample")
    put(queue, conflict_and_wait, timeout=0.5)
    with zodbjobs.Worker(db, threads=1, stuck_threads=2):
        patience.until(lambda: stuck(db) == 1)
        assert not runner._alone.locked()
    assert len(sample.noted) == defaults.CONFLICTS_TOGETHER + 1
