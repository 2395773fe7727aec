"""Connections whose transactions the caller begins, as pyramid_tm does."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import sample
import transaction
from transaction.interfaces import NoTransaction

import zodbjobs
from zodbjobs import insights
from zodbjobs.testing import run_jobs, wait_for


@pytest.fixture
def manager() -> Any:
    return transaction.TransactionManager(explicit=True)


@pytest.fixture
def connection(any_db: Any, manager: Any) -> Iterator[Any]:
    """A connection of that manager, with no transaction begun."""
    opened = any_db.open(manager)
    yield opened
    with contextlib.suppress(NoTransaction):
        manager.abort()
    opened.close()


def put(connection: Any) -> zodbjobs.Job:
    """A job that is put and committed."""
    with connection.transaction_manager:
        return zodbjobs.get_queue(connection).put(zodbjobs.Job(sample.add, 4, 4))


def is_in_transaction(manager: Any) -> bool:
    try:
        manager.get()
    except NoTransaction:
        return False
    return True


READS: dict[str, Callable[[Any, zodbjobs.Job], object]] = {
    "status": lambda _, job: job.status,
    "id": lambda _, job: job.id,
    "queue": lambda _, job: job.queue,
    "result": lambda _, job: (job.result, job.outcome, job.failure, job.parked),
    "progress": lambda _, job: (job.progress, job.log_lines, dict(job.annotations)),
    "times": lambda _, job: (job.created, job.due, job.started, job.finished),
    "repr": lambda _, job: repr(job),
    "the queue": lambda _, job: (list(job.queue or ()), len(job.queue or ())),
    "the history": lambda connection, _: list(zodbjobs.get_queue(connection).finished()),
    "insights": lambda connection, job: (
        list(insights.list_jobs(connection)),
        insights.queue_stats(connection, ""),
        insights.list_workers(connection),
        insights.job_details(job),
    ),
    "the manager": lambda connection, _: list(zodbjobs.JobManager().jobs(connection.root())),
}


@pytest.mark.parametrize("read", list(READS.values()), ids=list(READS))
@pytest.mark.parametrize("begun", [False, True], ids=["outside", "inside"])
@pytest.mark.parametrize("ended", [False, True], ids=["waiting", "ended"])
def test_a_read_begins_and_ends_no_transaction(
    any_db: Any, connection: Any, manager: Any, read: Any, begun: bool, ended: bool
) -> None:
    job = put(connection)
    if ended:
        run_jobs(any_db)
    if begun:
        manager.begin()
    read(connection, job)
    assert is_in_transaction(manager) == begun


def test_a_job_tells_of_itself_before_and_after_an_aborted_put(
    connection: Any, manager: Any
) -> None:
    job = zodbjobs.Job(sample.add, 4, 4)
    assert (job.status, job.id) == ("new", None)
    manager.begin()
    zodbjobs.get_queue(connection).put(job)
    assert job.status == "pending"
    manager.abort()
    assert (job.status, job.id, job.queue) == ("new", None, None)


def test_waiting_outside_a_transaction_begins_none(
    any_db: Any, connection: Any, manager: Any
) -> None:
    job = put(connection)
    run_jobs(any_db)
    wait_for(job)
    assert not is_in_transaction(manager)
    with manager:  # which raises if there is one
        assert job.result == 8


def test_waiting_inside_one_shows_the_result(any_db: Any, connection: Any, manager: Any) -> None:
    job = put(connection)
    manager.begin()
    assert job.result is None
    run_jobs(any_db)
    wait_for(job)
    assert job.result == 8
    assert is_in_transaction(manager)


def test_waiting_keeps_what_the_caller_has_changed(
    any_db: Any, connection: Any, manager: Any
) -> None:
    job = put(connection)
    manager.begin()
    connection.root()["note"] = "mine"
    run_jobs(any_db)
    wait_for(job)
    manager.commit()
    with manager:
        assert connection.root()["note"] == "mine"
