"""What is allowed in which status, and what isn't."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
import sample
import transaction
from bench import Bench, bench

import zodbjobs
from zodbjobs.errors import BadArgument, BadStatus
from zodbjobs.runtime.context import Attempt
from zodbjobs.testing import moving_clock, run_jobs

Look = Callable[[str, zodbjobs.Job], None]


def show(worker: Bench, job: zodbjobs.Job) -> None:
    """Let the worker show that the job runs, as after 0.2 s or when it reports something."""
    worker.slot.attempt = Attempt(job._key, job, 0)  # type: ignore[arg-type]
    worker.dispatcher.step()
    worker.slot.attempt = None


def through_all(db: Any, job: zodbjobs.Job, queue: Any, look: Look) -> None:
    """Bring a job from NEW to COMPLETED, and look at it in each status."""

    def look_from_elsewhere(status: str) -> None:
        with db.transaction() as connection:
            look(status, connection.get(job._p_oid))

    look("new", job)
    queue.put(job)
    look("pending", job)
    transaction.commit()
    look_from_elsewhere("pending")
    with bench(db) as worker:
        (claim,) = worker.claim()
        look_from_elsewhere("assigned")
        show(worker, job)
        look_from_elsewhere("active")
        worker.runner.run(claim)
        worker.runner.flush()
        look_from_elsewhere("completed")
        worker.dispatcher.step()
    transaction.begin()
    look("completed", job)


@pytest.mark.promise(22)
def test_all_that_a_job_goes_through(any_db: Any, queue: Any) -> None:
    job = zodbjobs.Job(sample.nothing)
    seen: list[tuple[str, str]] = []
    through_all(any_db, job, queue, lambda status, job: seen.append((status, job.status)))
    assert len(seen) == 7
    assert [expected for expected, _ in seen] == [found for _, found in seen]


@pytest.mark.promise(22)
def test_one_that_is_called_by_hand_is_in_no_queue() -> None:
    job = zodbjobs.Job(sample.tell_status)
    job.args.append(job)
    assert job.status == "new"
    assert job() == ("active", None)
    assert (job.status, job.queue) == ("completed", None)


@pytest.mark.promise(24)
def test_a_job_can_be_called_while_new_only(any_db: Any, queue: Any) -> None:
    job = zodbjobs.Job(sample.note, "ran")
    refused = []

    def call(status: str, job: zodbjobs.Job) -> None:
        if status != "new":
            with pytest.raises(BadStatus, match=f"is {status}; it can be called only while new"):
                job()
            refused.append(status)

    through_all(any_db, job, queue, call)
    assert set(refused) == {"pending", "assigned", "active", "completed"}
    assert sample.noted == ["ran"]


@pytest.mark.promise(25)
def test_a_job_that_calls_itself_goes_on(any_db: Any, queue: Any) -> None:
    job = queue.put(sample.call_itself)
    transaction.commit()
    run_jobs(any_db)
    transaction.begin()
    assert (job.outcome, job.attempts) == ("succeeded", 1)
    assert "is active; it can be called only while new" in job.result
    by_hand = zodbjobs.Job(sample.call_itself)
    by_hand.args.append(by_hand)
    assert "is active" in by_hand()
    assert (by_hand.outcome, by_hand.status) == ("succeeded", "completed")


@pytest.mark.promise(28)
def test_an_end_is_for_good(any_db: Any, queue: Any) -> None:
    jobs = [queue.put(sample.nothing), queue.put(sample.fail), queue.put(sample.nothing)]
    jobs[2].cancel()
    transaction.commit()
    run_jobs(any_db)
    transaction.begin()
    for job in jobs:
        ended = (job.outcome, job.result, job.finished)
        for refused in (job, job.cancel, lambda: queue.put(job)):  # noqa: B023
            with pytest.raises(BadStatus, match="is completed"):
                refused()
        with pytest.raises(LookupError, match="is completed"):
            queue.remove(job)
        assert (job.status, job.outcome, job.result, job.finished) == ("completed", *ended)
    assert run_jobs(any_db) == 0


@pytest.mark.promise(56)
def test_begin_after_can_be_set_while_new_only(any_db: Any, queue: Any) -> None:
    job = zodbjobs.Job(sample.nothing)
    refused = []

    def change(status: str, job: zodbjobs.Job) -> None:
        if status == "new":
            job.begin_after = timedelta(minutes=1)
            job.begin_after = None
            return
        before = job.begin_after
        with pytest.raises(BadStatus, match="begin_after can be set only while new"):
            job.begin_after = timedelta(minutes=1)
        assert job.begin_after == before
        refused.append(status)

    through_all(any_db, job, queue, change)
    assert set(refused) == {"pending", "assigned", "active", "completed"}


@pytest.mark.promise(56)
def test_begin_by_can_be_set_while_new_or_pending_only(any_db: Any, queue: Any) -> None:
    job = zodbjobs.Job(sample.nothing)
    refused = []

    def change(status: str, job: zodbjobs.Job) -> None:
        if status in ("new", "pending"):
            job.begin_by = timedelta(minutes=2)
            assert job.begin_by == timedelta(minutes=2)
            return
        with pytest.raises(BadStatus, match="begin_by can be set only while new or pending"):
            job.begin_by = None
        assert job.begin_by == timedelta(minutes=2)
        refused.append(status)

    through_all(any_db, job, queue, change)
    assert set(refused) == {"assigned", "active", "completed"}


@pytest.mark.promise(56)
def test_what_was_set_while_pending_counts(any_db: Any, queue: Any) -> None:
    with moving_clock() as clock:
        longer = queue.put(sample.nothing, begin_by=timedelta(seconds=1))
        shorter = queue.put(sample.nothing, begin_by=timedelta(seconds=60))
        transaction.commit()
        longer.begin_by = timedelta(seconds=60)
        shorter.begin_by = timedelta(seconds=1)
        transaction.commit()
        clock.advance(30)
        run_jobs(any_db)
    transaction.begin()
    assert (longer.outcome, shorter.outcome) == ("succeeded", "expired")


@pytest.mark.promise(56)
@pytest.mark.parametrize("name", ["begin_after", "begin_by"])
def test_negative_times_cannot_be_set(name: str) -> None:
    job = zodbjobs.Job(sample.nothing)
    with pytest.raises(BadArgument, match=f"{name} is negative"):
        setattr(job, name, timedelta(microseconds=-1))
    assert getattr(job, name) is None
    setattr(job, name, timedelta(0))
