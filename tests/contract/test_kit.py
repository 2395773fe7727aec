"""What is offered to the tests of applications: run what is due, wait for the end of jobs."""

from __future__ import annotations

import logging
import threading
from typing import Any

import pytest
import sample
import transaction
from ZODB.POSException import ReadConflictError

import zodbjobs
from zodbjobs.errors import WaitTimeout
from zodbjobs.testing import run_jobs, wait_for


@pytest.mark.promise(156)
def test_run_jobs_runs_what_is_due_and_what_that_puts(
    any_db: Any, queue: Any, account: Any
) -> None:
    failing = queue.put(sample.fail)
    queue.put(zodbjobs.Job(sample.chain, account, 3))
    transaction.commit()
    assert run_jobs(any_db) == 4
    transaction.begin()
    assert (failing.outcome, account.balance, len(queue)) == ("failed", 3, 0)
    assert run_jobs(any_db) == 0


def test_wait_for_looks_again_where_a_database_is_ahead(
    any_db: Any, queue: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As with two servers, of which the one has told of a commit that the other had a part in."""
    job = queue.put(sample.nothing)
    transaction.commit()
    run_jobs(any_db)
    status = type(job).status.fget
    refusals = [ReadConflictError("not yet")]

    def lags(self: Any) -> Any:
        if refusals:
            raise refusals.pop()
        return status(self)

    monkeypatch.setattr(type(job), "status", property(lags))
    wait_for(job)
    assert not refusals


@pytest.mark.promise(156)
def test_wait_for_returns_at_the_end_of_the_last(any_db: Any, queue: Any) -> None:
    with zodbjobs.Worker(any_db, threads=2):
        short = queue.put(zodbjobs.Job(sample.identity, "short"))
        long = queue.put(sample.wait)
        transaction.commit()
        wait_for(short)
        assert short.result == "short"  # without another transaction of the caller's
        with pytest.raises(WaitTimeout, match=rf"Job {long.id} .* is still "):
            wait_for([short, long], timeout=0)
        threading.Timer(0.05, sample.gate.set).start()
        wait_for([short, long])
        assert long.result == "waited"


@pytest.mark.promise(157)
def test_it_leaves_nothing_behind(any_db: Any, queue: Any, account: Any) -> None:
    def surroundings() -> Any:
        opened = any_db.connectionDebugInfo()
        return (
            transaction.manager.manager,
            list(logging.getLogger().handlers),
            threading.active_count(),
            sum(info["opened"] is not None for info in opened),
            any_db.getPoolSize(),
        )

    before = surroundings()
    for number in range(1, 4):
        queue.put(zodbjobs.Job(sample.note, number))
        transaction.commit()
        account.balance = number  # what the caller hasn't committed stays as it is
        assert run_jobs(any_db) == 1
        assert account.balance == number
        transaction.abort()
        assert (account.balance, surroundings()) == (0, before)
        assert list(queue.parent.workers) == []
    assert sample.noted == [1, 2, 3]
