"""What an operator does to jobs, one or many, and what is told of each."""

from __future__ import annotations

import errno
from collections.abc import Callable
from typing import Any

import pytest
import sample
import transaction
from bench import bench
from storages import file_storage
from transaction.interfaces import TransientError
from ZODB.Connection import resetCaches
from ZODB.POSException import ConflictError, ReadOnlyError

import zodbjobs
from zodbjobs import defaults, operations
from zodbjobs.errors import NotInstalled
from zodbjobs.operations import OperationResult
from zodbjobs.stored.job import Job
from zodbjobs.testing import run_jobs

EVERY = [operations.cancel, operations.retry, operations.remove, operations.forget]


def done(results: list[OperationResult]) -> list[bool]:
    return [result.done for result in results]


def reason(result: OperationResult) -> str:
    assert result.refused is not None
    return result.refused


# Each operation


def test_cancel(db: Any, queue: Any) -> None:
    job = queue.put(zodbjobs.Job(sample.nothing))
    transaction.commit()
    (result,) = operations.cancel(db, [job.id])
    assert result == OperationResult(job.id, "", "sample:nothing")
    transaction.begin()
    assert job.outcome == "cancelled"
    (again,) = operations.cancel(db, [job.id])
    assert "is completed; only a job in a queue can be cancelled" in reason(again)


def test_cancel_takes_a_job_from_its_worker(db: Any, queue: Any, account: Any) -> None:
    job = queue.put(zodbjobs.Job(account.deposit, 1))
    transaction.commit()
    with bench(db, group_seconds=0) as worker:
        (claimed,) = worker.claim()
        assert done(operations.cancel(db, [job.id])) == [True]
        worker.runner.run(claimed)
    transaction.begin()
    assert (job.outcome, account.balance) == ("cancelled", 0)


def test_retry(db: Any, queue: Any) -> None:
    failed = queue.put(zodbjobs.Job(sample.fail))
    fine = queue.put(zodbjobs.Job(sample.nothing))
    transaction.commit()
    run_jobs(db)
    results = operations.retry(db, [failed.id, fine.id])
    assert done(results) == [True, False]
    assert "is succeeded; only a parked job, or one that ended without" in reason(results[1])
    transaction.begin()
    assert list(queue) == [failed]


def test_remove(db: Any, queue: Any) -> None:
    ended = queue.put(sample.nothing)
    transaction.commit()
    run_jobs(db)
    waiting = zodbjobs.Job(sample.nothing)
    job_id = zodbjobs.JobManager().put(waiting, queue)
    transaction.commit()
    results = operations.remove(db, [ended.id, job_id])
    assert done(results) == [False, True]
    assert "has ended, it doesn't wait in the default queue; forget it" in reason(results[0])
    transaction.begin()
    assert (len(queue), waiting.status) == (0, "new")
    assert zodbjobs.JobManager().get(job_id, queue) is None


def test_remove_leaves_what_a_worker_has(db: Any, queue: Any) -> None:
    job = queue.put(sample.nothing)
    transaction.commit()
    with bench(db, group_seconds=0) as worker:
        (claimed,) = worker.claim()
        (result,) = operations.remove(db, [job.id])
        worker.runner.run(claimed)
    assert "is assigned; cancel it first, then forget it" in reason(result)
    transaction.begin()
    assert job.outcome == "succeeded"


def test_forget(db: Any, queue: Any) -> None:
    ended = zodbjobs.Job(sample.nothing)
    job_id = zodbjobs.JobManager().put(ended, queue)
    transaction.commit()
    run_jobs(db)
    waiting = queue.put(sample.nothing)
    transaction.commit()
    results = operations.forget(db, [waiting.id, ended.id])
    assert done(results) == [False, True]
    assert "is pending; only a job that has ended can be forgotten" in reason(results[0])
    transaction.begin()
    assert list(queue.finished()) == []
    assert zodbjobs.JobManager().get(job_id, queue) is None


# What they have in common


def test_the_transaction_of_the_caller_stays_as_it_is(db: Any, queue: Any) -> None:
    jobs = queue.put_many([sample.nothing] * 3)
    transaction.commit()
    mine = queue.put(sample.nothing)
    assert mine.id is not None
    results = operations.cancel(db, [jobs[0].id, mine.id])
    assert done(results) == [True, False]  # it isn't committed, so it isn't there
    assert (jobs[0].status, mine.status) == ("pending", "pending")
    transaction.abort()
    assert jobs[0].outcome == "cancelled"


def test_results_are_in_the_order_of_the_ids_each_once(db: Any, queue: Any) -> None:
    jobs = queue.put_many([sample.nothing] * 4)
    transaction.commit()
    ids = [job.id for job in reversed(jobs)]
    results = operations.cancel(db, (job_id for job_id in [*ids, *ids]))
    assert [result.id for result in results] == ids
    assert done(results) == [True] * 4


@pytest.mark.parametrize("operation", EVERY)
@pytest.mark.parametrize("job_id", ["123456", "abc", "", "-1", "9" * 30])
def test_an_unknown_id(
    db: Any, queue: Any, operation: Callable[..., list[OperationResult]], job_id: str
) -> None:
    (result,) = operation(db, [job_id])
    assert f"there is no job {job_id} in the database; `zodbjobs jobs`" in reason(result)
    assert result.as_json()["refused"] == result.refused


@pytest.mark.parametrize("operation", EVERY)
def test_the_id_of_something_that_is_no_job(
    db: Any, queue: Any, account: Any, operation: Callable[..., list[OperationResult]]
) -> None:
    ids = [str(int.from_bytes(thing._p_oid, "big")) for thing in (account, queue)]
    for job_id, result in zip(ids, operation(db, ids), strict=True):
        assert f"there is no job {job_id} in the database" in reason(result)
    transaction.begin()
    assert account.balance == 0


@pytest.mark.parametrize("operation", EVERY)
def test_without_queues(tmp_path: Any, operation: Callable[..., list[OperationResult]]) -> None:
    db = file_storage(tmp_path)
    with pytest.raises(NotInstalled):
        operation(db, ["1"])
    db.close()


# One bad job among good ones


def test_a_job_that_cannot_be_loaded_stops_no_other(
    db: Any, queue: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    jobs = queue.put_many([sample.nothing] * 5)
    jobs.insert(3, queue.put(zodbjobs.Job(sample.note, sample.Brittle())))
    transaction.commit()
    ids = [job.id for job in jobs]
    monkeypatch.setattr(sample, "brittle", ValueError)
    resetCaches()
    results = operations.cancel(db, ids)
    assert done(results) == [True, True, True, False, True, True]
    assert f"job {ids[3]} can't be changed: it can't be loaded in this process" in reason(
        results[3]
    )
    assert "mend the code that it needs" in reason(results[3])
    monkeypatch.undo()
    resetCaches()
    with db.transaction() as connection:
        (left,) = zodbjobs.get_queue(connection)
        assert left.id == ids[3]


def test_a_job_whose_class_is_missing_stops_no_other(
    db: Any, queue: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    jobs = [*queue.put_many([sample.nothing] * 2), queue.put(sample.SpecialJob(sample.nothing))]
    transaction.commit()
    ids = [job.id for job in jobs]
    monkeypatch.delattr(sample, "SpecialJob")
    resetCaches()
    results = operations.cancel(db, ids)
    monkeypatch.undo()
    resetCaches()
    assert done(results) == [True, True, False]
    assert "the class sample.SpecialJob is missing in this process" in reason(results[2])


def test_a_job_of_the_container_whose_class_is_missing_is_removed(
    db: Any, account: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    job_id = zodbjobs.JobManager().put(sample.SpecialJob(sample.nothing), account)
    assert job_id is not None
    transaction.commit()
    monkeypatch.delattr(sample, "SpecialJob")
    resetCaches()
    assert done(operations.remove(db, [job_id])) == [True]
    with db.transaction() as connection:
        assert len(connection.root()["zodbjobs.jobs"]) == 0
    monkeypatch.undo()
    resetCaches()


def test_a_job_whose_record_is_lost_stops_no_other(db: Any, queue: Any) -> None:
    jobs = queue.put_many([sample.nothing] * 3)
    transaction.commit()
    ids = [job.id for job in jobs]
    del db.storage._index[jobs[1]._p_oid]  # as after damage to the file
    resetCaches()
    results = operations.remove(db, ids)
    assert done(results) == [True, False, True]
    assert f"there is no job {ids[1]} in the database" in reason(results[1])


def test_a_job_that_cannot_be_stored_again_stops_no_other(
    db: Any, queue: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is found only at the commit, which names no job."""
    jobs = queue.put_many([sample.nothing] * 4)
    bad = queue.put(zodbjobs.Job(sample.identity, sample.later))
    transaction.commit()
    ids = [job.id for job in (*jobs[:2], bad, *jobs[2:])]
    state = Job.__getstate__

    def getstate(job: Job) -> Any:
        if job.id == bad.id:
            raise TypeError("the class of an argument is gone")
        return state(job)

    monkeypatch.setattr(Job, "__getstate__", getstate)
    results = operations.cancel(db, ids)
    assert done(results) == [True, True, False, True, True]
    assert reason(results[2])
    assert "then try again" in reason(results[2])
    transaction.begin()
    assert {job.outcome for job in jobs} == {"cancelled"}
    assert bad.status == "pending"


def written_by_others(db: Any, monkeypatch: pytest.MonkeyPatch, job_id: str, times: int) -> None:
    """Let another connection write the job each time that it is cancelled, so often."""
    cancel = Job.cancel
    left = [times]

    def cancel_late(job: Job) -> None:
        cancel(job)
        if job.id == job_id and left[0]:
            left[0] -= 1
            with db.transaction() as connection:
                connection.get(job._p_oid).annotations["time"] = left[0]

    monkeypatch.setattr(Job, "cancel", cancel_late)


def test_a_conflict_is_retried(db: Any, queue: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    jobs = queue.put_many([sample.nothing] * 3)
    transaction.commit()
    written_by_others(db, monkeypatch, jobs[1].id, defaults.OPERATION_ATTEMPTS - 1)
    with db.transaction() as connection:
        before = zodbjobs.insights.job_info(connection.get(jobs[1]._p_oid))
    assert done(operations.cancel(db, [job.id for job in jobs])) == [True] * 3
    transaction.begin()
    assert {job.outcome for job in jobs} == {"cancelled"}
    assert before.state == "waiting"
    assert jobs[1].annotations["time"] == 0


def test_a_job_that_always_conflicts_stops_no_other(
    db: Any, queue: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    jobs = queue.put_many([sample.nothing] * 3)
    transaction.commit()
    written_by_others(db, monkeypatch, jobs[1].id, 1_000)
    results = operations.cancel(db, [job.id for job in jobs])
    assert done(results) == [True, False, True]
    assert f"job {jobs[1].id} was written by others at the same time" in reason(results[1])
    assert reason(results[1]).endswith("try again")


def test_transactions_are_bounded(db: Any, queue: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(defaults, "OPERATION_BATCH", 10)
    jobs = queue.put_many([sample.nothing] * 25)
    transaction.commit()
    before = len(list(db.storage.iterator()))
    assert done(operations.cancel(db, [job.id for job in jobs])) == [True] * 25
    assert len(list(db.storage.iterator())) - before == 3


@pytest.mark.parametrize(
    "error", [ReadOnlyError(), OSError(errno.ENOSPC, "full"), TransientError("away")]
)
def test_what_no_job_is_to_blame_for_is_raised(
    db: Any, queue: Any, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    jobs = queue.put_many([sample.nothing] * 2)
    transaction.commit()
    assert not isinstance(error, ConflictError)

    def fail(transaction: Any) -> None:
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(db.storage, "tpc_begin", fail)
        with pytest.raises(type(error)):
            operations.cancel(db, [job.id for job in jobs])
    transaction.begin()
    assert {job.status for job in jobs} == {"pending"}
    # The connection was given back.
    assert done(operations.cancel(db, [job.id for job in jobs])) == [True] * 2
