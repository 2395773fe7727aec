"""Copies of jobs, by export and import: a job names its queue, and takes nothing of it along."""

from __future__ import annotations

import io
from typing import Any

import pytest
import sample
import transaction
from bench import run_in_groups
from persistent.mapping import PersistentMapping
from ZODB.DB import DB
from ZODB.MappingStorage import MappingStorage
from ZODB.utils import u64

import zodbjobs
from zodbjobs.testing import run_jobs


def exported(holder: Any) -> bytes:
    file = io.BytesIO()
    holder._p_jar.exportFile(holder._p_oid, file)
    return file.getvalue()


def imported(connection: Any, data: bytes) -> Any:
    copy = connection.root()["copy"] = connection.importFile(io.BytesIO(data))
    transaction.commit()
    return copy


@pytest.mark.parametrize("number", [1, 100])
def test_an_export_takes_no_queue_along(connection: Any, queue: Any, number: int) -> None:
    jobs = queue.put_many([zodbjobs.Job(sample.identity, n) for n in range(number)])
    queue.put(zodbjobs.Job(sample.identity, "somebody else's"))
    holder = connection.root()["holder"] = PersistentMapping({"job": jobs[-1]})
    transaction.commit()
    data = exported(holder)
    assert len(data) < 1_500
    assert b"somebody" not in data
    copy = imported(connection, data)["job"]
    assert (copy.status, copy.queue, jobs[-1].status) == ("new", None, "pending")
    assert len(queue) == number + 1
    queue.put(copy)
    transaction.commit()
    assert run_in_groups(connection.db()) == number + 2
    transaction.begin()
    assert copy.result == jobs[-1].result == number - 1


@pytest.mark.parametrize("number", [1, 100])
def test_a_copy_in_another_database_is_new(connection: Any, queue: Any, number: int) -> None:
    jobs = queue.put_many([zodbjobs.Job(sample.identity, n) for n in range(number)])
    holder = connection.root()["holder"] = PersistentMapping({"job": jobs[0]})
    transaction.commit()
    other = DB(MappingStorage())
    zodbjobs.install(other)
    there = other.open()
    copy = imported(there, exported(holder))["job"]
    assert (copy.status, copy.queue) == ("new", None)
    assert len(zodbjobs.get_queues(there)) == 1
    zodbjobs.get_queue(there).put(copy)
    transaction.commit()
    assert run_jobs(other) == 1
    transaction.begin()
    assert copy.result == 0
    transaction.abort()
    there.close()
    other.close()


def test_a_copy_of_an_ended_job_takes_the_results_of_its_bundle_at_most(
    connection: Any, queue: Any
) -> None:
    jobs = queue.put_many([zodbjobs.Job(sample.identity, n) for n in range(100)])
    queue.put(zodbjobs.Job(sample.identity, "somebody else's"))
    holder = connection.root()["holder"] = PersistentMapping({"job": jobs[0]})
    transaction.commit()
    run_in_groups(connection.db())
    transaction.begin()
    data = exported(holder)
    assert b"somebody" not in data
    assert len(data) < 10_000
    copy = imported(connection, data)["job"]
    assert (copy.status, copy.result) == ("completed", 0)


def test_a_job_of_the_container_takes_no_others_along(connection: Any, account: Any) -> None:
    manager = zodbjobs.JobManager()
    job_id = manager.put(zodbjobs.ProgressableJob(sample.identity, 1), account)
    manager.put(zodbjobs.ProgressableJob(sample.identity, "somebody else's"), account)
    transaction.commit()
    job = manager.get(job_id or "", account)
    assert job is not None
    container = job.__parent__
    holder = connection.root()["holder"] = PersistentMapping({"job": job})
    transaction.commit()
    run_jobs(connection.db())
    transaction.begin()
    data = exported(holder)
    assert b"somebody" not in data
    assert len(data) < 1_500
    copy = imported(connection, data)["job"]
    assert (copy.result, copy.__parent__, job.__parent__) == (1, None, container)
    connection.cacheMinimize()
    assert (copy.__parent__, job.__parent__) == (None, container)


def test_a_copy_looks_at_no_other_object_of_the_number_of_the_container(
    connection: Any, account: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the other database that is an object which can't be loaded."""
    manager = zodbjobs.JobManager()
    job_id = manager.put(zodbjobs.ProgressableJob(sample.identity, 1), account)
    transaction.commit()
    job: Any = manager.get(job_id or "", account)
    data = exported(job)
    number = u64(job.__parent__._p_oid)
    other = DB(MappingStorage())
    there = other.open()
    while u64(there.new_oid()) < number - 1:
        pass
    there.add(unreadable := PersistentMapping({"brittle": sample.Brittle()}))
    assert u64(unreadable._p_oid) == number
    copy = imported(there, data)
    unreadable._p_deactivate()
    monkeypatch.setattr(sample, "brittle", ValueError)
    assert (copy.__parent__, copy.__name__) == (None, job_id)
    transaction.abort()
    there.close()
    other.close()


def test_a_copy_of_the_container_itself(connection: Any, account: Any) -> None:
    """Its jobs name the other one, until they are told."""
    manager = zodbjobs.JobManager()
    job_id = manager.put(zodbjobs.ProgressableJob(sample.identity, 1), account) or ""
    transaction.commit()
    container = connection.root()["zodbjobs.jobs"]
    copy = imported(connection, exported(container))
    assert (list(copy), copy[job_id].__parent__) == ([job_id], None)
    copy[job_id].__parent__ = copy
    transaction.commit()
    connection.cacheMinimize()
    assert copy[job_id].__parent__ is copy
    assert container[job_id].__parent__ is container
    del copy[job_id]
    transaction.commit()
    assert (list(copy), list(container)) == ([], [job_id])
