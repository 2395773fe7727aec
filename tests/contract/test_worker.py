"""A worker with its threads: what users see while jobs run, and when it stops."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import patience
import pytest
import sample
import transaction
from patience import wait_for

import zodbjobs
from zodbjobs.errors import BadStatus, NotStored, WaitTimeout
from zodbjobs.testing import run_jobs


def until(condition: Callable[[], Any]) -> Any:
    """Wait for a condition in fresh snapshots of this thread's connections."""

    def seen() -> Any:
        transaction.begin()
        return condition()

    return patience.until(seen)


@pytest.mark.promise(58, 142)
def test_it_runs_what_is_committed(any_db: Any, queue: Any, account: Any) -> None:
    with zodbjobs.Worker(any_db):
        jobs = [queue.put(zodbjobs.Job(account.deposit, 1)) for _ in range(20)]
        transaction.commit()
        wait_for(jobs)
    transaction.begin()
    assert account.balance == 20
    assert sorted(job.result for job in jobs) == list(range(1, 21))
    assert list(zodbjobs.get_queues(queue).workers) == []


@pytest.mark.promise(22, 44, 166)
def test_a_running_job_is_seen(any_db: Any, queue: Any) -> None:
    with zodbjobs.Worker(any_db, threads=1) as worker:
        job = queue.put(zodbjobs.ProgressableJob(sample.report_and_wait, 50))
        transaction.commit()
        until(lambda: job.log_lines)  # the last that it tells of itself
        assert job.status == "active"
        assert job.percent == 50.0
        assert job.annotations["phase"] == "middle"
        assert job.progress.message == "half way"
        assert job.log_lines[0].endswith("WARNING sample: a line of the log")
        assert job.started is not None
        assert queue.holder(job).id == worker.id
        for change in (lambda: queue.remove(job), lambda: queue.forget(job)):
            with pytest.raises((LookupError, BadStatus), match="active"):
                change()
        sample.gate.set()
        wait_for(job)
    assert (job.outcome, job.percent) == ("succeeded", 50.0)
    assert len(job.log_lines) == 1


def test_claimed_jobs_are_assigned(any_db: Any, queue: Any) -> None:
    with zodbjobs.Worker(any_db, threads=1):
        running = queue.put(sample.wait)
        transaction.commit()
        until(lambda: running.status == "active")
        sample.gate.set()
        wait_for(running)
    assert running.result == "waited"


@pytest.mark.promise(78)
def test_threads_are_how_many_run_at_a_time(any_db: Any, queue: Any) -> None:
    with zodbjobs.Worker(any_db, threads=3):
        jobs = queue.put_many([sample.wait] * 5)
        transaction.commit()
        until(lambda: sum(job.status == "active" for job in jobs) == 3)
        sample.gate.set()
        wait_for(jobs)


def test_short_jobs_go_on_while_a_long_one_runs(any_db: Any, queue: Any) -> None:
    with zodbjobs.Worker(any_db, threads=2):
        long = queue.put(sample.wait)
        short = queue.put_many([zodbjobs.Job(sample.add, n) for n in range(2_000)])
        transaction.commit()
        wait_for(short)
        until(lambda: long.status == "active")
        assert {job.outcome for job in short} == {"succeeded"}
        sample.gate.set()
        wait_for(long)


@pytest.mark.promise(55)
def test_it_wakes_for_what_has_become_due(any_db: Any, queue: Any) -> None:
    with zodbjobs.Worker(any_db):
        job = queue.put(sample.nothing, begin_after=timedelta(seconds=0.3))
        transaction.commit()
        wait_for(job)
    assert job.started >= job.begin_after


def test_cancel_of_a_running_job(any_db: Any, queue: Any, account: Any) -> None:
    with zodbjobs.Worker(any_db):
        patient = queue.put(sample.wait_for_cancel)
        deaf = queue.put(zodbjobs.Job(sample.deposit_and_wait, account, 100))
        transaction.commit()
        until(lambda: patient.status == deaf.status == "active")
        patient.cancel()
        deaf.cancel()
        transaction.commit()
        assert (patient.status, patient.outcome) == ("completed", "cancelled")
        until(lambda: sample.noted == ["cancelled"])
        sample.gate.set()
        after = queue.put(sample.nothing)
        transaction.commit()
        wait_for(after)
    transaction.begin()
    assert deaf.outcome == "cancelled"
    assert account.balance == 0
    assert sum(1 for job in queue.finished()) == 3


def test_cancel_of_a_waiting_job(any_db: Any, queue: Any) -> None:
    job = queue.put(zodbjobs.Job(sample.note, "never"))
    later = queue.put(zodbjobs.Job(sample.note, "never"), begin_after=timedelta(hours=1))
    transaction.commit()
    job.cancel()
    later.cancel()
    transaction.commit()
    assert (job.outcome, later.outcome) == ("cancelled", "cancelled")
    assert "cancelled" in job.failure.message
    assert run_jobs(any_db) == 0
    with pytest.raises(BadStatus, match="completed"):
        job.cancel()
    with pytest.raises(BadStatus, match="new"):
        zodbjobs.Job(sample.nothing).cancel()
    queue.retry(job)
    transaction.commit()
    assert run_jobs(any_db) == 1


@pytest.mark.promise(124)
def test_stop_lets_running_jobs_end(any_db: Any, queue: Any, account: Any) -> None:
    worker = zodbjobs.Worker(any_db, threads=1)
    worker.start()
    running = queue.put(zodbjobs.Job(sample.deposit_and_wait, account, 5))
    waiting = queue.put(zodbjobs.Job(account.deposit, 1))
    transaction.commit()
    until(lambda: running.status == "active")
    stopping = threading.Thread(target=worker.stop)
    stopping.start()
    until(worker._stopping.is_set)
    sample.gate.set()
    stopping.join(patience.PATIENCE)
    transaction.begin()
    assert running.outcome == "succeeded"
    assert waiting.status == "pending"
    assert waiting.interruptions == 0
    assert account.balance == 5
    assert run_jobs(any_db) == 1


@pytest.mark.promise(124, 129)
def test_stop_takes_away_what_does_not_end(any_db: Any, queue: Any, account: Any) -> None:
    worker = zodbjobs.Worker(any_db, threads=1)
    worker.start()
    job = queue.put(zodbjobs.Job(sample.deposit_and_wait, account, 5))
    transaction.commit()
    until(lambda: job.status == "active")
    worker.stop(seconds=0)
    transaction.begin()
    assert (job.status, job.interruptions) == ("pending", 1)
    sample.gate.set()
    patience.no_runner_is_left()
    transaction.begin()
    assert account.balance == 0
    assert run_jobs(any_db) == 1
    transaction.begin()
    assert account.balance == 5
    assert job.outcome == "succeeded"


def test_it_can_be_started_again(any_db: Any, queue: Any) -> None:
    worker = zodbjobs.Worker(any_db)
    size = any_db.getPoolSize()
    for _ in range(2):
        with worker:
            with pytest.raises(RuntimeError, match="already"):
                worker.start()
            job = queue.put(sample.nothing)
            transaction.commit()
            wait_for(job)
        worker.stop()
        assert any_db.getPoolSize() == size


def test_it_works_for_the_queues_that_it_is_given(
    any_db: Any, connection: Any, queue: Any
) -> None:
    mail = zodbjobs.get_queues(connection).create("mail")
    other = queue.put(sample.nothing)
    job = mail.put(sample.nothing)
    transaction.commit()
    with zodbjobs.Worker(any_db, queues=["mail"]):
        wait_for(job)
    assert other.status == "pending"


def test_it_works_for_queues_that_are_made_later(any_db: Any, connection: Any) -> None:
    with zodbjobs.Worker(any_db):
        job = zodbjobs.get_queues(connection).create("new").put(sample.nothing)
        transaction.commit()
        wait_for(job)


def test_bad_options_are_refused(any_db: Any) -> None:
    with pytest.raises(ValueError, match="at least one thread"):
        zodbjobs.Worker(any_db, threads=0)
    with pytest.raises(TypeError, match=r"queues=\['mail'\]"):
        zodbjobs.Worker(any_db, queues="mail")


@pytest.mark.parametrize("group_commit", [0, 0.01])
def test_with_and_without_group_commit(
    any_db: Any, queue: Any, account: Any, group_commit: float
) -> None:
    with zodbjobs.Worker(any_db, group_commit=group_commit):
        jobs = [
            *queue.put_many([zodbjobs.Job(sample.add, n) for n in range(200)]),
            *queue.put_many([zodbjobs.Job(account.deposit, 1) for _ in range(20)]),
            *queue.put_many([sample.fail] * 10),
        ]
        transaction.commit()
        wait_for(jobs)
    assert [job.result for job in jobs[:200]] == list(range(200))
    assert account.balance == 20
    assert [job.outcome for job in jobs[220:]] == ["failed"] * 10


def test_history_is_pruned_by_count(any_db: Any, queue: Any) -> None:
    queue.put_many([sample.nothing] * 300)
    transaction.commit()
    run_jobs(any_db)
    with zodbjobs.Worker(any_db, history_count=40):
        until(lambda: len(list(queue.finished())) <= 40)
    assert sum(shard.history_length() for shard in queue.shards) == len(list(queue.finished()))


def test_history_is_pruned_by_age(any_db: Any, queue: Any) -> None:
    job = queue.put(sample.nothing)
    transaction.commit()
    run_jobs(any_db)
    with zodbjobs.Worker(any_db, history_seconds=0.0):
        until(lambda: not list(queue.finished()))
    assert job.outcome == "succeeded"


@pytest.mark.promise(156)
def test_wait_for_says_what_it_waited_for(any_db: Any, queue: Any) -> None:
    job = queue.put(sample.nothing)
    with pytest.raises(NotStored, match="commit first"):
        zodbjobs.testing.wait_for(job, 0)
    transaction.commit()
    with pytest.raises(WaitTimeout, match="still pending after 0 s; is a worker running"):
        zodbjobs.testing.wait_for(job, 0)
    with pytest.raises(NotStored, match="put it into a queue"):
        zodbjobs.testing.wait_for(zodbjobs.Job(sample.nothing))
    zodbjobs.testing.wait_for([])
