"""The queue as a container of what waits: order, look-ups, taking out again."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
import sample
import transaction

import zodbjobs
from zodbjobs.errors import BadStatus
from zodbjobs.stored.lifecycle import delivery, keys
from zodbjobs.testing import moving_clock, run_jobs


@pytest.mark.promise(60, 61)
def test_it_agrees_with_itself(any_db: Any, queue: Any) -> None:
    assert not queue
    jobs = [queue.put(zodbjobs.Job(sample.note, n)) for n in range(5)]
    assert queue
    assert len(queue) == 5
    assert list(queue) == jobs
    assert [queue[n] for n in range(5)] == jobs
    assert [queue[n] for n in range(-5, 0)] == jobs
    assert all(job in queue for job in jobs)
    assert zodbjobs.Job(sample.nothing) not in queue
    for index in (5, -6):
        with pytest.raises(IndexError):
            queue[index]


@pytest.mark.promise(60)
def test_jobs_of_several_transactions_are_run_in_their_order(any_db: Any, queue: Any) -> None:
    for n in range(30):
        queue.put(zodbjobs.Job(sample.note, n))
        if n % 3 == 0:
            transaction.commit()
    transaction.commit()
    assert [job.args[0] for job in queue] == list(range(30))
    run_jobs(any_db)
    assert sample.noted == list(range(30))


def test_larger_priorities_first(any_db: Any, queue: Any) -> None:
    for priority in (0, -8, 7, 3, None, 7):
        queue.put(zodbjobs.Job(sample.note, priority), priority=priority)
        transaction.commit()
    assert [job.priority for job in queue] == [7, 7, 3, 0, 0, -8]
    run_jobs(any_db)
    assert sample.noted == [7, 7, 3, 0, None, -8]


def test_priority_is_an_attribute_while_new(any_db: Any, queue: Any) -> None:
    job = zodbjobs.Job(sample.note, "urgent")
    job.priority = 5
    queue.put(zodbjobs.Job(sample.note, "normal"))
    queue.put(job)
    assert queue[0] is job
    with pytest.raises(BadStatus):
        job.priority = 1


@pytest.mark.promise(54, 55, 60, 158)
def test_held_jobs_wait_for_their_time(any_db: Any, queue: Any) -> None:
    with moving_clock() as clock:
        start = clock.datetime()
        for seconds in (30, 10, 20):
            due = start + timedelta(seconds=seconds)
            queue.put(zodbjobs.Job(sample.note, seconds), begin_after=due)
        queue.put(zodbjobs.Job(sample.note, 0))
        past = start - timedelta(days=1)
        late = queue.put(zodbjobs.Job(sample.note, "past"), begin_after=past)
        transaction.commit()
        assert [job.args[0] for job in queue] == [0, "past", 10, 20, 30]
        assert abs(late.begin_after - start) < timedelta(seconds=1)
        assert run_jobs(any_db) == 2
        clock.advance(9.999)
        assert run_jobs(any_db) == 0
        clock.advance(0.001)
        assert run_jobs(any_db) == 1
        clock.advance(60)
        transaction.begin()
        assert [job.args[0] for job in queue] == [20, 30]
        assert run_jobs(any_db) == 2
    assert sample.noted == [0, "past", 10, 20, 30]


@pytest.mark.promise(60)
def test_what_has_become_due_has_its_place_among_the_others(any_db: Any, queue: Any) -> None:
    with moving_clock() as clock:
        queue.put(zodbjobs.Job(sample.note, "scheduled"), begin_after=timedelta(seconds=5))
        transaction.commit()
        clock.advance(10)
        queue.put(zodbjobs.Job(sample.note, "later"))
        transaction.commit()
        assert [job.args[0] for job in queue] == ["scheduled", "later"]
        run_jobs(any_db)
    assert sample.noted == ["scheduled", "later"]


@pytest.mark.promise(60)
def test_of_two_for_one_moment_the_scheduled_one_is_first(
    any_db: Any, queue: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keys, "_later_tie", 30_000)  # else chance decides
    with moving_clock() as clock:
        queue.put(zodbjobs.Job(sample.note, "scheduled"), begin_after=timedelta(seconds=5))
        transaction.commit()
        clock.advance(5)
        queue.put(zodbjobs.Job(sample.note, "now"))
        transaction.commit()
        assert [job.args[0] for job in queue] == ["scheduled", "now"]
        run_jobs(any_db)
    assert sample.noted == ["scheduled", "now"]


def test_a_held_job_of_high_priority_does_not_wait_behind_others(any_db: Any, queue: Any) -> None:
    with moving_clock() as clock:
        queue.put_many(
            [zodbjobs.Job(sample.note, n) for n in range(3)], begin_after=timedelta(seconds=1)
        )
        queue.put(zodbjobs.Job(sample.note, "first"), begin_after=timedelta(seconds=2), priority=1)
        transaction.commit()
        clock.advance(3)
        run_jobs(any_db)
    assert sample.noted == ["first", 0, 1, 2]


@pytest.mark.promise(23, 62)
def test_pull(any_db: Any, queue: Any) -> None:
    jobs = queue.put_many([zodbjobs.Job(sample.note, n) for n in range(3)])
    transaction.commit()
    assert queue.pull(1) is jobs[1]
    assert queue.pull(-1) is jobs[2]
    assert jobs[1].status == jobs[2].status == "new"
    assert jobs[1].queue is None
    with pytest.raises(IndexError):
        queue.pull(5)
    queue.put(jobs[1])
    assert list(queue) == [jobs[0], jobs[1]]
    transaction.commit()
    run_jobs(any_db)
    assert sample.noted == [0, 1]


@pytest.mark.promise(23, 63)
def test_remove(any_db: Any, connection: Any, queue: Any) -> None:
    other = zodbjobs.get_queues(connection).create("other")
    single = queue.put(sample.nothing)
    transaction.commit()
    held = queue.put(sample.nothing, begin_after=timedelta(hours=1))
    many = queue.put_many([sample.nothing] * 3, begin_after=timedelta(hours=1))
    transaction.commit()
    for job in (single, held, many[1]):
        with pytest.raises(LookupError):
            other.remove(job)
        queue.remove(job)
        assert job.status == "new"
        assert job not in queue
        with pytest.raises(LookupError, match=r"isn't|doesn't"):
            queue.remove(job)
    transaction.commit()
    assert list(queue) == [many[0], many[2]]


def test_remove_of_one_that_was_filed_by_a_worker(any_db: Any, queue: Any) -> None:
    jobs = queue.put_many([sample.nothing] * 3, begin_after=timedelta(hours=1))
    transaction.commit()
    run_jobs(any_db)
    transaction.begin()
    queue.remove(jobs[1])
    transaction.commit()
    assert list(queue) == [jobs[0], jobs[2]]


def test_a_job_that_has_ended_cannot_be_removed_but_forgotten(any_db: Any, queue: Any) -> None:
    waiting = queue.put(sample.nothing, begin_after=timedelta(hours=1))
    job = queue.put(sample.nothing)
    transaction.commit()
    run_jobs(any_db)
    transaction.begin()
    with pytest.raises(LookupError, match="completed"):
        queue.remove(job)
    with pytest.raises(BadStatus, match="pending"):
        queue.forget(waiting)
    with pytest.raises(LookupError):
        queue.forget(zodbjobs.Job(sample.nothing))
    queue.forget(job)
    queue.forget(job)
    transaction.commit()
    assert list(queue.finished()) == []
    assert list(queue) == [waiting]


@pytest.mark.promise(79)
def test_the_history_is_in_the_order_of_the_ends(
    any_db: Any, queue: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    jobs = []
    with moving_clock() as clock:
        for n in range(6):
            monkeypatch.setattr(delivery._producer, "number", n % 3)  # three shards in turn
            jobs.append(queue.put(zodbjobs.Job(sample.note, n)))
            transaction.commit()
            run_jobs(any_db)
            transaction.begin()
            clock.advance(1)
        assert len({job._shard.index for job in jobs}) == 3
        assert list(queue.finished()) == jobs[::-1]
        assert list(queue.finished(newest_first=False)) == jobs


@pytest.mark.promise(57)
def test_a_job_that_was_not_begun_in_time_expires(any_db: Any, queue: Any) -> None:
    with moving_clock() as clock:
        job = queue.put(zodbjobs.Job(sample.note, "late"), begin_by=timedelta(seconds=10))
        fine = queue.put(
            zodbjobs.Job(sample.note, "fine"),
            begin_after=timedelta(seconds=5),
            begin_by=timedelta(seconds=10),
        )
        transaction.commit()
        assert job.begin_by == timedelta(seconds=10)
        clock.advance(11)
        run_jobs(any_db)
    transaction.begin()
    assert sample.noted == ["fine"]
    assert fine.outcome == "succeeded"
    assert job.outcome == "expired"
    assert isinstance(job.failure.exception, TimeoutError)
    assert "begin_by" in job.failure.message


@pytest.mark.promise(56)
def test_begin_by_can_be_set_until_the_job_is_claimed(any_db: Any, queue: Any) -> None:
    job = zodbjobs.Job(sample.nothing)
    job.begin_after = None
    job.begin_by = timedelta(minutes=1)
    queue.put(job)
    job.begin_by = timedelta(minutes=2)
    with pytest.raises(BadStatus):
        job.begin_after = None
    transaction.commit()
    run_jobs(any_db)
    transaction.begin()
    with pytest.raises(BadStatus):
        job.begin_by = None


def test_a_clock_that_was_set_back_delays_nothing(any_db: Any, queue: Any) -> None:
    with moving_clock() as clock:
        queue.put(zodbjobs.Job(sample.note, 1))
        clock.set(clock.datetime() - timedelta(days=1))
        queue.put(zodbjobs.Job(sample.note, 2))
        transaction.commit()
        assert run_jobs(any_db) == 2
