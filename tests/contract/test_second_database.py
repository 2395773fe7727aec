"""Queues and container in a second database, the application's data in the main one.

Storages finish a commit over both in the order of their sort keys. The main one comes first
here, as it should: else a worker may see a job before its data.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import attachment_jobs
import pytest
import sample
import transaction
import ZODB.config
from bench import bench
from patience import wait_for
from storages import MAKERS
from ZODB.POSException import (
    ConflictError,
    InvalidObjectReference,
    POSKeyError,
    ReadConflictError,
)
from ZODB.utils import u64

import zodbjobs
from zodbjobs import insights
from zodbjobs.errors import BadArgument
from zodbjobs.testing import run_jobs


@pytest.fixture(params=["FileStorage", "PostgreSQL", "ZEO"])
def main(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Any]:
    """The main database; queues and container are in the one beside it."""
    with contextlib.ExitStack() as places:
        config = ""
        for number, name in enumerate(("main", "async")):
            folder = tmp_path / f"{number}-{name}"
            folder.mkdir()
            config += places.enter_context(MAKERS[request.param](folder)).config(name)
        db = ZODB.config.databaseFromString(config)
        zodbjobs.install(db, db_name="async")
        yield db
        for opened in db.databases.values():
            opened.close()


@pytest.fixture
def connection(main: Any) -> Iterator[Any]:
    opened = main.open()
    yield opened
    transaction.abort()
    opened.close()


def state(db: Any) -> list[Any]:
    """What is committed in both databases."""
    connection = db.open(transaction.TransactionManager())
    seen = []
    for name in ("main", "async"):
        storage = connection.get_connection(name)._storage
        seen.append(storage.lastTransaction())
    connection.close()
    return seen


def name_of(stored: Any) -> str:
    name: str = stored._p_jar.db().database_name
    return name


def rival_deposit(account: sample.Account) -> None:
    """Somebody else deposits 10."""
    manager = transaction.TransactionManager()
    connection = account._p_jar.db().open(manager)
    with manager:
        connection.get(account._p_oid).deposit(10)
    connection.close()


def test_the_main_database_finishes_first(main: Any) -> None:
    assert main.storage.sortKey() < main.databases["async"].storage.sortKey()


def test_where_things_are(main: Any, connection: Any, queue: Any, account: Any) -> None:
    site = connection.root()["account"]
    job_id = zodbjobs.JobManager().put(zodbjobs.Job(account.deposit, 1), site=site)
    transaction.commit()
    job = zodbjobs.JobManager().get(job_id, site=site)
    container = connection.root()["zodbjobs.jobs"]
    assert [name_of(stored) for stored in (queue, container, job)] == ["async"] * 3
    assert name_of(account) == "main"
    assert name_of(job.callable.__self__) == "main"
    zodbjobs.install(main, db_name="async")
    assert zodbjobs.get_queue(connection) is queue
    assert zodbjobs.get_queue(job) is queue


def test_a_put_is_one_commit_over_both(main: Any, queue: Any, account: Any) -> None:
    account.balance = 5
    queue.put(zodbjobs.Job(account.deposit, 1))
    before = state(main)
    transaction.commit()
    after = state(main)
    assert before[0] < after[0]
    assert before[1] < after[1]
    assert run_jobs(main) == 1
    transaction.begin()
    assert account.balance == 6


@pytest.mark.parametrize("stored_in", ["async", "main"])
def test_a_file_is_in_the_database_of_its_job(
    main: Any, connection: Any, queue: Any, stored_in: str
) -> None:
    job = zodbjobs.Job(attachment_jobs.attach)
    if stored_in == "main":
        connection.root()["job"] = job
        transaction.commit()
    queue.put(job)
    transaction.commit()
    assert name_of(job) == stored_in
    run_jobs(main)
    transaction.begin()
    (attachment,) = job.attachments.values()
    assert name_of(attachment._blob) == stored_in
    assert b"".join(attachment.chunks()) == b"hello"


def test_an_abort_leaves_nothing_in_either(main: Any, queue: Any, account: Any) -> None:
    before = state(main)
    account.balance = 5
    job = queue.put(zodbjobs.Job(account.deposit, 1))
    transaction.savepoint()
    transaction.abort()
    assert (account.balance, len(queue), job.status) == (0, 0, "new")
    assert state(main) == before
    assert run_jobs(main) == 0


def test_a_conflict_in_one_leaves_nothing_in_the_other(
    main: Any, queue: Any, account: Any
) -> None:
    transaction.begin()
    account.deposit(5)
    queue.put(zodbjobs.Job(account.deposit, 1))
    rival_deposit(account)
    before = state(main)
    with pytest.raises(ConflictError):
        transaction.commit()
    transaction.abort()
    assert (account.balance, len(queue)) == (10, 0)
    assert state(main) == before


@pytest.mark.parametrize("given", ["main", "async"])
def test_a_worker_of_either_database(main: Any, queue: Any, account: Any, given: str) -> None:
    with zodbjobs.Worker(main.databases[given]):
        jobs = [queue.put(zodbjobs.Job(account.deposit, 1)) for _ in range(20)]
        jobs += queue.put_many([zodbjobs.Job(sample.add, n) for n in range(200)])
        transaction.commit()
        wait_for(jobs)
    transaction.begin()
    assert account.balance == 20
    assert [job.result for job in jobs[20:]] == list(range(200))
    assert list(zodbjobs.get_queues(queue).workers) == []


def test_the_effect_and_the_end_are_one_commit(main: Any, queue: Any, account: Any) -> None:
    """The end can't be committed, for the job is cancelled; so there is no effect either."""
    with zodbjobs.Worker(main):
        job = queue.put(zodbjobs.Job(sample.deposit_and_wait, account, 100))
        transaction.commit()
        until_active(job)
        job.cancel()
        transaction.commit()
        sample.gate.set()
        after = queue.put(zodbjobs.Job(account.deposit, 1))
        transaction.commit()
        wait_for(after)
    assert job.outcome == "cancelled"
    assert account.balance == 1


def test_the_end_and_the_effect_are_one_commit(main: Any, queue: Any, account: Any) -> None:
    """The effect can't be committed, for it conflicts; so the job hasn't ended either."""
    with zodbjobs.Worker(main):
        job = queue.put(zodbjobs.Job(sample.deposit_with_a_rival, account, 2))
        transaction.commit()
        wait_for(job)
    assert (job.outcome, job.result, job.conflicts) == ("succeeded", 12, 1)
    assert account.balance == 12


def test_an_effect_of_a_failure_is_in_neither(main: Any, queue: Any, account: Any) -> None:
    job = queue.put(account.overdraw)
    transaction.commit()
    before = state(main)
    run_jobs(main)
    transaction.begin()
    assert job.outcome == "failed"
    assert account.balance == 0
    assert state(main)[0] == before[0]


def test_results_may_be_in_either(main: Any, queue: Any, account: Any) -> None:
    old = queue.put(zodbjobs.Job(sample.identity, account))
    new = queue.put(zodbjobs.Job(sample.new_account, 5))
    transaction.commit()
    run_jobs(main)
    transaction.begin()
    assert old.result is account
    assert (name_of(new.result), new.result.balance) == ("async", 5)


def test_a_new_object_that_both_refer_to_is_put_where_it_belongs(
    main: Any, queue: Any, account: Any
) -> None:
    jobs = [queue.put(zodbjobs.Job(sample.new_partner, account, says)) for says in (False, True)]
    transaction.commit()
    run_jobs(main)
    transaction.begin()
    assert [job.outcome for job in jobs] == ["failed", "succeeded"]
    assert "reachable from multiple databases" in str(jobs[0].failure)
    assert jobs[1].result is account.partner
    assert name_of(account.partner) == "main"


def test_a_new_object_of_the_site_is_put_where_it_belongs(
    main: Any, queue: Any, account: Any
) -> None:
    queue.put(zodbjobs.Job(sample.new_partner(account, says_where=False).deposit, 5))
    with pytest.raises(InvalidObjectReference):
        transaction.commit()
    transaction.abort()
    job = queue.put(zodbjobs.Job(sample.new_partner(account, says_where=True).deposit, 5))
    transaction.commit()
    run_jobs(main)
    transaction.begin()
    assert (job.result, account.partner.balance, name_of(account.partner)) == (6, 6, "main")


def test_what_a_job_reads_is_not_older_than_its_put(main: Any, queue: Any, account: Any) -> None:
    with zodbjobs.Worker(main):
        for number in range(1, 30):
            account.balance = number
            job = queue.put(zodbjobs.Job(account.vanishing))
            transaction.commit()
            wait_for(job)
            assert job.result == number


def until_active(job: Any) -> None:
    while job.status != "active":
        sample.gate.wait(0.005)
        transaction.begin()


def test_a_job_of_the_main_one_among_many(main: Any, connection: Any) -> None:
    job = connection.root()["job"] = zodbjobs.Job(sample.identity, 1)
    transaction.commit()
    queue = zodbjobs.get_queue(connection)
    queue.put_many([sample.nothing] * 30)
    queue.put(job)
    transaction.commit()
    assert run_jobs(main) == 31
    transaction.begin()
    assert (job.outcome, job.result) == ("succeeded", 1)


def test_the_ids_of_the_main_one_are_not_counted_in_the_other(
    main: Any, connection: Any, queue: Any
) -> None:
    """It has very many objects, say."""
    for _ in range(5_000):
        last = u64(connection.new_oid())
    jobs = [zodbjobs.Job(sample.nothing) for _ in range(2)]
    connection.root()["jobs"] = jobs
    transaction.commit()
    assert all(u64(job._p_oid) > last for job in jobs)
    queue.put_many(jobs)
    transaction.commit()
    queue.remove(jobs[0])
    transaction.commit()
    run_jobs(main)
    transaction.begin()
    queue.forget(jobs[1])
    transaction.commit()
    assert u64(queue._p_jar.new_oid()) < 5_000


def test_the_manager_refuses_a_job_of_the_main_one(connection: Any, account: Any) -> None:
    """Its id may be that of a job in the container, which is in the other one."""
    job = connection.root()["job"] = zodbjobs.ProgressableJob(sample.nothing)
    transaction.savepoint()
    with pytest.raises(BadArgument, match="in the database 'async', where its id may be"):
        zodbjobs.JobManager().put(job, account)
    assert job.status == "new"


@pytest.fixture
def far(connection: Any) -> Any:
    """Stores a job in the main database, with an id that the other one hasn't given out yet."""
    for _ in range(1_000):
        connection.new_oid()

    def store(job: zodbjobs.Job) -> zodbjobs.Job:
        connection.root()["job"] = job
        transaction.commit()
        return job

    return store


def test_a_job_of_the_main_one_returns_another(main: Any, queue: Any, far: Any) -> None:
    """What waits for the end of that is found by its id, in the database of the queue."""
    job = far(zodbjobs.Job(sample.returning, 3))
    after = zodbjobs.Job(sample.nothing)
    with zodbjobs.Worker(main, threads=1):
        queue.put(job)
        transaction.commit()
        wait_for(job)
        queue.put(after)
        transaction.commit()
        wait_for(after)
    assert (job.outcome, job.result) == ("succeeded", 3)


def test_the_database_of_the_queue_is_seen_as_it_was_before(
    connection: Any, queue: Any, far: Any
) -> None:
    """Two servers tell of one commit one after the other: what reads has to look again."""

    class Unseen:
        _p_oid = b"a gate's"

        def __init__(self, jar: Any) -> None:
            self._p_jar = jar

        @property
        def adopts(self) -> Any:
            raise POSKeyError(b"the oid of a gate")

    job = far(zodbjobs.Job(sample.nothing))
    queue.put(job)
    transaction.commit()
    for jar, error in [(queue._p_jar, ReadConflictError), (connection, POSKeyError)]:
        vars(job)["_gate"] = Unseen(jar)
        with pytest.raises(error):
            job.status  # noqa: B018
        with pytest.raises(error):
            insights.job_info(job)
    job._p_invalidate()
    assert job.status == "pending"


def test_a_job_of_the_main_one_is_cancelled(
    main: Any, connection: Any, queue: Any, account: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """The other one has something else of its id, which isn't looked at."""
    job = connection.root()["job"] = zodbjobs.Job(sample.deposit_and_wait, account, 1)
    transaction.commit()
    assert not isinstance(queue._p_jar.get(job._p_oid), zodbjobs.Job)
    with zodbjobs.Worker(main, threads=1):
        queue.put(job)
        transaction.commit()
        until_active(job)
        job.cancel()
        transaction.commit()
        sample.gate.set()
        after = queue.put(sample.nothing)
        transaction.commit()
        wait_for(after)
    assert (job.outcome, account.balance) == ("cancelled", 0)
    assert [record.message for record in caplog.records if record.levelno > logging.INFO] == []


def test_a_job_of_the_main_one_that_cannot_be_loaded_leaves_its_key(
    main: Any, queue: Any, far: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = far(zodbjobs.Job(sample.identity, sample.Brittle()))
    queue.put(job, unique="report", unique_until="ended")
    transaction.commit()
    monkeypatch.setattr(sample, "brittle", ValueError)
    run_jobs(main)
    transaction.begin()
    job._p_invalidate()
    assert queue.put(sample.nothing, unique="report") is job
    queue.remove(job)
    assert queue.put(sample.nothing, unique="report") is not job


def test_jobs_of_one_id_in_both(main: Any, connection: Any, queue: Any) -> None:
    """A worker tells them apart: when one has ended the other one is still in its hands."""
    one = zodbjobs.Job(sample.note, "one")
    queue._p_jar.add(one)
    connection.new_oid, given = lambda: one._p_oid, connection.new_oid
    other = connection.root()["job"] = zodbjobs.Job(sample.note, "other")
    connection.add(other)
    connection.new_oid = given
    queue.put_many([one, other])
    transaction.commit()
    assert one.id == other.id
    with bench(main, group_seconds=0.0) as worker:
        claims = worker.claim()
        worker.runner.run(claims[0])
        worker.dispatcher.step()
        assert list(worker.parts.lanes[0].outstanding.values()) == claims[1:]
        worker.runner.run(claims[1])
    assert sample.noted == ["one", "other"]


def test_lists_go_over_both(main: Any, connection: Any, queue: Any, account: Any) -> None:
    """The queue is in one database; what a job is about, or the job, may be in the other."""
    one = queue.put(sample.nothing, owner="bob", about=account)
    two = connection.root()["job"] = zodbjobs.Job(sample.nothing)
    transaction.commit()
    assert name_of(two) == "main"
    queue.put(two, owner="bob", about=queue)
    transaction.commit()
    connection.cacheMinimize()
    for place in (connection, queue):
        assert list(zodbjobs.jobs_of("bob", place)) == [two, one]
    assert list(zodbjobs.jobs_about(account)) == [one]
    assert list(zodbjobs.jobs_about(queue)) == [two]
    assert (one.about, two.about) == (account, queue)
    rows = insights.list_jobs(connection, owner="bob")
    number = u64(account._p_oid)
    assert rows[1].about == f"Account {number} in 'main'"
    assert rows[1].about_id == f"main/{number}"
    assert insights.list_jobs(queue, about=f"main/{number}")[0].id == one.id
    assert insights.list_jobs(queue, about=account)[0].id == one.id
    assert run_jobs(main) == 2
    transaction.begin()
    for job in (one, two):
        queue.forget(job)
    assert list(zodbjobs.jobs_of("bob", connection)) == []
    transaction.commit()
    assert one.about is None
