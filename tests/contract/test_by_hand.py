"""A job that is called by hand ends as one that a worker runs, in the caller's transaction."""

from __future__ import annotations

from typing import Any

import pytest
import sample
import transaction
from ZODB.POSException import ConflictError, ReadConflictError

import zodbjobs
from zodbjobs.errors import BadStatus


def test_a_coroutine_function(connection: Any, account: Any) -> None:
    job = zodbjobs.Job(sample.later, "one")
    assert job() == job.result == "one"
    assert job.outcome == "succeeded"


def test_a_coroutine_function_where_a_loop_runs() -> None:
    import asyncio

    job = zodbjobs.Job(sample.later, "one")

    async def call() -> Any:
        return job()

    assert "running event loop" in asyncio.run(call()).message
    assert job.outcome == "failed"


@pytest.mark.parametrize(
    "error", [ConflictError, ReadConflictError, KeyboardInterrupt, SystemExit, GeneratorExit]
)
def test_what_is_not_the_jobs_own_reaches_the_caller(
    connection: Any, account: Any, error: type[BaseException]
) -> None:
    account.deposit(3)
    job = zodbjobs.Job(sample.deposit_and_raise, account, error)
    with pytest.raises(error):
        job()
    assert (job.status, job.result, account.balance) == ("new", None, 3)
    with pytest.raises(error):
        job()


def test_the_callers_loop_may_try_again(connection: Any, account: Any) -> None:
    for attempt in transaction.manager.attempts(5):
        with attempt:
            account.deposit(1)
            job = zodbjobs.Job(sample.conflicts, 2)
            job()
    assert (job.result, account.balance) == (3, 1)


def test_a_result_that_cannot_be_pickled(connection: Any, account: Any) -> None:
    account.job = job = zodbjobs.Job(sample.unpicklable)
    assert "the result of" in job().message
    assert job.outcome == "failed"
    transaction.commit()


@pytest.mark.promise(17)
def test_a_failure_that_is_returned_keeps_the_effects(connection: Any, account: Any) -> None:
    job = zodbjobs.Job(sample.give_up, account)
    assert job().message == "no more"
    assert (job.outcome, account.balance) == ("failed", 1)


@pytest.mark.promise(4)
def test_any_name_may_be_that_of_an_argument() -> None:
    names = {"self": 1, "callable": 2, "function": 3, "args": 4, "kwargs": 5, "job": 6}
    assert zodbjobs.Job(dict)(**names) == names
    assert zodbjobs.Job(dict, **names)() == names
    job = zodbjobs.Job(dict, callbacks=1, quota_names="x")
    assert (job.callbacks, job.quota_names, dict(job.kwargs)) == (
        *((), ()),
        {"callbacks": 1, "quota_names": "x"},
    )


def test_it_cannot_be_called_twice() -> None:
    job = zodbjobs.Job(sample.later, "one")
    job()
    with pytest.raises(BadStatus, match="completed"):
        job()
