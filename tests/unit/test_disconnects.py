"""Connections to the server that are lost at each step of a job: waited out, however often."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import sample
import transaction
from bench import Bench, bench
from ZODB.POSException import ConflictError

import zodbjobs
from zodbjobs import defaults
from zodbjobs.runtime.dispatcher import Dispatcher
from zodbjobs.testing import wait_for

#: More often than a conflict is tried again.
OFTEN = 2 * defaults.CONFLICT_ATTEMPTS


class Waits:
    """Stands for the event that stops a worker; nobody has to wait for it."""

    def __init__(self) -> None:
        self.seconds: list[float] = []

    def wait(self, seconds: float) -> bool:
        self.seconds.append(seconds)
        return False


def impatient(worker: Bench) -> Waits:
    """Let the runner wait in no time; returns what it would have waited."""
    waits = Waits()
    worker.runner._backoff._stopping = waits  # type: ignore[assignment]
    return waits


def fail_often(
    monkeypatch: pytest.MonkeyPatch, worker: Bench, fail: Callable[[], None]
) -> list[Any]:
    """Let the next commits of the runner fail; returns what is left of these."""
    left = [fail] * OFTEN
    manager = worker.manager
    commit = manager.commit

    def failing() -> None:
        if left:
            left.pop()()
        commit()

    monkeypatch.setattr(manager, "commit", failing)
    return left


def conflict() -> None:
    raise ConflictError("of a test")


def run_one(worker: Bench) -> None:
    """Run the job that is due, and book it."""
    (claim,) = worker.claim()
    worker.runner.run(claim)
    worker.runner.flush()
    worker.dispatcher.step()


@pytest.mark.promise(111, 134)
def test_in_a_job(db: Any, queue: Any) -> None:
    job = queue.put(zodbjobs.Job(sample.lose_connection_in_a_job, OFTEN))
    transaction.commit()
    with bench(db) as worker:
        waits = impatient(worker)
        run_one(worker)
    transaction.begin()
    assert (job.outcome, job.result, job.attempts) == ("succeeded", OFTEN + 1, 1)
    assert job.failure is None
    assert len(waits.seconds) == OFTEN


@pytest.mark.promise(111)
def test_the_waits_grow_up_to_a_limit(db: Any, queue: Any) -> None:
    jobs = [queue.put(zodbjobs.Job(sample.lose_connection_in_a_job, 9)) for _ in range(2)]
    transaction.commit()
    with bench(db) as worker:
        waits = impatient(worker)
        for claim in worker.claim():
            worker.runner.run(claim)
            sample.noted.clear()
    growing = [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 5.0, 5.0, 5.0]
    assert waits.seconds == pytest.approx(2 * growing)
    transaction.begin()
    assert {job.outcome for job in jobs} == {"succeeded"}


@pytest.mark.promise(134)
@pytest.mark.parametrize("fails", [False, True], ids=["result", "failure"])
def test_in_the_commit_of_an_end(
    db: Any, queue: Any, monkeypatch: pytest.MonkeyPatch, fails: bool
) -> None:
    job = queue.put(zodbjobs.Job(sample.note_and_fail if fails else sample.note, "once"))
    transaction.commit()
    with bench(db) as worker:
        waits = impatient(worker)
        left = fail_often(monkeypatch, worker, sample.lose_connection)
        run_one(worker)
        assert (left, len(waits.seconds)) == ([], OFTEN)
    transaction.begin()
    assert sample.noted == ["once"]
    assert (job.outcome, job.attempts) == ("failed" if fails else "succeeded", 1)
    assert list(queue.finished()) == [job]


@pytest.mark.promise(134)
def test_in_the_commit_of_a_job_that_writes(
    db: Any, queue: Any, account: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = queue.put(zodbjobs.Job(account.deposit, 1))
    transaction.commit()
    with bench(db) as worker:
        waits = impatient(worker)
        left = fail_often(monkeypatch, worker, sample.lose_connection)
        run_one(worker)
        assert (left, len(waits.seconds)) == ([], OFTEN)
    transaction.begin()
    assert (job.outcome, job.result, job.attempts, account.balance) == ("succeeded", 1, 1, 1)


@pytest.mark.promise(133)
def test_while_a_job_is_loaded(db: Any, queue: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    job = queue.put(zodbjobs.Job(sample.note, "once"))
    transaction.commit()
    left = [job._p_oid] * OFTEN
    load_before = type(db.storage).loadBefore

    def failing(self: Any, oid: bytes, tid: bytes) -> Any:
        if left and oid == left[-1]:
            left.pop()
            sample.lose_connection()
        return load_before(self, oid, tid)

    with bench(db) as worker:
        waits = impatient(worker)
        (claim,) = worker.claim()
        monkeypatch.setattr(type(db.storage), "loadBefore", failing)
        worker.runner.run(claim)
        assert (left, len(waits.seconds)) == ([], OFTEN)
    transaction.begin()
    assert sample.noted == ["once"]
    assert (job.outcome, job.attempts, job.parked) == ("succeeded", 1, None)


@pytest.mark.promise(123)
@pytest.mark.parametrize("fail", [sample.lose_connection, conflict], ids=["lost", "conflict"])
def test_the_failure_of_a_commit_is_stored_however_long_it_takes(
    db: Any,
    queue: Any,
    account: Any,
    monkeypatch: pytest.MonkeyPatch,
    fail: Callable[[], None],
) -> None:
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    job = queue.put(zodbjobs.Job(sample.store_unpicklable, account))
    transaction.commit()
    with bench(db) as worker:
        impatient(worker)
        (claim,) = worker.claim()
        worker.runner.run(claim)
        left = fail_often(monkeypatch, worker, fail)
        worker.runner.flush()
        assert left == []
        worker.dispatcher.step()
    transaction.begin()
    assert (job.outcome, job.attempts, sample.noted) == ("failed", 1, ["storing"])
    assert "not to be pickled" in job.failure.message
    assert list(queue.finished()) == [job]


@pytest.mark.promise(132)
@pytest.mark.parametrize("committed", [False, True], ids=["not committed", "committed"])
def test_what_a_claim_took_is_not_lost(
    db: Any, queue: Any, monkeypatch: pytest.MonkeyPatch, committed: bool
) -> None:
    """Nobody knows whether the server has heard of it."""
    jobs = queue.put_many([zodbjobs.Job(sample.note, n) for n in range(5)])
    transaction.commit()
    with bench(db) as worker:
        manager = worker.registration.manager
        commit = manager.commit

        def lost() -> None:
            monkeypatch.setattr(manager, "commit", commit)
            if committed:
                commit()
            sample.lose_connection()

        monkeypatch.setattr(manager, "commit", lost)
        with pytest.raises(Exception, match="the server is away"):
            worker.claim()
        assert worker.run() == 5
        worker.runner.flush()
    transaction.begin()
    assert sample.noted == [0, 1, 2, 3, 4]
    assert {(job.outcome, job.interruptions) for job in jobs} == {("succeeded", 0)}


def fail_to_step(monkeypatch: pytest.MonkeyPatch, fail: Callable[[], None]) -> list[Any]:
    """Let the next looks of workers fail; returns what is left of these."""
    left = [fail] * 5
    step = Dispatcher._step

    def failing(self: Any, *args: Any) -> Any:
        if left:
            left.pop()()
        return step(self, *args)

    monkeypatch.setattr(Dispatcher, "_step", failing)
    return left


@pytest.mark.promise(131)
def test_a_worker_whose_claims_conflict_goes_on(
    db: Any, queue: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    left = fail_to_step(monkeypatch, conflict)
    with zodbjobs.Worker(db) as worker:
        before = worker.id
        job = queue.put(zodbjobs.Job(sample.note, "once"))
        transaction.commit()
        wait_for(job, 60)
        assert worker.id == before
    assert (job.outcome, sample.noted, left) == ("succeeded", ["once"], [])


@pytest.mark.promise(132)
def test_a_worker_that_looks_goes_on(
    db: Any, queue: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(defaults, "BACKOFF_SECONDS", 0.001)
    left = fail_to_step(monkeypatch, sample.lose_connection)
    with zodbjobs.Worker(db):
        job = queue.put(sample.nothing)
        transaction.commit()
        wait_for(job, 60)
    assert job.outcome == "succeeded"
    assert left == []
    told = [record.message for record in caplog.records if record.levelname == "WARNING"]
    assert "the storage is unavailable, it is tried again and again: the server is away" in told
    assert any("is well again" in line for line in told)
