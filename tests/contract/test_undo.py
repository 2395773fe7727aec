"""The undo of a job's end, by somebody who wants its effects gone."""

from __future__ import annotations

import base64
from typing import Any

import pytest
import sample
import transaction
from patience import until, wait_for
from ZODB.POSException import UndoError

import zodbjobs
from zodbjobs import defaults, insights, operations
from zodbjobs.errors import BadStatus
from zodbjobs.testing import moving_clock, run_jobs


@pytest.fixture(params=["writer", "reader"])
def undone(request: pytest.FixtureRequest, db: Any, queue: Any, account: Any) -> zodbjobs.Job:
    """A job whose end was undone, after it was booked; another one stays ended."""
    function = account.deposit if request.param == "writer" else sample.add
    job: zodbjobs.Job = queue.put(zodbjobs.Job(function, 5))
    transaction.commit()
    run_jobs(db)
    transaction.begin()
    assert job.result == 5
    job._p_activate()
    queue.put(sample.nothing)
    transaction.commit()
    run_jobs(db)
    db.undo(base64.encodebytes(job._p_serial).rstrip())
    transaction.commit()
    assert account.balance == 0
    return job


def history(db: Any, queue: Any) -> list[zodbjobs.Job]:
    """The jobs of the history; its counters agree."""
    transaction.begin()
    jobs = list(queue.finished())
    assert sum(shard.history_length() for shard in queue.shards) == len(jobs)
    return jobs


def test_it_is_new(db: Any, queue: Any, undone: Any) -> None:
    assert (undone.status, undone.outcome, undone.result) == ("new", None, None)
    assert len(list(insights.list_jobs(queue))) == 2
    with pytest.raises(BadStatus, match="isn't in the default queue any more; if its end"):
        undone.cancel()
    (removed,) = operations.remove(db, [undone.id or ""])
    assert "its end was undone; retry or forget it" in str(removed.refused)
    assert run_jobs(db) == 0


@pytest.mark.parametrize("how", ["put", "retry", "operation"])
def test_it_can_be_put_in_again(db: Any, queue: Any, account: Any, undone: Any, how: str) -> None:
    if how == "operation":
        (result,) = operations.retry(db, [undone.id])
        assert result.done
    else:
        getattr(queue, how)(undone)
        transaction.commit()
    assert run_jobs(db) == 1
    assert history(db, queue).count(undone) == 1
    assert (undone.outcome, undone.result) == ("succeeded", 5)
    assert account.balance in (0, 5)
    assert run_jobs(db) == 0


def test_it_can_be_forgotten(db: Any, queue: Any, undone: Any) -> None:
    (result,) = operations.forget(db, [undone.id])
    assert result.done
    assert undone not in history(db, queue)


def test_it_can_be_called_by_hand(db: Any, queue: Any, undone: Any) -> None:
    """It is as if it had never been put."""
    assert undone() == 5
    transaction.commit()
    assert (undone.outcome, undone.queue) == ("succeeded", None)
    assert undone not in history(db, queue)


def last_change(db: Any, of: Any) -> bytes:
    """The id for undo of the last transaction that wrote `of`."""
    transaction.begin()
    of._p_activate()
    return base64.encodebytes(of._p_serial).rstrip()


def lease_of(queue: Any) -> Any:
    (worker,) = zodbjobs.get_queues(queue).workers.values()
    return worker.lease


def test_an_end_that_was_booked_with_it_is_undone(db: Any, queue: Any) -> None:
    """The worker has it in its lease again; it finds it with the next heartbeat, and runs it."""
    with moving_clock() as clock, zodbjobs.Worker(db, threads=1):
        job = queue.put(zodbjobs.Job(sample.note, 5))
        transaction.commit()
        wait_for(job)
        db.undo(last_change(db, job))
        transaction.commit()
        assert (job.status, job.result) == ("assigned", None)
        clock.advance(defaults.HEARTBEAT_SECONDS)
        until(lambda: sample.noted == [5, 5])
        wait_for(job)
        until(lambda: history(db, queue) == [job])
    assert (job.outcome, job.result, list(queue)) == ("succeeded", 5, [])


def test_what_a_worker_had_that_has_stopped_cannot_come_back(db: Any, queue: Any) -> None:
    """The job would be in a lease that nobody looks at."""
    with zodbjobs.Worker(db, threads=1):
        job = queue.put(zodbjobs.Job(sample.note, 5))
        transaction.commit()
        wait_for(job)
    db.undo(last_change(db, job))
    with pytest.raises(UndoError):
        transaction.commit()
    transaction.abort()
    assert history(db, queue) == [job]


def test_a_claim_is_undone_while_the_job_runs(db: Any, queue: Any, account: Any) -> None:
    with zodbjobs.Worker(db, threads=1):
        job = queue.put(zodbjobs.Job(sample.deposit_and_wait, account, 5))
        transaction.commit()
        until(lambda: transaction.begin() and job.status == "active")
        db.undo(last_change(db, lease_of(queue)))
        transaction.commit()
        sample.gate.set()
        wait_for(job)
        until(lambda: history(db, queue) == [job])
    transaction.begin()
    assert (job.outcome, account.balance, list(queue)) == ("succeeded", 5, [])


def test_a_put_is_undone(db: Any, queue: Any) -> None:
    queue.put(sample.nothing)
    transaction.commit()
    other = queue.put(sample.nothing)
    transaction.commit()
    db.undo(last_change(db, other))
    transaction.commit()
    assert len(list(queue)) == len(queue) == 1
    assert run_jobs(db) == 1
    assert len(history(db, queue)) == 1


def test_the_put_of_a_claimed_job_cannot_be_undone(db: Any, queue: Any) -> None:
    job = queue.put(sample.wait)
    transaction.commit()
    undo_id = last_change(db, job)
    with zodbjobs.Worker(db, threads=1):
        until(lambda: transaction.begin() and job.status == "active")
        db.undo(undo_id)
        with pytest.raises(UndoError):
            transaction.commit()
        transaction.abort()
        sample.gate.set()
        wait_for(job)
    assert history(db, queue) == [job]


@pytest.mark.parametrize("then", ["nothing", "forget", "put", "retry", "call"])
def test_an_end_is_undone_that_gave_back_a_unique_key(db: Any, queue: Any, then: str) -> None:
    """The job has its key again, and nobody may run it; the next put with that key isn't lost."""
    job = queue.put(sample.nothing, unique="report", unique_until="ended")
    transaction.commit()
    run_jobs(db)
    undo_id = last_change(db, job)
    queue.put(sample.nothing)
    transaction.commit()
    run_jobs(db)
    db.undo(undo_id)
    transaction.commit()
    assert job.status == "new"
    if then in ("forget", "put", "retry"):
        getattr(queue, then)(job)
    elif then == "call":
        job()
    transaction.commit()
    run_jobs(db)
    transaction.begin()
    other = queue.put(sample.nothing, unique="report")
    transaction.commit()
    assert other is not job
    assert run_jobs(db) == 1
    transaction.begin()
    assert other.outcome == "succeeded"
