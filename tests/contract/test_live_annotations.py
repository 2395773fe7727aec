"""Live annotations of other jobs: set, read and waited for, beside the job's transaction."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import sample
import transaction
from patience import until, wait_for

import zodbjobs
from zodbjobs.testing import die_once, run_jobs


def run(db: Any) -> None:
    transaction.commit()
    run_jobs(db)
    transaction.begin()


def commit(change: Callable[[], Any]) -> Any:
    """Make a change, again if the worker has just written the same."""
    for attempt in transaction.manager.attempts(50):
        with attempt:
            made = change()
    return made


@pytest.mark.promise(45, 47)
def test_a_job_waits_for_what_another_one_sets(any_db: Any, queue: Any, account: Any) -> None:
    """And isn't run again for it. It is stored with the job at its end."""
    waiting = queue.put(zodbjobs.Job(sample.wait_for_annotation, account, "answer", 60))
    transaction.commit()
    with zodbjobs.Worker(any_db, threads=2):
        until(lambda: sample.noted)
        call = sample.tell_other, waiting, "answer", 42
        telling = commit(lambda: queue.put(zodbjobs.Job(*call)))
        wait_for([waiting, telling])
    assert (telling.outcome, waiting.result) == ("succeeded", 42)
    assert (waiting.attempts, waiting.conflicts, sample.noted) == (1, 0, ["waits"])
    until(lambda: transaction.begin() and dict(waiting.annotations) == {"answer": 42})
    assert (account.balance, waiting.status) == (1, "completed")


@pytest.mark.promise(45)
@pytest.mark.parametrize("timeout", [0, 0.001])
def test_what_nobody_sets_has_its_default(
    db: Any, queue: Any, account: Any, timeout: float
) -> None:
    job = queue.put(zodbjobs.Job(sample.wait_for_annotation, account, "answer", timeout))
    run(db)
    assert job.result == "nothing"


def test_who_waits_is_told_that_it_was_cancelled(db: Any, queue: Any, account: Any) -> None:
    job = queue.put(zodbjobs.Job(sample.wait_for_annotation, account, "answer", 3600))
    after = queue.put(zodbjobs.Job(sample.note, "after"))
    transaction.commit()
    with zodbjobs.Worker(db, threads=1):
        until(lambda: sample.noted)
        commit(job.cancel)
        wait_for(after)
    assert (job.outcome, account.balance) == ("cancelled", 0)


@pytest.mark.promise(47)
def test_a_job_reads_what_another_one_shows(any_db: Any, queue: Any) -> None:
    """As it is now, while that runs in another thread."""
    running = queue.put(zodbjobs.Job(sample.report_and_wait, 50))
    transaction.commit()
    with zodbjobs.Worker(any_db, threads=2):
        asking = commit(lambda: queue.put(zodbjobs.Job(sample.ask_other, running, "phase", 60)))
        wait_for(asking)
        assert asking.result == "middle"
        sample.gate.set()
        wait_for(running)
    again = queue.put(zodbjobs.Job(sample.ask_other, running, "phase"))
    missing = queue.put(zodbjobs.Job(sample.ask_other, running, "else"))
    run(any_db)
    assert (again.result, missing.result) == ("middle", "nothing")


@pytest.mark.promise(47)
def test_one_that_does_not_run_is_told_too(db: Any, queue: Any) -> None:
    """One that waits, and one that has ended."""
    ended = queue.put(sample.nothing)
    run(db)
    waiting = queue.put(sample.nothing, priority=-1)
    for other in (ended, waiting):
        queue.put(zodbjobs.Job(sample.tell_other, other, "phase", "x"))
    run(db)
    assert [dict(job.annotations) for job in (ended, waiting)] == [{"phase": "x"}] * 2
    assert (ended.status, waiting.outcome, waiting.conflicts) == ("completed", "succeeded", 0)


@pytest.mark.promise(47)
def test_what_was_set_survives_the_death_of_the_worker(db: Any, queue: Any) -> None:
    """It is with the record of that worker until a rescue has seen to it."""
    job = queue.put(sample.nothing)
    transaction.commit()
    with die_once():
        run_jobs(db)
    transaction.begin()
    assert job.status == "assigned"
    queue.put(zodbjobs.Job(sample.tell_other, job, "phase", 1), priority=7)
    transaction.commit()
    from zodbjobs.runtime import outside

    outside.annotate(job, "other", 2)
    transaction.begin()
    assert dict(job.annotations) == {"other": 2}  # before the rescue
    run(db)
    assert (job.outcome, dict(job.annotations)) == ("succeeded", {"phase": 1, "other": 2})


def test_one_that_is_not_committed(db: Any, queue: Any) -> None:
    job = queue.put(sample.tell_one_not_committed)
    run(db)
    assert "isn't in the database yet; commit first" in job.result


def test_what_can_change_is_refused(db: Any, queue: Any) -> None:
    other = queue.put(sample.nothing)
    job = queue.put(zodbjobs.Job(sample.tell_other, other, "phase", []))
    run(db)
    assert "must be immutable" in job.failure.message
    assert dict(other.annotations) == {}


@pytest.mark.promise(50)
def test_a_job_knows_its_worker(db: Any, queue: Any) -> None:
    job = queue.put(sample.tell_worker)
    transaction.commit()
    with zodbjobs.Worker(db) as worker:
        wait_for(job)
        assert job.result == worker.id
    with pytest.raises(ValueError, match="no job is running here"):
        zodbjobs.local.get_worker()
