"""What becomes of a job when it is run: results, failures, retries, what it tells of itself."""

from __future__ import annotations

import importlib
import logging
import pickle
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import sample
import transaction

import zodbjobs
from zodbjobs import defaults, local
from zodbjobs.errors import BadArgument, BadStatus, MissingCode, NoCurrentJob
from zodbjobs.stored.lifecycle import calls
from zodbjobs.testing import moving_clock, run_jobs, wait_for


def run(db: Any, job: zodbjobs.Job) -> zodbjobs.Job:
    """Put by the caller: commit, run, and look at it anew."""
    transaction.commit()
    run_jobs(db)
    transaction.begin()
    return job


@pytest.mark.promise(12, 14, 15, 150)
def test_an_exception(any_db: Any, queue: Any, caplog: pytest.LogCaptureFixture) -> None:
    job = run(any_db, queue.put(zodbjobs.Job(sample.fail, "no luck")))
    assert (job.status, job.outcome) == ("completed", "failed")
    failure = job.failure
    assert job.result is failure
    assert str(failure) == "ValueError: no luck"
    assert "in fail" in failure.traceback
    assert failure.traceback.endswith("ValueError: no luck\n")
    assert [part.type for part in failure.chain()] == ["ValueError", "KeyError"]
    assert failure.render().index("the cause") < failure.render().index("no luck")
    assert isinstance(failure.exception, ValueError)
    assert any(r.levelno == logging.ERROR and "no luck" in r.message for r in caplog.records)


@pytest.mark.promise(16)
def test_a_failure_is_text(any_db: Any, queue: Any) -> None:
    job = run(any_db, queue.put(sample.fail_with_a_secret))
    assert job.failure.message == "9 letters, Unpicklable"
    for failure in job.failure.chain():
        for value in vars(failure).values():
            assert value is None or isinstance(value, str | bytes | zodbjobs.Failure)
        assert failure.exception.__traceback__ is None
    assert b"swordfish" not in pickle.dumps(job.failure)


def test_an_exception_that_cannot_be_pickled(any_db: Any, queue: Any) -> None:
    job = run(any_db, queue.put(sample.fail_for_good))
    assert job.failure.exception is None
    assert str(job.failure) == "sample.Refused: refused"


@pytest.mark.promise(14)
def test_effects_of_a_failure_are_rolled_back(any_db: Any, queue: Any, account: Any) -> None:
    job = run(any_db, queue.put(account.overdraw))
    assert job.outcome == "failed"
    assert account.balance == 0


@pytest.mark.promise(17)
def test_a_failure_that_is_returned_keeps_the_effects(
    any_db: Any, queue: Any, account: Any
) -> None:
    job = run(any_db, queue.put(zodbjobs.Job(sample.give_up, account)))
    assert job.outcome == "failed"
    assert account.balance == 1


@pytest.mark.promise(122)
def test_a_result_that_cannot_be_pickled(
    any_db: Any, queue: Any, caplog: pytest.LogCaptureFixture
) -> None:
    job = run(any_db, queue.put(sample.unpicklable))
    assert (job.outcome, job.attempts) == ("failed", 1)
    assert "the result of" in job.failure.message
    assert "not to be pickled" in job.failure.message
    assert told_as_error(caplog, job)


@pytest.mark.promise(122)
def test_an_effect_that_cannot_be_pickled(
    any_db: Any, queue: Any, account: Any, caplog: pytest.LogCaptureFixture
) -> None:
    neighbour = queue.put(zodbjobs.Job(sample.add, 1))
    job = run(any_db, queue.put(zodbjobs.Job(sample.store_unpicklable, account)))
    assert (job.outcome, job.attempts, sample.noted) == ("failed", 1, ["storing"])
    assert job.failure.type == "TypeError"
    assert "not to be pickled" in str(job.failure)
    assert not hasattr(account, "extra")
    assert neighbour.result == 1
    assert told_as_error(caplog, job)


def told_as_error(caplog: pytest.LogCaptureFixture, job: zodbjobs.Job) -> bool:
    """Whether the log has an ERROR that names the job and says why."""
    lines = [r.message for r in caplog.records if r.levelno == logging.ERROR]
    return any(f"{job.id}" in line and "not to be pickled" in line for line in lines)


def test_results_may_be_stored_objects(any_db: Any, queue: Any, account: Any) -> None:
    old = queue.put(zodbjobs.Job(sample.identity, account))
    new = queue.put(zodbjobs.Job(sample.new_account, 5))
    run(any_db, old)
    assert old.result is account
    assert new.result.balance == 5


@pytest.mark.promise(109, 110)
def test_conflicts_in_the_job_are_retried(any_db: Any, queue: Any) -> None:
    job = run(any_db, queue.put(zodbjobs.Job(sample.conflicts, 3)))
    assert (job.outcome, job.result, job.attempts, job.conflicts) == ("succeeded", 4, 1, 3)
    assert (job.failure, job.interruptions, job.parked) == (None, 0, None)


@pytest.mark.promise(109)
def test_conflicts_without_end_are_a_failure(
    any_db: Any, queue: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(defaults, "CONFLICT_ATTEMPTS", 5)
    job = run(any_db, queue.put(zodbjobs.Job(sample.conflicts, 99)))
    assert job.outcome == "failed"
    assert job.failure.type.endswith("ConflictError")
    assert (job.attempts, job.conflicts, len(sample.noted)) == (1, 4, 5)


@pytest.mark.promise(109)
def test_conflicts_of_the_commit_are_retried(any_db: Any, queue: Any, account: Any) -> None:
    job = run(any_db, queue.put(zodbjobs.Job(sample.deposit_with_a_rival, account, 2)))
    assert (job.outcome, job.result, job.attempts, job.conflicts) == ("succeeded", 12, 1, 1)
    assert account.balance == 12


@pytest.mark.promise(135)
def test_code_that_ends_the_process_when_it_is_loaded(
    any_db: Any, queue: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    module = tmp_path / "ending.py"
    module.write_text("def nothing(): pass\n")
    monkeypatch.syspath_prepend(tmp_path)
    job = queue.put(importlib.import_module("ending").nothing)
    after = queue.put(zodbjobs.Job(sample.add, 1))
    module.write_text("raise SystemExit('not today, and in more words than before')\n")
    monkeypatch.delitem(sys.modules, "ending")
    monkeypatch.setattr(calls, "_found", {})
    run(any_db, job)
    assert (job.status, job.outcome, after.result) == ("pending", None, 1)
    assert "ending" in job.parked


@pytest.mark.promise(135)
@pytest.mark.parametrize("how", [SystemExit, KeyboardInterrupt, GeneratorExit])
def test_a_job_cannot_end_its_worker(any_db: Any, queue: Any, how: type) -> None:
    job = queue.put(zodbjobs.Job(sample.leave, how))
    after = queue.put(zodbjobs.Job(sample.add, 1))
    transaction.commit()
    with zodbjobs.Worker(any_db, threads=1):
        wait_for([job, after])
    assert job.outcome == "failed"
    assert job.failure.type == how.__name__
    assert after.result == 1


def test_coroutines(any_db: Any, queue: Any) -> None:
    first = queue.put(zodbjobs.Job(sample.later, "one"))
    second = queue.put(zodbjobs.Job(sample.later, "two"))
    run(any_db, first)
    assert (first.result, second.result) == ("one", "two")


@pytest.mark.promise(112)
def test_no_retry_by_default(any_db: Any, queue: Any) -> None:
    job = run(any_db, queue.put(sample.fail))
    assert job.attempts == 1


@pytest.mark.promise(119)
def test_a_retry_policy(any_db: Any, queue: Any, account: Any) -> None:
    job = zodbjobs.Job(account.overdraw)
    job.retry_policy = zodbjobs.Retry(times=2, delay=10.0, jitter=0)
    queue.put(job)
    with moving_clock() as clock:
        run(any_db, job)
        assert (job.status, job.attempts) == ("pending", 1)
        assert job.failure.message == "no credit"
        assert job.due == clock.datetime() + timedelta(seconds=10)
        clock.advance(10)
        run(any_db, job)
        assert job.attempts == 2
        clock.advance(10)
        assert run_jobs(any_db) == 0
        clock.advance(10)
        run(any_db, job)
    assert (job.outcome, job.attempts) == ("failed", 3)
    assert account.balance == 0


def test_a_retry_at_once(any_db: Any, queue: Any) -> None:
    job = zodbjobs.Job(sample.fail_until, 3)
    job.retry_policy = zodbjobs.Retry(times=5)
    run(any_db, queue.put(job))
    assert (job.outcome, job.result, job.attempts) == ("succeeded", 3, 3)
    assert job.failure is None


def test_a_retry_policy_that_fails(any_db: Any, queue: Any) -> None:
    job = zodbjobs.Job(sample.fail)
    job.retry_policy = sample.BadPolicy()
    run(any_db, queue.put(job))
    assert job.outcome == "failed"
    types = ["zodbjobs.errors.BadPolicy", "RuntimeError", "ValueError", "KeyError"]
    assert [failure.type for failure in job.failure.chain()] == types
    assert "sample.BadPolicy of job" in job.failure.message


def test_missing_code_parks_the_job(
    any_db: Any, queue: Any, monkeypatch: pytest.MonkeyPatch, account: Any
) -> None:
    gone = queue.put(zodbjobs.Job(sample.vanishing, 5))
    method = queue.put(account.vanishing)
    after = queue.put(zodbjobs.Job(sample.add, 1))
    transaction.commit()
    from zodbjobs.stored.lifecycle import calls

    with monkeypatch.context() as patch:
        patch.setattr(calls, "_found", {})
        patch.delattr(sample, "vanishing")
        patch.delattr(sample.Account, "vanishing")
        run(any_db, gone)
        assert (gone.status, gone.outcome) == ("pending", None)
        assert "sample:vanishing can't be loaded" in gone.parked
        assert "install the code" in gone.parked
        assert "no method 'vanishing'" in method.parked
        assert after.result == 1
        with pytest.raises(MissingCode):
            gone.callable  # noqa: B018
        assert run_jobs(any_db) == 0
    for job in (gone, method):
        queue.retry(job)
    run(any_db, gone)
    assert (gone.parked, gone.result, method.result) == (None, 5, 0)


def test_retry_is_for_what_went_wrong(any_db: Any, queue: Any) -> None:
    good = queue.put(sample.nothing)
    bad = queue.put(zodbjobs.Job(sample.fail_until, 2))
    run(any_db, good)
    with pytest.raises(BadStatus, match="succeeded; only"):
        queue.retry(good)
    queue.retry(bad)
    assert (bad.status, bad.result, bad.failure) == ("pending", None, None)
    assert bad not in list(queue.finished())
    run(any_db, bad)
    assert bad.outcome == "succeeded"
    waiting = queue.put(sample.nothing)
    with pytest.raises(BadStatus, match="pending"):
        queue.retry(waiting)


# Inside a job


@pytest.mark.promise(46, 50, 167)
def test_progress_is_stored_with_the_job(any_db: Any, queue: Any) -> None:
    job = queue.put(zodbjobs.ProgressableJob(sample.report, 10, 55.5))
    assert job.percent is None
    run(any_db, job)
    assert job.percent == 55.5
    assert job.annotations["percent"] == 55.5
    assert job.progress == (55.5, "at 55.5")
    assert job.result is None  # it is not visible in the snapshot of the job


@pytest.mark.promise(50)
def test_a_job_can_put_jobs_and_reach_its_queue(any_db: Any, queue: Any, account: Any) -> None:
    run(any_db, queue.put(zodbjobs.Job(sample.chain, account, 4)))
    assert account.balance == 4
    assert len(list(queue.finished())) == 4


def test_track(any_db: Any, queue: Any) -> None:
    job = run(any_db, queue.put(zodbjobs.ProgressableJob(sample.track_to, 5)))
    assert job.result == [0.0, 20.0, 40.0, 60.0, 80.0]
    assert job.percent == 100.0


@pytest.mark.promise(45, 48)
def test_live_annotations(any_db: Any, queue: Any) -> None:
    job = run(any_db, queue.put(sample.annotate))
    assert job.outcome == "succeeded", job.failure
    assert dict(job.annotations) == {"phase": (1, "two"), "none": None}
    with pytest.raises(BadArgument, match="immutable"):
        job.annotations["bad"] = []
    job.annotations["good"] = "text"
    transaction.commit()
    assert job.annotations["good"] == "text"
    del job.annotations["good"]
    assert "good" not in job.annotations


@pytest.mark.promise(49)
def test_outside_a_job_there_is_none() -> None:
    for function in (
        local.get_job,
        local.get_queue,
        local.cancel_requested,
        lambda: local.set_progress(5, "half way"),
        lambda: local.set_live_annotation("phase", 1),
        lambda: local.get_live_annotation("phase", 1),
        lambda: list(local.track([1])),
    ):
        with pytest.raises(ValueError, match="no job is running here"):
            function()
    with pytest.raises(NoCurrentJob):
        local.set_progress(5)
    for bad in (None, "5", float("nan"), True):
        with pytest.raises(BadArgument):
            local.set_progress(bad)


def test_what_a_job_logs_is_kept(any_db: Any, queue: Any) -> None:
    job = queue.put(zodbjobs.Job(sample.log_lines, 250))
    other = queue.put(sample.nothing)
    run(any_db, job)
    assert len(job.log_lines) == 200
    assert job.log_lines[-1].endswith("WARNING sample: line 249")
    assert other.log_lines == ()


@pytest.mark.promise(21)
def test_times(any_db: Any, queue: Any) -> None:
    job = queue.put(sample.nothing)
    assert (job.started, job.finished, job.attempts) == (None, None, 0)
    run(any_db, job)
    assert job.created <= job.started <= job.finished
    assert job.attempts == 1


# Outside a queue


@pytest.mark.promise(1, 4, 12, 22, 24)
def test_a_job_can_be_called(connection: Any, account: Any) -> None:
    job = zodbjobs.Job(account.deposit, 5)
    assert job.status == "new"
    assert job() == 5
    assert (job.status, job.outcome, job.result) == ("completed", "succeeded", 5)
    with pytest.raises(BadStatus, match="completed"):
        job()
    assert zodbjobs.Job(sample.add, 1, more=1)(2, more=5) == 8


@pytest.mark.promise(14)
def test_a_call_that_fails_rolls_back_its_own_changes_only(connection: Any, account: Any) -> None:
    account.deposit(3)
    job = zodbjobs.Job(account.overdraw)
    failure = job()
    assert isinstance(failure, zodbjobs.Failure)
    assert job.outcome == "failed"
    assert account.balance == 3


@pytest.mark.promise(24)
def test_a_waiting_job_cannot_be_called(queue: Any) -> None:
    with pytest.raises(BadStatus, match="pending"):
        queue.put(sample.nothing)()


@pytest.mark.promise(13)
def test_status_and_result_are_read_only() -> None:
    job = zodbjobs.Job(sample.nothing)
    for name in ("status", "result", "outcome", "failure", "id"):
        with pytest.raises(AttributeError):
            setattr(job, name, "x")


@pytest.mark.promise(9)
def test_repr(any_db: Any, connection: Any, queue: Any, account: Any) -> None:
    job = zodbjobs.Job(sample.add, 1, more=2)
    assert repr(job) == "<zodbjobs.stored.job.Job (not stored): sample:add(1, more=2)>"
    queue.put(job)
    assert f"Job {job.id} in 'unnamed': sample:add(1" in repr(job)
    method = zodbjobs.Job(account.deposit, sample.BadRepr())
    assert "Account.deposit(<BadRepr instance at" in repr(method)
    del method._call
    assert "can't be shown" in repr(method)
