"""The undo of a job's end, by somebody who wants its effects gone."""

from __future__ import annotations

import base64
from typing import Any

import pytest
import sample
import transaction

import zodbjobs
from zodbjobs import insights, operations
from zodbjobs.errors import BadStatus
from zodbjobs.testing import run_jobs


@pytest.fixture(params=["writer", "reader"])
def undone(request: pytest.FixtureRequest, db: Any, queue: Any, account: Any) -> zodbjobs.Job:
    """A job whose end was undone, after it was booked; another one stays ended."""
    function = account.deposit if request.param == "writer" else sample.add
    job: zodbjobs.Job = queue.put(zodbjobs.Job(function, 5))
    transaction.commit()
    run_jobs(db)
    transaction.begin()
    assert job.result == 5
    job._p_activate()
    queue.put(sample.nothing)
    transaction.commit()
    run_jobs(db)
    db.undo(base64.encodebytes(job._p_serial).rstrip())
    transaction.commit()
    assert account.balance == 0
    return job


def history(db: Any, queue: Any) -> list[zodbjobs.Job]:
    """The jobs of the history; its counters agree."""
    transaction.begin()
    jobs = list(queue.finished())
    assert sum(shard.history_length() for shard in queue.shards) == len(jobs)
    return jobs


def test_it_is_new(db: Any, queue: Any, undone: Any) -> None:
    assert (undone.status, undone.outcome, undone.result) == ("new", None, None)
    assert len(list(insights.list_jobs(queue))) == 2
    with pytest.raises(BadStatus, match="isn't in queue"):
        undone.cancel()
    assert run_jobs(db) == 0


@pytest.mark.parametrize("how", ["put", "retry", "operation"])
def test_it_can_be_put_in_again(db: Any, queue: Any, account: Any, undone: Any, how: str) -> None:
    if how == "operation":
        (result,) = operations.retry(db, [undone.id])
        assert result.done
    else:
        getattr(queue, how)(undone)
        transaction.commit()
    assert run_jobs(db) == 1
    assert history(db, queue).count(undone) == 1
    assert (undone.outcome, undone.result) == ("succeeded", 5)
    assert account.balance in (0, 5)
    assert run_jobs(db) == 0


def test_it_can_be_forgotten(db: Any, queue: Any, undone: Any) -> None:
    (result,) = operations.forget(db, [undone.id])
    assert result.done
    assert undone not in history(db, queue)
