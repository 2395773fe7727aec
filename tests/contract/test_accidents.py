"""Accidents that tests of applications arrange, and jobs that run at once."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import timedelta
from typing import Any

import pytest
import sample
import transaction
from patience import wait_for

import zodbjobs
from zodbjobs.errors import BadArgument, WaitTimeout
from zodbjobs.runtime import accidents
from zodbjobs.testing import (
    conflict_once,
    die_once,
    lose_connection_once,
    run_at_once,
    run_jobs,
)

ONCE = [conflict_once, lose_connection_once]


@pytest.mark.parametrize("once", ONCE)
@pytest.mark.parametrize("writes", [True, False], ids=["writes", "reads"])
def test_what_a_job_did_is_done_once(
    any_db: Any,
    queue: Any,
    account: Any,
    once: Callable[[], AbstractContextManager[None]],
    writes: bool,
) -> None:
    call = zodbjobs.Job(account.deposit, 1) if writes else zodbjobs.Job(sample.note, "ran")
    job = queue.put(call)
    other = queue.put(sample.nothing)
    transaction.commit()
    with once():
        assert run_jobs(any_db) == 2
    transaction.begin()
    assert (job.outcome, job.attempts, other.outcome) == ("succeeded", 1, "succeeded")
    assert job.conflicts == (1 if once is conflict_once else 0)
    assert (account.balance, sample.noted) == ((1, []) if writes else (0, ["ran", "ran"]))
    assert accidents.arranged is None


@pytest.mark.parametrize("once", ONCE)
def test_in_a_worker(
    db: Any, queue: Any, account: Any, once: Callable[[], AbstractContextManager[None]]
) -> None:
    job = queue.put(zodbjobs.Job(account.deposit, 1))
    transaction.commit()
    with once(), zodbjobs.Worker(db):
        wait_for(job)
    assert (job.outcome, account.balance) == ("succeeded", 1)


@pytest.mark.parametrize(
    ("at", "interruptions", "times"),
    [("before call", 1, 1), ("before commit", 1, 2), ("after commit", 0, 1)],
)
def test_a_worker_dies_and_the_next_one_rescues(
    any_db: Any, queue: Any, account: Any, at: str, interruptions: int, times: int
) -> None:
    first = queue.put(sample.nothing)
    job = queue.put(zodbjobs.Job(sample.note_and_deposit, account))
    transaction.commit()
    assert run_jobs(any_db, until=first) == 1
    with die_once(at=at):
        assert run_jobs(any_db) == 0
    transaction.begin()
    assert len(queue.parent.workers) == 1
    run_jobs(any_db)
    transaction.begin()
    assert len(queue.parent.workers) == 0
    assert (job.outcome, job.interruptions, account.balance) == ("succeeded", interruptions, 1)
    assert sample.noted == ["ran"] * times
    assert list(queue.finished(newest_first=False)) == [first, job]


def test_an_accident_that_did_not_happen_is_told(db: Any, queue: Any) -> None:
    for once in (*ONCE, die_once):
        with pytest.raises(AssertionError, match="nothing happened, as no job was run"), once():
            run_jobs(db)
    with pytest.raises(ValueError, match="of the test"), conflict_once():
        raise ValueError("of the test")
    with pytest.raises(BadArgument, match="before call, before commit, after commit, not at 'x'"):
        die_once(at="x")
    assert accidents.arranged is None


def test_two_accidents(db: Any, queue: Any, account: Any) -> None:
    job = queue.put(zodbjobs.Job(account.deposit, 1))
    transaction.commit()
    with conflict_once(), die_once(at="after commit"):
        run_jobs(db)
    run_jobs(db)
    transaction.begin()
    assert (job.outcome, job.conflicts, account.balance) == ("succeeded", 1, 1)


# Until


def test_run_until_a_job_has_ended(any_db: Any, queue: Any) -> None:
    """What is claimed and not run waits again, as if it had not been."""
    jobs = queue.put_many([zodbjobs.Job(sample.note, n) for n in range(4)])
    transaction.commit()
    assert run_jobs(any_db, until=jobs[1]) == 2
    assert run_jobs(any_db, until=jobs[1]) == 0
    transaction.begin()
    assert (sample.noted, list(queue)) == ([0, 1], jobs[2:])
    assert run_jobs(any_db) == 2
    transaction.begin()
    assert {job.interruptions for job in jobs} == {0}


def test_run_until_something_is_so(db: Any, queue: Any, account: Any) -> None:
    """The caller finds what the jobs did, in its own connection."""
    queue.put_many([zodbjobs.Job(account.deposit, 1) for _ in range(5)])
    transaction.commit()
    assert run_jobs(db, until=lambda: account.balance == 3) == 3
    account.transfers = 7  # what isn't committed stays
    assert run_jobs(db, until=lambda: len(sample.noted) == 0) == 0
    assert account.transfers == 7


def test_what_never_becomes_so(db: Any, queue: Any, account: Any) -> None:
    job = queue.put(zodbjobs.Job(account.vanishing))
    later = queue.put(sample.nothing, begin_after=timedelta(days=1))
    transaction.commit()
    with pytest.raises(WaitTimeout, match=rf"after 1 runs .*Job {later.id} .* is pending"):
        run_jobs(db, until=later)
    with pytest.raises(WaitTimeout, match="after 0 runs nothing more is due"):
        run_jobs(db, until=lambda: False)
    transaction.begin()
    assert job.outcome == "succeeded"


# At once


def test_jobs_run_right_after_the_commit(any_db: Any, queue: Any, account: Any) -> None:
    """The caller sees what they did; what they put is run as well."""
    with run_at_once(any_db):
        job = queue.put(zodbjobs.Job(sample.chain, account, 3))
        assert job.status == "pending"
        transaction.commit()
        assert (job.outcome, account.balance) == ("succeeded", 3)
        queue.put(zodbjobs.Job(account.deposit, 1))
        transaction.abort()
        assert account.balance == 3
        failing = queue.put(sample.fail)
        account.transfers = 1
        transaction.commit()
        assert (failing.outcome, account.transfers) == ("failed", 1)
    waiting = queue.put(sample.nothing)
    transaction.commit()
    assert waiting.status == "pending"


def test_a_second_database_is_none_of_it(db: Any, queue: Any, tmp_path: Any) -> None:
    from storages import file_storage

    (tmp_path / "other").mkdir()
    other = file_storage(tmp_path / "other")
    zodbjobs.install(other)
    with run_at_once(other):
        job = queue.put(sample.nothing)
        transaction.commit()
        assert job.status == "pending"
    other.close()
