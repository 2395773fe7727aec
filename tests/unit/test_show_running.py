"""When a worker shows what it runs, which makes a job active."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import sample
from bench import Bench, bench
from ZODB.POSException import ConflictError

import zodbjobs
from zodbjobs import clock, defaults
from zodbjobs.runtime.context import Attempt
from zodbjobs.runtime.workload import Workload
from zodbjobs.testing import MovableClock, moving_clock


@pytest.fixture
def moving() -> Iterator[MovableClock]:
    with moving_clock() as made:
        yield made


@pytest.fixture
def worker(db: Any, moving: MovableClock) -> Iterator[Bench]:
    with bench(db) as made:
        yield made


def begin(db: Any, worker: Bench) -> str:
    """The id of a job that is as it is while the worker's runner is in it."""
    with db.transaction() as connection:
        job = zodbjobs.get_queue(connection).put(sample.nothing)
        job_id = zodbjobs.get_job_id(job)
    (claim,) = worker.claim(1)
    worker.slot.attempt = Attempt(claim.key, job, clock.now())
    return job_id


def seen(db: Any, job_id: str) -> tuple[str, Any]:
    """What others see of it: the status and the percentage."""
    with db.transaction() as connection:
        job = zodbjobs.get_queue(connection).get(job_id)
        return job.status, job.annotations.get("percent")


@pytest.mark.promise(22)
def test_a_job_is_active_once_it_has_run_for_a_while(
    db: Any, worker: Bench, moving: MovableClock
) -> None:
    job_id = begin(db, worker)
    worker.dispatcher.tick()
    assert seen(db, job_id) == ("assigned", None)
    moving.advance(0.2)
    worker.dispatcher.tick()
    assert seen(db, job_id) == ("active", None)


@pytest.mark.promise(22)
def test_a_job_is_active_once_it_reports_something(db: Any, worker: Bench) -> None:
    job_id = begin(db, worker)
    report(worker, 1)
    worker.dispatcher.tick()
    assert seen(db, job_id) == ("active", 1)


def report(worker: Bench, percent: int) -> None:
    assert worker.slot.attempt is not None
    worker.slot.attempt.annotate({"percent": percent})


def test_a_transaction_that_is_made_anyway_shows_it(
    db: Any, worker: Bench, moving: MovableClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    begin(db, worker)
    moving.advance(0.2)
    worker.dispatcher.tick()
    monkeypatch.setattr(Workload, "is_busy", True)  # so that nothing else makes it commit
    job_id = begin(db, worker)
    moving.advance(0.2)
    worker.dispatcher.tick()  # something was shown just now
    assert seen(db, job_id) == ("assigned", None)
    worker.dispatcher.step()
    assert seen(db, job_id) == ("active", None)


def test_what_changes_is_written_twice_a_second_at_most(
    db: Any, worker: Bench, moving: MovableClock
) -> None:
    job_id = begin(db, worker)
    for percent in (1, 2):
        report(worker, percent)
        worker.dispatcher.tick()
        worker.dispatcher.step()
    assert seen(db, job_id) == ("active", 1)
    moving.advance(defaults.RUNNING_SECONDS)
    worker.dispatcher.tick()
    assert seen(db, job_id) == ("active", 2)


def test_what_could_not_be_written_is_written_again(
    db: Any, worker: Bench, moving: MovableClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    def conflict() -> None:
        raise ConflictError

    job_id = begin(db, worker)
    moving.advance(0.2)
    with monkeypatch.context() as patch:
        patch.setattr(worker.registration.manager, "commit", conflict)
        with pytest.raises(ConflictError):
            worker.dispatcher.tick()
    assert seen(db, job_id) == ("assigned", None)
    moving.advance(defaults.RUNNING_SECONDS)
    worker.dispatcher.tick()
    assert seen(db, job_id) == ("active", None)
