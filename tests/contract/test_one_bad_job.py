"""One bad job harms no other: it is parked or fails, and everything else goes on."""

from __future__ import annotations

import logging
import sys
import types
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import sample
import transaction
from bench import bench, die, make_doomed
from patience import until, wait_for

import zodbjobs
from zodbjobs.errors import BadStatus
from zodbjobs.runtime import threadpool
from zodbjobs.testing import run_jobs


@pytest.fixture
def gone(monkeypatch: pytest.MonkeyPatch) -> Any:
    """A function of a module that the next release hasn't any more; call it to release."""
    module = types.ModuleType("this_release")
    exec("def old(): pass", vars(module))
    monkeypatch.setitem(sys.modules, "this_release", module)

    def release() -> None:
        del module.old  # type: ignore[attr-defined]

    release.old = module.old  # type: ignore[attr-defined]
    return release


def put_three(queue: Any, gone: Any) -> list[zodbjobs.Job]:
    """The second one can be loaded, and not stored again after the release."""
    jobs = [queue.put(zodbjobs.Job(sample.note, n)) for n in (1, [gone.old], 3)]
    transaction.commit()
    for job in jobs:
        job._p_activate()
    gone()
    return jobs


def test_what_cannot_be_stored_again_is_parked_and_can_be_removed(
    any_db: Any, queue: Any, gone: Any
) -> None:
    first, bad, last = put_three(queue, gone)
    run_jobs(any_db)
    transaction.begin()
    assert (first.outcome, last.outcome) == ("succeeded", "succeeded")
    assert (bad.status, bad.outcome) == ("pending", None)
    assert bad.parked is not None
    assert sample.noted == [1, 3]
    with pytest.raises(BadStatus, match="remove"):
        bad.cancel()
    queue.remove(bad)
    transaction.commit()
    assert bad.status == "new"


def test_what_cannot_be_stored_again_stops_no_rescue(any_db: Any, queue: Any, gone: Any) -> None:
    jobs = [queue.put(zodbjobs.Job(sample.identity, n)) for n in (1, [gone.old], 3)]
    transaction.commit()
    dead = make_doomed(any_db)
    assert len(dead.claim()) == 3
    die(dead)
    gone()
    run_jobs(any_db)
    transaction.begin()
    assert [job.outcome for job in jobs] == ["succeeded", None, "succeeded"]
    assert list(queue.parent.workers) == []


def test_two_connections_in_one_transaction_fail_the_job(
    any_db: Any, queue: Any, account: Any
) -> None:
    job = queue.put(zodbjobs.Job(sample.write_through_another_connection, account))
    after = queue.put(zodbjobs.Job(account.deposit, 1))
    transaction.commit()
    run_jobs(any_db)
    transaction.begin()
    assert job.outcome == "failed"
    assert "two connections in one transaction" in job.failure.message
    assert (after.outcome, account.balance) == ("succeeded", 1)


def test_a_job_that_closes_the_workers_connection_fails(
    any_db: Any, queue: Any, account: Any
) -> None:
    job = queue.put(zodbjobs.Job(sample.close_connection, account))
    after = queue.put(zodbjobs.Job(account.deposit, 1))
    transaction.commit()
    with zodbjobs.Worker(any_db, threads=1):
        wait_for([job, after])
    assert job.outcome == "failed"
    assert "connection is the worker's" in job.failure.message
    assert after.outcome == "succeeded"


def test_a_thread_that_ends_is_replaced(
    db: Any, queue: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    turn = threadpool.ThreadPool._turn
    left = [SystemExit]

    def end_once(*args: Any) -> None:
        if left:
            raise left.pop()
        turn(*args)

    monkeypatch.setattr(threadpool.ThreadPool, "_turn", end_once)
    job = queue.put(sample.nothing)
    transaction.commit()
    with zodbjobs.Worker(db, threads=1):
        wait_for(job)
    assert "another one takes its place" in caplog.text


def test_a_job_that_cancels_itself_ends_once(any_db: Any, queue: Any, account: Any) -> None:
    job = queue.put(zodbjobs.Job(sample.cancel_itself, account))
    transaction.commit()
    assert run_jobs(any_db) == 1
    transaction.begin()
    assert (job.outcome, account.balance) == ("cancelled", 0)
    assert list(queue.finished()) == [job]


def test_a_job_that_cancels_and_retries_itself_fails(any_db: Any, queue: Any) -> None:
    job = queue.put(sample.cancel_and_retry_itself)
    transaction.commit()
    assert run_jobs(any_db) == 1
    transaction.begin()
    assert job.outcome == "failed"
    assert list(queue.finished()) == [job]


def test_a_job_cancels_one_whose_result_waits(
    db: Any, queue: Any, caplog: pytest.LogCaptureFixture
) -> None:
    waiting = queue.put(zodbjobs.Job(sample.note, "ran"))
    canceller = queue.put(zodbjobs.Job(sample.cancel, waiting))
    transaction.commit()
    with bench(db) as worker:
        worker.run()
        worker.dispatcher.step()
        assert worker.dispatcher.is_idle
    transaction.begin()
    assert (waiting.outcome, canceller.outcome) == ("cancelled", "succeeded")
    assert [r for r in caplog.records if r.levelno > logging.INFO] == []
    assert len(list(queue.finished())) == 2


@pytest.mark.parametrize(
    "answer",
    [
        *(float("inf"), 1e300, 1e12, 3e9, float("nan"), "soon", None, (), 10**400),
        *(datetime(2030, 1, 1), datetime.max.replace(tzinfo=UTC), timedelta.max),
    ],
)
def test_whatever_a_policy_answers_it_harms_nobody(db: Any, queue: Any, answer: Any) -> None:
    job = zodbjobs.Job(sample.fail, "once")
    job.retry_policy = sample.OwnPolicy(answer)
    queue.put(job)
    after = queue.put(sample.nothing)
    transaction.commit()
    assert run_jobs(db) == 2
    transaction.begin()
    assert (job.outcome, job.failure.type) == ("failed", "zodbjobs.errors.BadPolicy")
    assert [failure.message for failure in job.failure.chain()][2] == "once"
    assert after.outcome == "succeeded"


def test_each_one_of_a_queue_can_be_cancelled_and_forgotten(any_db: Any, queue: Any) -> None:
    jobs = [*queue.put_many([sample.nothing] * 50), *(queue.put(sample.nothing) for _ in range(5))]
    transaction.commit()
    for job in queue:
        job.cancel()
    transaction.commit()
    assert {job.outcome for job in jobs} == {"cancelled"}
    for newest_first in (True, False):
        for number, job in enumerate(queue.finished(newest_first)):
            if newest_first and number % 2:
                continue
            queue.forget(job)
    assert list(queue.finished()) == []


def test_an_urgent_job_of_a_busy_worker_is_taken_by_another(db: Any, queue: Any) -> None:
    """Another worker never runs out of what is less urgent."""
    with zodbjobs.Worker(db, threads=1) as one, zodbjobs.Worker(db, threads=1) as other:
        assert one.id != other.id
        long = queue.put(sample.wait)
        transaction.commit()
        until(lambda: transaction.begin() and long.status == "active")
        less = queue.put_many([sample.short_work] * 2000, priority=-8)
        transaction.commit()
        urgent = [queue.put(sample.nothing, priority=7) for _ in range(20)]
        transaction.commit()
        wait_for(urgent)
        transaction.begin()
        assert any(job.outcome is None for job in less)
        sample.gate.set()
        for job in less:
            if job.status == "pending":
                job.cancel()
        transaction.abort()
