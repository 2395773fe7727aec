"""Which attempt is the last: policies, conflicts, and the time by which a job is to begin."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
import sample
import transaction
from patience import wait_for
from with_policy import put, run
from ZODB.Connection import resetCaches
from ZODB.POSException import ConflictError

import zodbjobs
from zodbjobs import defaults
from zodbjobs.errors import BadArgument, BadStatus
from zodbjobs.testing import moving_clock


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


# What a policy may answer


@pytest.mark.promise(117)
@pytest.mark.parametrize(
    "answer",
    [True, timedelta(0), timedelta(seconds=-5), datetime(2020, 1, 1, tzinfo=UTC)],
    ids=str,
)
def test_yes_and_the_past_mean_now_and_in_front(any_db: Any, queue: Any, answer: Any) -> None:
    job = put(queue, zodbjobs.Job(sample.fail_until, 2), sample.OwnPolicy(answer))
    put(queue, zodbjobs.Job(sample.note, "behind"), None)
    assert run(any_db) == 3
    assert sample.noted == ["tried", "job_error 1", "tried", "behind"]
    assert job.outcome == "succeeded"


@pytest.mark.promise(117)
@pytest.mark.parametrize("far", [False, True])
def test_a_duration_or_a_moment(any_db: Any, queue: Any, far: bool) -> None:
    wait = timedelta(days=365) if far else timedelta(seconds=2.5)
    with moving_clock() as clock:
        moment = (clock.datetime() + wait).astimezone(timezone(timedelta(hours=5)))
        jobs = [
            put(queue, zodbjobs.Job(sample.fail), sample.OwnPolicy(answer))
            for answer in (wait, moment)
        ]
        run(any_db)
        assert {job.due for job in jobs} == {clock.datetime() + wait}


@pytest.mark.promise(119)
def test_the_data_lasts_and_belongs_to_one_job(any_db: Any, queue: Any) -> None:
    policy = sample.OwnPolicy(30)
    with moving_clock() as clock:
        one = put(queue, zodbjobs.Job(sample.fail), policy)
        run(any_db)
        other = put(queue, zodbjobs.Job(sample.fail), policy)
        for _ in range(2):
            run(any_db)
            clock.advance(31)
    assert (one.attempts, other.attempts) == (2, 2)
    assert sample.noted == ["job_error 1", "job_error 1", "job_error 2", "job_error 2"]


@pytest.mark.promise(119)
def test_the_data_is_gone_with_the_attempts_that_it_told_of(any_db: Any, queue: Any) -> None:
    job = put(queue, zodbjobs.Job(sample.fail), zodbjobs.Retry(times=1))
    run(any_db)
    assert (job.outcome, job.attempts) == ("failed", 2)
    queue.retry(job)
    transaction.commit()
    run(any_db)
    assert (job.outcome, job.attempts) == ("failed", 2)


@pytest.mark.parametrize("value", [sample.Unpicklable(), sample.Account(), {1: [object()]}, len])
def test_data_that_is_not_plain_is_a_fault_of_the_policy(
    any_db: Any, queue: Any, value: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def answer(self: object, failure: object, data: dict[str, Any]) -> bool:
        data["x"] = value
        return True

    monkeypatch.setattr(sample.OwnPolicy, "job_error", answer)
    job = put(queue, zodbjobs.Job(sample.fail), sample.OwnPolicy(True))
    after = put(queue, zodbjobs.Job(sample.nothing), None)
    assert run(any_db) == 2
    assert (job.outcome, job.failure.type) == ("failed", "zodbjobs.errors.BadPolicy")
    assert "plain values only" in job.failure.message
    assert after.outcome == "succeeded"


@pytest.mark.parametrize("error", [SystemExit, KeyboardInterrupt, GeneratorExit, ConflictError])
def test_a_policy_can_end_no_worker(
    any_db: Any, queue: Any, error: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def answer(self: object, failure: object, data: object) -> None:
        raise error("by the policy") from None

    monkeypatch.setattr(sample.OwnPolicy, "job_error", answer)
    job = put(queue, zodbjobs.Job(sample.fail, "the job's"), sample.OwnPolicy(True))
    with zodbjobs.Worker(any_db, threads=1):
        wait_for(job)
    transaction.begin()
    assert (job.outcome, job.failure.type, job.attempts) == (
        "failed",
        "zodbjobs.errors.BadPolicy",
        1,
    )
    assert "the retry policy sample.OwnPolicy of job" in job.failure.message
    assert "of the default queue" in job.failure.message
    assert job.failure.cause.message.endswith("by the policy")
    assert "the job's" in [failure.message for failure in job.failure.chain()]


# Commits and conflicts


@pytest.mark.promise(109)
def test_errors_of_the_job_and_of_its_commit_share_the_allowance(
    any_db: Any, queue: Any, account: Any
) -> None:
    job = put(queue, zodbjobs.Job(sample.fail_then_store_unpicklable, account), zodbjobs.Retry(3))
    run(any_db)
    assert (job.outcome, job.attempts) == ("failed", 4)
    assert sample.noted == ["fails", "stores", "fails", "stores"]
    assert not hasattr(account, "extra")


def test_what_the_commit_raised_is_asked_as_that(any_db: Any, queue: Any, account: Any) -> None:
    job = put(queue, zodbjobs.Job(sample.store_unpicklable, account), sample.OwnPolicy(False))
    run(any_db)
    assert sample.noted == ["storing", "commit_error 1"]
    assert job.outcome == "failed"


def test_too_many_conflicts_are_asked_once(
    any_db: Any, queue: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(defaults, "CONFLICT_ATTEMPTS", 3)
    job = put(queue, zodbjobs.Job(sample.conflicts, 4), sample.OwnPolicy(True))
    run(any_db)
    asked = ["ran"] * 3 + ["commit_error 1"] + ["ran"]
    assert sample.noted == asked
    assert (job.outcome, job.attempts, job.conflicts) == ("succeeded", 2, 2)


@pytest.mark.promise(115)
def test_never_means_not_even_after_a_conflict(any_db: Any, queue: Any, account: Any) -> None:
    policy = zodbjobs.NeverRetry
    rival = put(queue, zodbjobs.Job(sample.deposit_with_a_rival, account, 1), policy)
    assert run(any_db) == 1
    sample.noted.clear()
    job = put(queue, zodbjobs.Job(sample.conflicts, 1), policy)
    assert run(any_db) == 1
    assert (job.outcome, job.attempts, job.conflicts) == ("failed", 1, 0)
    assert "ConflictError" in job.failure.type
    assert (rival.outcome, account.balance) == ("failed", 10)


@pytest.mark.promise(111)
@pytest.mark.parametrize("policy", [zodbjobs.NeverRetry, sample.OwnPolicy(False)])
def test_a_storage_that_is_away_is_no_question(any_db: Any, queue: Any, policy: Any) -> None:
    job = put(queue, zodbjobs.Job(sample.lose_connection_in_a_job, 2), policy)
    run(any_db)
    assert sample.noted == ["ran"] * 3
    assert (job.outcome, job.attempts) == ("succeeded", 1)


@pytest.mark.promise(114)
def test_for_ever_outlasts_conflicts_and_no_error_of_the_job(
    any_db: Any, queue: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(defaults, "CONFLICT_ATTEMPTS", 1)
    with moving_clock() as clock:
        job = put(queue, zodbjobs.Job(sample.conflict_then_fail, 4, 1), zodbjobs.RetryForever)
        for attempts in range(1, 5):
            run(any_db)
            assert (job.status, job.attempts) == ("pending", attempts)
            assert job.due - clock.datetime() <= timedelta(seconds=1.1 * 2 ** (attempts - 1))
            clock.advance(10)
        run(any_db)
    assert (job.outcome, job.attempts, job.failure.message) == ("failed", 5, "not yet")


# Defaults


@pytest.mark.promise(116)
def test_the_job_decides_before_the_queue_and_the_database(any_db: Any, queue: Any) -> None:
    other = queue.parent.create("other")
    queue.parent.retry_policy = zodbjobs.Retry(times=3)
    queue.retry_policy = zodbjobs.Retry(times=2)
    own = put(queue, zodbjobs.Job(sample.fail), zodbjobs.Retry(times=1))
    queues = put(queue, zodbjobs.Job(sample.fail), None)
    all_queues = put(other, zodbjobs.Job(sample.fail), None)
    many = queue.put_many([sample.fail, sample.nothing])
    transaction.commit()
    run(any_db)
    assert [job.attempts for job in (own, queues, all_queues, *many)] == [2, 3, 4, 3, 1]
    queue.retry_policy = queue.parent.retry_policy = None
    built_in = put(queue, zodbjobs.Job(sample.fail), None)
    run(any_db)
    assert (built_in.attempts, built_in.retry_policy) == (1, None)


@pytest.mark.promise(116)
def test_a_default_is_fixed_at_the_put(any_db: Any, queue: Any) -> None:
    other = queue.parent.create("other")
    queue.retry_policy = zodbjobs.Retry(times=1)
    before = put(queue, zodbjobs.Job(sample.fail), None)
    moved = put(queue, zodbjobs.Job(sample.fail), None)
    queue.retry_policy = zodbjobs.NeverRetry
    queue.remove(moved)
    assert moved.retry_policy is None
    other.put(moved)
    transaction.commit()
    run(any_db)
    assert (before.attempts, moved.attempts) == (2, 1)
    queue.retry(before)
    transaction.commit()
    run(any_db)
    assert before.attempts == 2


@pytest.mark.promise(116)
def test_a_policy_can_be_set_while_new_only(any_db: Any, queue: Any) -> None:
    job = put(queue, zodbjobs.Job(sample.nothing), zodbjobs.Retry(1))
    with pytest.raises(BadStatus, match="retry_policy can be set only while new"):
        job.retry_policy = zodbjobs.NeverRetry
    assert job.retry_policy.times == 1


@pytest.mark.promise(120)
def test_a_process_without_the_class_of_a_default_can_use_the_queue(
    any_db: Any, queue: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    queue.retry_policy = sample.OwnPolicy(False)
    put(queue, zodbjobs.Job(sample.nothing), zodbjobs.Retry(1))
    with monkeypatch.context() as patch:
        patch.delattr(sample, "OwnPolicy")
        resetCaches()
        assert run(any_db) == 1
        connection = any_db.open(transaction.TransactionManager())
        there = zodbjobs.get_queue(connection)
        with pytest.raises(BadArgument, match=r"sample\.OwnPolicy of the default retry policy"):
            there.put(sample.nothing)
        there.retry_policy = None
        there.put(sample.nothing)
        connection.transaction_manager.abort()
        connection.close()
    resetCaches()


def test_a_default_that_is_no_policy_is_refused(queue: Any) -> None:
    for place in (queue, queue.parent):
        with pytest.raises(BadArgument, match="is no retry policy"):
            place.retry_policy = 3
        assert place.retry_policy is None
