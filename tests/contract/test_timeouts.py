"""Time limits of attempts: who gives them, and what becomes of an attempt that takes longer."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import patience
import pytest
import sample
import transaction
from bench import bench
from meanwhile import commit_meanwhile

import zodbjobs
from zodbjobs.errors import BadArgument, BadStatus
from zodbjobs.runtime.context import Attempt
from zodbjobs.testing import moving_clock, run_jobs


class Limited(zodbjobs.Job):
    """A kind of job that has a limit of its own."""

    timeout = 7


def again(times: int = 1) -> zodbjobs.Retry:
    return zodbjobs.Retry(times=times, on=zodbjobs.errors.TimedOut)


def put(queue: Any, job: zodbjobs.Job, policy: Any = None, **options: Any) -> zodbjobs.Job:
    job.retry_policy = policy
    queue.put(job, **options)
    transaction.commit()
    return job


# Who gives it


def test_the_put_goes_before_the_job_and_that_before_the_queue(queue: Any) -> None:
    assert queue.put(sample.nothing).timeout is None
    queue.timeout = 60
    own = zodbjobs.Job(sample.nothing)
    own.timeout = timedelta(minutes=5)
    by_put = zodbjobs.Job(sample.nothing)
    by_put.timeout = 5
    assert queue.timeout == timedelta(minutes=1)
    assert queue.put(sample.nothing).timeout == timedelta(minutes=1)
    assert queue.put(own).timeout == timedelta(minutes=5)
    assert queue.put(by_put, timeout=0.5).timeout == timedelta(seconds=0.5)
    assert queue.put(Limited(sample.nothing)).timeout == timedelta(seconds=7)
    assert [job.timeout for job in queue.put_many([sample.nothing] * 2, timeout=9)] == [
        timedelta(seconds=9)
    ] * 2


def test_none_at_the_put_switches_it_off(queue: Any) -> None:
    queue.timeout = 60
    assert queue.put(sample.nothing, timeout=None).timeout is None
    assert queue.put(Limited(sample.nothing), timeout=None).timeout is None


def test_the_queue_s_is_fixed_at_the_put_also_for_a_retry(any_db: Any, queue: Any) -> None:
    queue.timeout = 60
    job = put(queue, zodbjobs.Job(sample.fail))
    callback = job.add_callback(sample.nothing)
    queue.timeout = None
    transaction.commit()
    run_jobs(any_db)
    transaction.begin()
    queue.retry(job)
    assert job.timeout == timedelta(minutes=1)
    assert callback.timeout is None
    queue.timeout = 1
    later = put(queue, zodbjobs.Job(sample.nothing))
    callback = later.add_callback(sample.nothing)
    transaction.commit()
    run_jobs(any_db)
    transaction.begin()
    assert callback.timeout == timedelta(seconds=1)


@pytest.mark.parametrize("bad", [0, -1, float("nan"), float("inf"), True, "5", timedelta(0)])
def test_what_is_no_time_is_refused(queue: Any, bad: Any) -> None:
    job = zodbjobs.Job(sample.nothing)
    with pytest.raises(BadArgument, match="timeout must be"):
        queue.put(job, timeout=bad)
    with pytest.raises(BadArgument, match="timeout must be"):
        job.timeout = bad
    with pytest.raises(BadArgument, match="timeout must be"):
        queue.timeout = bad
    assert (job.status, len(queue), queue.timeout) == ("new", 0, None)


def test_it_is_settable_while_new_only(queue: Any) -> None:
    job = queue.put(sample.nothing)
    with pytest.raises(BadStatus, match="timeout can be set only while new"):
        job.timeout = 5


# In run_jobs: judged when the attempt returns, or where it asks


def test_who_returns_too_late_has_failed_and_done_nothing(
    any_db: Any, queue: Any, account: Any
) -> None:
    with moving_clock():
        late = put(queue, zodbjobs.Job(sample.deposit_past, account, 5), timeout=5)
        in_time = put(queue, zodbjobs.Job(sample.deposit_past, account, 4.9), timeout=5)
        run_jobs(any_db)
    transaction.begin()
    assert (late.outcome, in_time.outcome, account.balance) == ("failed", "succeeded", 1)
    assert late.failure.type == "zodbjobs.errors.TimedOut"
    assert late.failure.message == (
        f"job {late.id} (sample:deposit_past) of the default queue took longer than its "
        "timeout of 0:00:05; give it a longer one, or divide its work into several jobs"
    )


def test_an_error_past_the_time_is_the_cause(any_db: Any, queue: Any) -> None:
    with moving_clock():
        job = put(queue, zodbjobs.Job(sample.fail_past, 6), timeout=5)
        run_jobs(any_db)
    transaction.begin()
    assert [failure.type for failure in job.failure.chain()] == [
        "zodbjobs.errors.TimedOut",
        "ValueError",
    ]


def test_who_asks_is_told(any_db: Any, queue: Any) -> None:
    with moving_clock():
        job = put(queue, zodbjobs.Job(sample.check_past, 5), timeout=5)
        run_jobs(any_db)
    transaction.begin()
    assert sample.noted == [True]
    assert job.failure.type == "zodbjobs.errors.TimedOut"


def test_a_timeout_is_an_error_of_the_job_for_its_policy(any_db: Any, queue: Any) -> None:
    with moving_clock():
        job = put(queue, zodbjobs.Job(sample.check_past, 5), again(), timeout=5)
        assert run_jobs(any_db) == 2
    transaction.begin()
    assert (job.outcome, job.attempts) == ("failed", 2)
    assert [past.failure.type for past in job.past_attempts] == ["zodbjobs.errors.TimedOut"] * 2


# Beside the thread that runs it


def take_away(worker: Any, clock: Any) -> None:
    """Let the time be over, and the dispatcher see it."""
    clock.advance(6)
    worker.dispatcher.tick()


@pytest.mark.parametrize("policy", [None, again()])
def test_an_attempt_that_was_taken_away_cannot_commit(
    any_db: Any, queue: Any, account: Any, policy: Any, caplog: Any
) -> None:
    """Its time is over in the middle of its commit."""
    job = put(queue, zodbjobs.Job(account.deposit, 1), policy, timeout=5)
    with moving_clock() as clock, bench(any_db) as worker:
        (claim,) = worker.claim()
        commit_meanwhile(worker.manager, lambda: take_away(worker, clock))
        worker.runner.run(claim)
        with any_db.transaction() as elsewhere:
            assert elsewhere.root()["account"].balance == 0
            assert elsewhere.get(job._p_oid).past_attempts[-1].outcome == "failed"
        worker.run()
    transaction.begin()
    expected = ("failed", 0) if policy is None else ("succeeded", 1)
    assert (job.outcome, account.balance) == expected
    assert not job.conflicts
    assert "had timed out; what it did here is dropped" in caplog.text


class Once(zodbjobs.NeverRetry):
    """Not even after a conflict, but after a timeout."""

    def job_error(self, failure: Any, data: Any) -> Any:
        return failure.type.endswith("TimedOut")


@pytest.mark.parametrize("function", [sample.return_special, sample.nothing])
@pytest.mark.parametrize("policy", [None, again(), zodbjobs.NeverRetry(), Once()])
@pytest.mark.parametrize("is_told", [True, False])
def test_the_log_says_that_it_timed_out_in_its_commit(
    any_db: Any,
    queue: Any,
    account: Any,
    function: Any,
    policy: Any,
    is_told: bool,
    caplog: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Also if the attempt isn't told before it looks for itself, and if it has returned a job."""
    job = put(queue, zodbjobs.Job(sample.deposit_and, account, function), policy, timeout=5)
    if not is_told:
        monkeypatch.setattr(Attempt, "take_away", lambda self, timed_out=False: None)
    with moving_clock() as clock, bench(any_db) as worker:
        (claim,) = worker.claim()
        commit_meanwhile(worker.manager, lambda: take_away(worker, clock))
        worker.runner.run(claim)
        assert f"{claim} had timed out; what it did here is dropped" in caplog.text
        tells = [r.message for r in caplog.records if "TimedOut" in r.message]
        (told,) = tells
        ends = "is run again in" if job_is_again(policy) else "failed"
        assert ends in told
        for wrong in ("the commit of", "was taken from this worker", "ConflictError"):
            assert wrong not in caplog.text
    transaction.begin()
    assert job.outcome == (None if job_is_again(policy) else "failed")


def job_is_again(policy: Any) -> bool:
    return policy is not None and type(policy) is not zodbjobs.NeverRetry


@pytest.mark.parametrize("function", [sample.return_special, sample.nothing])
def test_what_was_committed_before_its_timeout_was_seen_counts(
    any_db: Any, queue: Any, account: Any, function: Any, caplog: Any
) -> None:
    """Its thread has committed, and hasn't left the attempt yet."""
    job = put(queue, zodbjobs.Job(sample.deposit_and, account, function), timeout=5)
    with moving_clock() as clock, bench(any_db) as worker:
        (claim,) = worker.claim()
        manager, commit = worker.manager, worker.manager.commit

        def commit_and_wait() -> None:
            manager.commit = commit
            commit()
            take_away(worker, clock)
            assert not worker.slot.attempt.cancelled
            assert not worker.dispatcher._timeouts.is_due()

        manager.commit = commit_and_wait
        worker.runner.run(claim)
        worker.dispatcher.step()
        assert "is past its timeout, but was committed before that was seen" in caplog.text
        assert "failed" not in caplog.text
        assert "TimedOut" not in caplog.text
    transaction.begin()
    waits = function is sample.return_special
    assert (job.outcome, account.balance) == (None if waits else "succeeded", 1)
    run_jobs(any_db)
    transaction.begin()
    assert job.outcome == "succeeded"


def test_who_commits_first_counts(any_db: Any, queue: Any, account: Any) -> None:
    """The dispatcher begins to take the job away, and its end is committed meanwhile."""
    job = put(queue, zodbjobs.Job(account.deposit, 1), timeout=5)
    with moving_clock() as clock, bench(any_db) as worker:
        (claim,) = worker.claim()

        def end() -> None:
            commit = worker.runner._committer.commit
            clock.advance(6)
            commit_meanwhile(worker.registration.manager, lambda: ended.append(commit(result[0])))
            with pytest.raises(transaction.interfaces.TransientError):
                worker.dispatcher.tick()

        ended: list[bool] = []
        result: list[Any] = []

        def commit_late(found: Any) -> bool:
            result.append(found)
            end()
            return ended[0]

        committer = worker.runner._committer
        original = committer.commit
        worker.runner._committer = LateCommitter(committer, commit_late, original)
        worker.runner.run(claim)
        worker.dispatcher.tick()
        worker.dispatcher.step()
    transaction.begin()
    assert (job.outcome, account.balance) == ("succeeded", 1)
    assert list(queue.finished()) == [job]


class LateCommitter:
    """A committer, the commit of which is made by another function."""

    def __init__(self, committer: Any, commit: Any, original: Any) -> None:
        self._committer = committer
        self._late = commit
        self._original = original
        self._calls = 0

    def commit(self, result: Any) -> Any:
        self._calls += 1
        return self._late(result) if self._calls == 1 else self._original(result)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._committer, name)


def test_the_end_of_a_past_attempt_is_not_that_of_the_next(any_db: Any, queue: Any) -> None:
    """The job is claimed again by the same worker while the attempt before it still runs."""
    job = put(queue, zodbjobs.Job(sample.call_meanwhile), again(), timeout=5)
    with moving_clock() as clock, bench(any_db) as worker:
        (claim,) = worker.claim()
        again_claimed: list[Any] = []

        def meanwhile() -> None:
            take_away(worker, clock)
            again_claimed.extend(worker.claim())
            clock.advance(-6)  # so that the thread doesn't judge for itself
            worker.slot.attempt.timed_out = False

        sample.meanwhile = meanwhile
        worker.runner.run(claim)
        worker.runner.flush()
        with any_db.transaction() as elsewhere:
            assert elsewhere.get(job._p_oid).outcome is None
        worker.dispatcher.step()
        assert not worker.dispatcher.is_idle  # it counts on the next attempt
        (next_claim,) = again_claimed
        assert next_claim.key != claim.key
        worker.runner.run(next_claim)
        worker.runner.flush()
        worker.dispatcher.step()
    transaction.begin()
    assert (job.outcome, job.result, job.attempts) == ("succeeded", 2, 2)


def test_it_is_booked_at_once_and_told(any_db: Any, queue: Any) -> None:
    job = put(queue, zodbjobs.Job(sample.call_meanwhile), timeout=5)
    seen: list[Any] = []
    with moving_clock() as clock, bench(any_db) as worker:
        (claim,) = worker.claim()

        def meanwhile() -> None:
            take_away(worker, clock)
            with any_db.transaction() as connection:
                found = connection.get(job._p_oid)
                seen.append((found.outcome, found.failure.type, found.attempts))
            seen.append(zodbjobs.local.cancel_requested())
            seen.append(worker.dispatcher.is_idle)

        sample.meanwhile = meanwhile
        worker.runner.run(claim)
    assert seen == [("failed", "zodbjobs.errors.TimedOut", 1), True, True]


def test_it_keeps_its_place(any_db: Any, queue: Any) -> None:
    with moving_clock() as clock:
        job = put(queue, zodbjobs.Job(sample.call_meanwhile), again(), timeout=5)
        other = put(queue, zodbjobs.Job(sample.nothing))
        with bench(any_db) as worker:
            (claim,) = worker.claim(1)
            sample.meanwhile = lambda: take_away(worker, clock)
            worker.runner.run(claim)
            assert [found.oid for found in worker.claim()] == [job._p_oid, other._p_oid]


def test_callbacks_and_what_waits_go_on(any_db: Any, queue: Any) -> None:
    job = put(queue, zodbjobs.Job(sample.call_meanwhile), timeout=5)
    callback = job.add_callback(sample.identity)
    waits = queue.put(sample.nothing, after=[job])
    transaction.commit()
    with moving_clock() as clock, bench(any_db) as worker:
        (claim,) = worker.claim()
        sample.meanwhile = lambda: take_away(worker, clock)
        worker.runner.run(claim)
        worker.run()
        worker.runner.flush()
    transaction.begin()
    assert (callback.outcome, waits.outcome) == ("failed", "succeeded")


def test_its_slots_are_free(any_db: Any, queue: Any) -> None:
    queue.quotas.create("one")
    put(queue, zodbjobs.Job(sample.call_meanwhile), timeout=5, quota_names=["one"])
    other = put(queue, zodbjobs.Job(sample.nothing), quota_names=["one"])
    with moving_clock() as clock, bench(any_db) as worker:
        (claim,) = worker.claim()

        def meanwhile() -> None:
            take_away(worker, clock)
            assert [found.oid for found in worker.claim()] == [other._p_oid]

        sample.meanwhile = meanwhile
        worker.runner.run(claim)
        assert "AssertionError" not in str(worker.results)


def test_a_cancelled_job_that_asks_is_told(any_db: Any, queue: Any, caplog: Any) -> None:
    job = put(queue, zodbjobs.Job(sample.call_meanwhile))
    with bench(any_db) as worker:
        (claim,) = worker.claim()

        def meanwhile() -> None:
            with any_db.transaction() as connection:
                connection.get(job._p_oid).cancel()
            worker.dispatcher.step()
            zodbjobs.local.check()

        sample.meanwhile = meanwhile
        worker.runner.run(claim)
        assert worker.results == []
    transaction.begin()
    assert (job.outcome, job.attempts) == ("cancelled", 0)
    assert "failed" not in caplog.text


# A worker's threads


def test_a_coroutine_is_cancelled_where_it_waits(any_db: Any, queue: Any) -> None:
    job = put(queue, zodbjobs.Job(sample.wait_for_ever), timeout=0.05)
    with zodbjobs.Worker(any_db, threads=1):
        patience.wait_for(job)
        patience.until(lambda: sample.noted)
        patience.wait_for(put(queue, zodbjobs.Job(sample.nothing)))
    transaction.begin()
    assert sample.noted == ["cancelled"]
    assert job.failure.type == "zodbjobs.errors.TimedOut"


def test_a_cancelled_coroutine_is_too(any_db: Any, queue: Any) -> None:
    job = put(queue, zodbjobs.Job(sample.wait_for_ever))
    with zodbjobs.Worker(any_db, threads=1):
        patience.until(lambda: transaction.begin() and job.status == "active")
        job.cancel()
        transaction.commit()
        patience.until(lambda: sample.noted)
    transaction.begin()
    assert job.outcome == "cancelled"
