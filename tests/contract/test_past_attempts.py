"""What is kept of each attempt; a job that snoozes, and one that is made to fail."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import sample
import transaction
from bench import die, make_doomed
from with_policy import put, run

import zodbjobs
from zodbjobs import insights
from zodbjobs.errors import BadArgument, BadStatus
from zodbjobs.testing import moving_clock


@pytest.mark.promise(119)
def test_each_attempt_is_told(any_db: Any, queue: Any) -> None:
    policy = zodbjobs.Retry(3, delay=60, jitter=0)
    with moving_clock() as clock:
        start = clock.datetime()
        job = put(queue, zodbjobs.Job(sample.fail_until, 3), policy)
        for _ in range(3):
            run(any_db)
            clock.advance(120)
    assert [past.outcome for past in job.past_attempts] == ["failed", "failed", "succeeded"]
    assert job.past_attempts[0].started == start
    assert job.past_attempts[1].failure.message == "not yet"
    assert all(past.worker for past in job.past_attempts)
    shown = insights.job_details(job).past_attempts
    assert [past.failure for past in shown] == ["ValueError: not yet"] * 2 + [None]


def test_the_last_twenty_are_kept(any_db: Any, queue: Any) -> None:
    job = put(queue, zodbjobs.Job(sample.fail_until, 25), zodbjobs.Retry(30))
    run(any_db)
    assert (job.attempts, len(job.past_attempts)) == (25, 20)
    assert job.past_attempts[-1].outcome == "succeeded"


def test_a_job_with_one_attempt_stores_nothing_for_it(any_db: Any, queue: Any) -> None:
    good, bad = put(queue, zodbjobs.Job(sample.nothing)), put(queue, zodbjobs.Job(sample.fail))
    waiting = put(queue, zodbjobs.Job(sample.nothing), begin_after=timedelta(hours=1))
    waiting.cancel()
    transaction.commit()
    run(any_db)
    assert [past.outcome for past in good.past_attempts] == ["succeeded"]
    assert not {"_past", "_worker", "_policy_data", "_given_policy"} & set(vars(good))
    assert [past.outcome for past in bad.past_attempts] == ["failed"]
    assert waiting.past_attempts == ()


# Snooze


@pytest.mark.parametrize("when", [timedelta(hours=2), timedelta(seconds=-1), "moment"], ids=str)
def test_a_job_that_snoozes_comes_back(any_db: Any, queue: Any, when: Any) -> None:
    with moving_clock() as clock:
        due = clock.datetime() + timedelta(hours=2)
        job = put(
            queue,
            zodbjobs.Job(sample.snooze_once, due if when == "moment" else when),
            zodbjobs.NeverRetry,
            begin_by=timedelta(minutes=1),
        )
        run(any_db)
        if when != timedelta(seconds=-1):
            assert (job.status, job.attempts, job.failure, job.due) == ("pending", 0, None, due)
            clock.advance(3 * 3600)
            run(any_db)
    assert (job.outcome, job.result, job.attempts) == ("succeeded", 2, 1)
    assert [past.outcome for past in job.past_attempts] == ["snoozed", "succeeded"]


@pytest.mark.parametrize("when", [5, None, datetime(2030, 1, 1), "tomorrow"])
def test_a_snooze_of_nonsense_is_refused(when: Any) -> None:
    with pytest.raises(BadArgument, match="a job snoozes for a timedelta"):
        zodbjobs.Snooze(when)


def test_a_snooze_without_end_is_a_failure(any_db: Any, queue: Any) -> None:
    job = put(queue, zodbjobs.Job(sample.snooze_once, datetime.max.replace(tzinfo=UTC)))
    run(any_db)
    assert (job.outcome, job.failure.type) == ("failed", "zodbjobs.errors.BadArgument")


def test_a_snooze_by_hand_reaches_the_caller(connection: Any) -> None:
    job = zodbjobs.Job(sample.snooze_once, timedelta(hours=1))
    with pytest.raises(zodbjobs.Snooze):
        job()
    assert job.status == "new"
    assert job() == 2


# Fail


@pytest.mark.promise(26)
@pytest.mark.parametrize("error", [None, KeyError("mine")])
def test_a_job_is_made_to_fail(any_db: Any, queue: Any, error: Any) -> None:
    new, waiting = zodbjobs.Job(sample.note, 1), put(queue, zodbjobs.Job(sample.note, 2))
    new.fail(error)
    waiting.fail(error)
    transaction.commit()
    assert run(any_db) == 0
    for job in (new, waiting):
        assert (job.status, job.outcome, job.past_attempts) == ("completed", "failed", ())
        kind = TimeoutError if error is None else KeyError
        assert isinstance(job.failure.exception, kind)
        with pytest.raises(BadStatus, match="only a job that hasn't begun"):
            job.fail()
    assert list(queue.finished()) == [waiting]


@pytest.mark.promise(26)
def test_a_claimed_job_that_is_made_to_fail_cannot_commit(
    any_db: Any, queue: Any, account: Any
) -> None:
    job = put(queue, zodbjobs.Job(account.deposit, 5))
    worker = make_doomed(any_db)
    (claim,) = worker.claim()
    transaction.begin()
    assert job.status == "assigned"
    job.fail()
    transaction.commit()
    worker.runner.run(claim)
    die(worker)
    transaction.begin()
    assert (job.outcome, account.balance) == ("failed", 0)


@pytest.mark.promise(26)
def test_what_is_no_exception_is_refused(queue: Any) -> None:
    with pytest.raises(BadArgument, match="with an exception"):
        zodbjobs.Job(sample.nothing).fail("because")  # type: ignore[arg-type]


# Interruptions


@pytest.mark.promise(27, 113)
def test_a_policy_is_asked_after_an_interruption(any_db: Any, queue: Any) -> None:
    policy = sample.OwnPolicy(60)
    with moving_clock() as clock:
        job = put(queue, zodbjobs.Job(sample.note, "ran"), policy)
        for number in (1, 2):
            worker = make_doomed(any_db)
            (claim,) = worker.claim()
            assert claim.interruptions == number - 1  # also after it was scheduled
            die(worker)
            assert run(any_db) == 0
            assert (job.status, job.interruptions) == ("pending", number)
            assert list(queue) == [job]
            clock.advance(61)
        run(any_db)
    assert sample.noted == ["interrupted 1", "interrupted 2", "ran"]
    outcomes = [past.outcome for past in job.past_attempts]
    assert outcomes == ["interrupted", "interrupted", "succeeded"]


@pytest.mark.promise(113, 115)
@pytest.mark.parametrize("policy", [zodbjobs.NeverRetry, sample.BadPolicy])
def test_a_policy_may_give_up_after_an_interruption(any_db: Any, queue: Any, policy: Any) -> None:
    job = put(queue, zodbjobs.Job(sample.note, "ran"), policy)
    other = put(queue, zodbjobs.Job(sample.nothing))
    worker = make_doomed(any_db)
    assert len(worker.claim()) == 2
    die(worker)
    run(any_db)
    assert (job.outcome, other.outcome, sample.noted) == ("aborted", "succeeded", [])
    assert job.failure.type.endswith("BadPolicy" if policy is sample.BadPolicy else "Aborted")
    assert [past.outcome for past in job.past_attempts] == ["interrupted"]
