"""Which attempt is the last: policies, conflicts, and the time by which a job is to begin."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
import sample
import transaction
from ZODB.Connection import resetCaches

import zodbjobs
from zodbjobs.testing import moving_clock, run_jobs


def put(queue: Any, job: zodbjobs.Job, policy: Any, **terms: Any) -> zodbjobs.Job:
    """Put with a policy, and commit."""
    job.retry_policy = policy
    queue.put(job, **terms)
    transaction.commit()
    return job


def run(db: Any) -> int:
    number = run_jobs(db)
    transaction.begin()
    return number


@pytest.mark.promise(109)
def test_conflicts_leave_the_allowance_for_errors_alone(any_db: Any, queue: Any) -> None:
    job = put(queue, zodbjobs.Job(sample.conflict_then_fail, 3, 2), zodbjobs.Retry(times=2))
    run(any_db)
    assert (job.outcome, job.result) == ("succeeded", 6)


# A policy of one's own


@pytest.mark.promise(116)
def test_each_job_goes_by_its_own_policy(any_db: Any, queue: Any) -> None:
    soon = put(queue, zodbjobs.Job(sample.fail), zodbjobs.Retry(times=1))
    later = put(queue, zodbjobs.Job(sample.fail), sample.OwnPolicy(60.0))
    never = put(queue, zodbjobs.Job(sample.fail), None)
    with moving_clock() as clock:
        run(any_db)
        assert (soon.outcome, soon.attempts) == ("failed", 2)
        assert (later.status, later.due) == ("pending", clock.datetime() + timedelta(seconds=60))
        assert (never.outcome, never.attempts) == ("failed", 1)
    assert sample.noted == ["job_error 1"]


@pytest.mark.promise(116)
def test_a_policy_stays_as_it_was_stored(any_db: Any, queue: Any) -> None:
    policy = zodbjobs.Retry(times=1)
    job = put(queue, zodbjobs.Job(sample.fail_until, 2), policy)
    policy.times = 0
    run(any_db)
    assert (job.outcome, job.attempts) == ("succeeded", 2)


@pytest.mark.promise(117)
@pytest.mark.parametrize("answer", [0, 0.0, -5, -0.5])
def test_what_is_not_positive_means_now_and_in_front(
    any_db: Any, queue: Any, answer: float
) -> None:
    with moving_clock():
        job = put(queue, zodbjobs.Job(sample.fail_until, 2), sample.OwnPolicy(answer))
        put(queue, zodbjobs.Job(sample.note, "behind"), None)
        assert run(any_db) == 3
    assert sample.noted == ["tried", "job_error 1", "tried", "behind"]
    assert job.outcome == "succeeded"


@pytest.mark.promise(117)
@pytest.mark.parametrize("answer", [2.5, 60])
def test_an_answer_is_the_seconds_to_wait(any_db: Any, queue: Any, answer: float) -> None:
    with moving_clock() as clock:
        job = put(queue, zodbjobs.Job(sample.fail_until, 3), sample.OwnPolicy(answer))
        run(any_db)
        assert (job.status, job.failure.message) == ("pending", "not yet")
        assert job.due == clock.datetime() + timedelta(seconds=answer)
        clock.advance(answer - 0.001)
        assert run(any_db) == 0
        clock.advance(0.001)
        assert run(any_db) == 1


@pytest.mark.promise(117)
def test_false_gives_up(any_db: Any, queue: Any) -> None:
    job = put(queue, zodbjobs.Job(sample.note_and_fail, "once"), sample.OwnPolicy(False))
    assert run(any_db) == 1
    assert sample.noted == ["once", "job_error 1"]
    assert (job.outcome, job.failure.message) == ("failed", "once")


@pytest.mark.promise(118)
def test_the_policy_of_a_job_that_is_called_by_hand_is_not_asked(queue: Any) -> None:
    job = zodbjobs.Job(sample.note_and_fail, "by hand")
    job.retry_policy = sample.OwnPolicy(0)
    failure = job()
    assert sample.noted == ["by hand"]
    assert (job.status, job.outcome, job.failure) == ("completed", "failed", failure)
    assert len(queue) == 0


@pytest.mark.promise(120)
def test_a_job_whose_policy_is_missing_is_parked(
    any_db: Any, queue: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = put(queue, zodbjobs.Job(sample.fail_until, 2), sample.OwnPolicy(0))
    with monkeypatch.context() as patch:
        patch.delattr(sample, "OwnPolicy")
        resetCaches()
        run(any_db)
        assert (job.status, job.outcome) == ("pending", None)
        assert "OwnPolicy" in job.parked
        assert run(any_db) == 0
    resetCaches()
    queue.retry(job)
    transaction.commit()
    run(any_db)
    assert (job.outcome, job.parked) == ("succeeded", None)


# Past the time by which it was to begin


@pytest.mark.promise(121)
@pytest.mark.parametrize("policy", [zodbjobs.Retry(times=5), zodbjobs.Retry(5, delay=60.0)])
def test_an_error_past_begin_by_is_the_end(any_db: Any, queue: Any, policy: Any) -> None:
    within = timedelta(seconds=30)
    with moving_clock() as clock:
        late = put(queue, zodbjobs.Job(sample.fail_past, 31), policy, begin_by=within)
        run(any_db)
        assert (late.outcome, late.failure.message) == ("failed", "so late")
        assert (late.attempts, sample.noted) == (1, ["so late"])
        clock.advance(3600)
        assert run(any_db) == 0


@pytest.mark.promise(121)
def test_an_error_before_begin_by_is_not(any_db: Any, queue: Any) -> None:
    with moving_clock():
        policy = zodbjobs.Retry(times=5)
        job = put(
            queue, zodbjobs.Job(sample.fail_past, 13), policy, begin_by=timedelta(seconds=30)
        )
        run(any_db)
    assert (job.outcome, job.attempts) == ("failed", 3)


@pytest.mark.promise(121)
def test_an_attempt_that_is_missed_does_not_hide_the_error(any_db: Any, queue: Any) -> None:
    """It was begun in time, so what ended it is its error, not that nobody was there."""
    with moving_clock() as clock:
        policy = zodbjobs.Retry(times=1, delay=20.0, jitter=0)
        job = put(
            queue, zodbjobs.Job(sample.fail, "first"), policy, begin_by=timedelta(seconds=30)
        )
        run(any_db)
        assert job.status == "pending"
        clock.advance(31)
        run(any_db)
    assert (job.outcome, job.failure.message) == ("failed", "first")


@pytest.mark.promise(121)
def test_a_conflict_past_begin_by_runs_it_again(any_db: Any, queue: Any, account: Any) -> None:
    with moving_clock():
        job = zodbjobs.Job(sample.conflict_past, 31, account)
        put(queue, job, None, begin_by=timedelta(seconds=30))
        run(any_db)
    assert (job.outcome, job.result, account.balance) == ("succeeded", 2, 1)
