"""Hooks of a kind of job around its attempts, and jobs that are their own first argument."""

from __future__ import annotations

import functools
import logging
from typing import Any

import pytest
import sample
import transaction
from sample import Prepared

import zodbjobs
from zodbjobs.testing import die_once, run_jobs

DOWN = "torn down of sample:"


def run(db: Any) -> None:
    transaction.commit()
    run_jobs(db)
    transaction.begin()


@pytest.mark.promise(11)
def test_they_are_called_around_an_attempt_and_its_commit(
    any_db: Any, queue: Any, account: Any
) -> None:
    job = queue.put(Prepared(sample.note_commit, account))
    run(any_db)
    assert (job.outcome, account.balance) == ("succeeded", 1)
    assert sample.noted == ["set up", "called", "commit", f"{DOWN}note_commit"]


@pytest.mark.promise(11)
def test_they_are_called_around_its_abort(any_db: Any, queue: Any, account: Any) -> None:
    job = queue.put(Prepared(sample.note_abort, account))
    run(any_db)
    assert (job.outcome, account.balance) == ("failed", 0)
    assert sample.noted == ["set up", "called", "abort", f"{DOWN}note_abort"]


@pytest.mark.promise(11)
def test_they_are_called_for_each_attempt(db: Any, queue: Any, account: Any) -> None:
    job = queue.put(Prepared(sample.conflict_once, account))
    run(db)
    assert (job.outcome, account.balance) == ("succeeded", 1)
    each = ["set up", "called", "abort", f"{DOWN}conflict_once"]
    assert sample.noted == [*each, *(each[:2]), "commit", each[-1]]


@pytest.mark.promise(11)
def test_a_set_up_that_fails_is_the_failure_of_the_job(db: Any, queue: Any, account: Any) -> None:
    """What it calls isn't called, and there is nothing to tear down. Its policy is asked."""
    job = Prepared(sample.note_commit, account)
    job.fails_at, job.retry_policy = "set_up", zodbjobs.Retry(1)
    queue.put(job)
    run(db)
    assert (job.outcome, job.failure.message, job.attempts) == (
        "failed",
        "it can't be set up",
        2,
    )
    assert (sample.noted, account.balance) == (["set up", "set up"], 0)


@pytest.mark.promise(11)
@pytest.mark.parametrize("fails_at", ["tear_down", "exit", "cancel"])
def test_a_tear_down_that_fails_is_only_logged(
    db: Any, queue: Any, caplog: pytest.LogCaptureFixture, fails_at: str
) -> None:
    """The job has succeeded, and what it wrote there isn't stored with the next one."""
    job = Prepared(sample.note, "called")
    job.fails_at = fails_at
    queue.put(job)
    after = queue.put(zodbjobs.Job(sample.nothing))
    run(db)
    assert (job.outcome, job.result, after.outcome) == ("succeeded", "called", "succeeded")
    assert sample.noted == ["set up", "called", f"{DOWN}note"]
    assert not hasattr(job, "description_of_the_end")
    critical = [r.message for r in caplog.records if r.levelno == logging.CRITICAL]
    assert len(critical) == 1
    assert critical[0].startswith("tear_down of <sample.Prepared")


@pytest.mark.promise(11)
def test_a_result_that_could_wait_is_committed_before_tear_down(any_db: Any, queue: Any) -> None:
    queue.put(sample.Looking(sample.nothing))
    run(any_db)
    assert sample.noted == ["succeeded"]


def test_a_worker_that_dies_tears_nothing_down(db: Any, queue: Any, account: Any) -> None:
    queue.put(Prepared(sample.note_commit, account))
    transaction.commit()
    with die_once():
        run_jobs(db)
    assert sample.noted == ["set up", "called", "abort"]


@pytest.mark.promise(11)
@pytest.mark.parametrize("fails_at", ["", "set_up", "tear_down"])
def test_by_hand(account: Any, fails_at: str) -> None:
    job = Prepared(account.deposit, 1)
    job.fails_at = fails_at
    result = job()
    if fails_at == "set_up":
        assert (result.message, account.balance) == ("it can't be set up", 0)
        assert sample.noted == ["set up"]
    else:
        assert (result, account.balance) == (1, 1)
        assert sample.noted == ["set up", "torn down of Account.deposit"]


# Bound jobs


@pytest.mark.promise(6)
def test_a_job_is_the_first_argument_of_what_it_calls(any_db: Any, queue: Any) -> None:
    job = queue.put(zodbjobs.Job.bind(sample.describe_bound, "one", "two"))
    assert job.args[0] is job
    assert repr(job).endswith("sample:describe_bound(<this job>, 'one', 'two')>")
    run(any_db)
    assert job.result == f"{job.id} one two"


@pytest.mark.promise(6)
def test_of_a_partial_and_of_a_kind(db: Any, queue: Any, account: Any) -> None:
    """Its own arguments come before the job, as before any argument of a call."""
    partial = functools.partial(sample.describe_bound, more=1)
    assert zodbjobs.Job.bind(partial).args[0].kwargs == {"more": 1}
    job = sample.SpecialJob.bind(functools.partial(sample.add, 1), 2)
    assert type(job) is sample.SpecialJob
    assert list(job.args) == [1, job, 2]
    by_hand = zodbjobs.Job.bind(sample.describe_bound)
    assert by_hand("x") == "None x"
    failing = queue.put(zodbjobs.Job.bind(sample.note_and_fail))
    run(db)
    assert failing.outcome == "failed"
    queue.retry(failing)
    run(db)
    assert (failing.outcome, failing.args[0]) == ("failed", failing)
