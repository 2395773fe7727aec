"""The jobs of somebody, about an object, of a site: what is in these lists, and until when."""

from __future__ import annotations

import base64
import io
from datetime import timedelta
from typing import Any

import pytest
import sample
import transaction
from bench import run_in_groups
from persistent.mapping import PersistentMapping
from storages import MAKERS
from ZODB.DB import DB
from ZODB.MappingStorage import MappingStorage
from zope.component import getGlobalSiteManager
from zope.component.hooks import setSite

import zodbjobs
from zodbjobs import defaults, insights, jobs_about, jobs_in, jobs_of
from zodbjobs.errors import BadArgument, NotInstalled
from zodbjobs.interfaces import SUCCEEDED
from zodbjobs.runtime.tasks.prune import prune
from zodbjobs.stored import job_index
from zodbjobs.stored.lifecycle import delivery, history
from zodbjobs.testing import moving_clock, run_jobs


def run(db: Any) -> None:
    transaction.commit()
    run_jobs(db)
    transaction.begin()


def entries(queue: Any) -> list[Any]:
    """All that the index has."""
    found = [item for lane in queue.parent.job_index.lanes for item in lane.items()]
    return [(name, job) for (name, _), job in found if job is not None]


def put(queue: Any, **labels: Any) -> Any:
    """A job that is put in a transaction of its own."""
    job = queue.put(sample.nothing, **labels)
    transaction.commit()
    return job


# What is in them


def test_a_job_without_labels_is_in_none(any_db: Any, queue: Any) -> None:
    queue.put(sample.nothing, title="A title")
    run(any_db)
    assert entries(queue) == []


def test_they_have_their_jobs_the_newest_first(any_db: Any, queue: Any, account: Any) -> None:
    second = queue.parent.create("second")
    labels = {"owner": "bob", "about": account, "realm": "/one"}
    jobs = [put(each, **labels) for each in (queue, second, queue, second)]
    put(queue, owner="ann", about=queue, realm="/two")
    put(queue, owner="bo", realm="/on")
    run(any_db)
    wanted = jobs[::-1]
    assert list(jobs_of("bob", queue)) == wanted
    assert list(jobs_about(account)) == wanted
    assert list(jobs_in("/one", queue)) == wanted
    assert list(jobs_of("nobody", queue)) == []


def test_a_job_for_later_is_there_by_the_time_of_its_put(queue: Any) -> None:
    with moving_clock() as clock:
        later = queue.put(sample.nothing, owner="bob", begin_after=timedelta(days=1))
        clock.advance(1)
        now = queue.put(sample.nothing, owner="bob")
    assert list(jobs_of("bob", queue)) == [now, later]


def test_many_of_one_put_keep_their_order(any_db: Any, queue: Any) -> None:
    with moving_clock():  # which stands still
        jobs = queue.put_many([sample.nothing] * 100, owner="bob")
    transaction.commit()
    assert list(jobs_of("bob", queue)) == jobs[::-1]
    assert run_in_groups(any_db) == 100
    transaction.begin()
    assert None in {job._finished for job in jobs}  # some ends are in the shared results
    assert list(jobs_of("bob", queue)) == jobs[::-1]


def test_what_belongs_to_a_job_is_there_with_it(any_db: Any, queue: Any) -> None:
    part, returned, callback = (zodbjobs.Job(sample.nothing) for _ in range(3))
    callback = zodbjobs.Job(sample.note)
    whole = zodbjobs.serial(part)
    whole.add_callback(callback)
    outer = zodbjobs.Job(sample.identity, returned)
    queue.put_many([whole, outer], owner="bob")
    assert set(jobs_of("bob", queue)) == {whole, outer}
    run(any_db)
    found = list(jobs_of("bob", queue))
    assert {whole, outer, part, returned, callback} <= set(found)
    assert len(set(found)) == len(found) == 6  # with the one that gathers


def test_a_callback_that_can_not_be_put_is_there(db: Any, queue: Any) -> None:
    elsewhere = queue.parent.create("elsewhere")
    callback = zodbjobs.Job(sample.note)
    callback.queue = elsewhere
    queue.put(sample.nothing, owner="bob").add_callback(callback)
    transaction.commit()
    del queue.parent._queues["elsewhere"]
    run(db)
    assert callback.parked
    assert callback in list(jobs_of("bob", queue))


def test_they_can_be_read_while_they_change(queue: Any) -> None:
    jobs = [queue.put(sample.nothing, owner="bob") for _ in range(200)]
    for job in jobs_of("bob", queue):
        queue.remove(job)
    assert [job.status for job in jobs] == ["new"] * 200
    assert entries(queue) == []


def test_no_more_is_read_than_is_asked_for(queue: Any) -> None:
    for _ in range(10):
        queue.put_many([sample.nothing] * 200, owner="bob")
    transaction.commit()
    connection = queue._p_jar
    connection.cacheMinimize()
    connection.getTransferCounts(True)
    found = jobs_of("bob", queue)
    for _ in range(25):
        next(found)
    loads, _ = connection.getTransferCounts()
    assert loads < 50


# The place


class Site(sample.Account):
    """A site that needs no component registry."""

    def getSiteManager(self) -> Any:
        return getGlobalSiteManager()


def test_the_place_is_the_current_site(queue: Any) -> None:
    site = queue._p_jar.root()["site"] = Site()
    job = put(queue, owner="bob")
    with pytest.raises(LookupError, match="give a connection or a stored object"):
        jobs_of("bob")
    setSite(site)
    try:
        assert list(jobs_of("bob")) == [job]
    finally:
        setSite()


@pytest.mark.parametrize("value", [None, 7, ""])
def test_bad_owners_and_realms(queue: Any, value: Any) -> None:
    for each in (jobs_of, jobs_in):
        with pytest.raises(BadArgument):
            each(value, queue)


def test_bad_objects(queue: Any) -> None:
    with pytest.raises(BadArgument, match="a stored object only"):
        jobs_about(sample.Account())


def test_a_database_without_queues() -> None:
    connection = DB(MappingStorage()).open()
    for find in (lambda: jobs_of("bob", connection), lambda: jobs_about(connection.root())):
        with pytest.raises(NotInstalled):
            find()
    connection.close()


# Until when


def test_a_job_that_is_taken_out_goes(any_db: Any, queue: Any, account: Any) -> None:
    job = put(queue, owner="bob", about=account, realm="/one")
    queue.remove(job)
    transaction.commit()
    assert entries(queue) == []
    assert (job.owner, job.about, job.realm) == ("bob", account, "/one")
    queue.put(job)
    transaction.commit()
    assert len(entries(queue)) == 3
    assert queue.pull() is job
    assert entries(queue) == []


@pytest.mark.parametrize("number", [1, 60])
def test_a_job_that_is_forgotten_goes(any_db: Any, queue: Any, number: int) -> None:
    jobs = queue.put_many([sample.nothing] * number, owner="bob", realm="/one")
    transaction.commit()
    run_in_groups(any_db)
    transaction.begin()
    queue.forget(jobs[0])
    transaction.commit()
    assert set(jobs_of("bob", queue)) == set(jobs[1:])
    assert len(entries(queue)) == 2 * (number - 1)


@pytest.mark.parametrize("number", [1, 60])
def test_jobs_that_are_pruned_go(any_db: Any, queue: Any, number: int) -> None:
    queue.put_many([sample.nothing] * number, owner="bob", realm="/one")
    plain = queue.put_many([sample.nothing] * number)
    queue.put(sample.fail, owner="ann")
    transaction.commit()
    run_in_groups(any_db)
    transaction.begin()
    waits = queue.put(sample.nothing, owner="bob")
    transaction.commit()
    queue._p_jar.cacheMinimize()
    assert prune([queue], 0, 0) == 2 * number + 1
    assert all(job._p_changed is None for job in plain)  # none of them was loaded
    assert entries(queue) == [("owner:bob", waits)]


@pytest.mark.parametrize("is_parked", [True, False])
def test_a_retry_keeps_the_place(
    db: Any, queue: Any, monkeypatch: pytest.MonkeyPatch, account: Any, is_parked: bool
) -> None:
    job = queue.put(zodbjobs.Job(account.vanishing if is_parked else sample.fail), owner="bob")
    newer = put(queue, owner="bob")
    with monkeypatch.context() as patch:
        if is_parked:
            patch.delattr(sample.Account, "vanishing")
        run(db)
    queue.retry(job)
    run(db)
    assert list(jobs_of("bob", queue)) == [newer, job]
    assert len(entries(queue)) == 2
    queue.forget(job)
    assert list(jobs_of("bob", queue)) == [newer]


def test_a_job_that_can_not_be_loaded_goes_as_well(queue: Any) -> None:
    kind = type("Gone", (zodbjobs.Job,), {"__module__": "sample"})
    sample.Gone = kind  # type: ignore[attr-defined]
    job = put(queue, owner="bob")
    gone = queue.put(kind(sample.nothing), owner="bob", title="It was here")
    transaction.commit()
    oid = gone._p_oid
    del sample.Gone  # type: ignore[attr-defined]
    connection = queue._p_jar.db().open()
    there = zodbjobs.get_queue(connection)
    assert len(list(jobs_of("bob", there))) == 2
    (row,) = insights.list_jobs(there, owner="bob", text="was here")
    assert (row.owner, row.title, row.status) == ("bob", "It was here", "pending")
    there.remove(connection.get(oid))
    assert [each._p_oid for each in jobs_of("bob", there)] == [job._p_oid]
    transaction.abort()
    connection.close()


# Aborts, undo, copies


def test_an_abort_leaves_nothing(queue: Any, account: Any) -> None:
    job = zodbjobs.Job(sample.nothing)
    queue.put(job, owner="bob", about=account)
    transaction.abort()
    assert entries(queue) == []
    queue.put(job)
    transaction.commit()
    assert [each for _, each in entries(queue)] == [job, job]
    job.cancel()
    transaction.commit()
    queue.forget(job)
    assert entries(queue) == []


def test_a_savepoint_leaves_nothing(queue: Any) -> None:
    queue.put(sample.nothing, owner="ann")
    savepoint = transaction.savepoint()
    job = zodbjobs.Job(sample.nothing)
    queue.put(job, owner="bob")
    savepoint.rollback()
    assert [name for name, _ in entries(queue)] == ["owner:ann"]
    queue.put(job)
    transaction.commit()
    assert list(jobs_of("bob", queue)) == [job]


def undo(job: Any) -> None:
    """Undo the last transaction that wrote a job."""
    job._p_activate()
    job._p_jar.db().undo(base64.encodebytes(job._p_serial).rstrip())
    transaction.commit()


def test_undo_of_a_put(db: Any, queue: Any) -> None:
    queue._p_jar.root()["one"] = put(queue, owner="bob")
    transaction.commit()
    job = put(queue, owner="bob")
    undo(job)
    assert list(jobs_of("bob", queue)) == [queue._p_jar.root()["one"]]


def test_undo_of_a_removal(db: Any, queue: Any) -> None:
    job = put(queue, owner="bob")
    queue.remove(job)
    transaction.commit()
    undo(job)
    assert job.status == "pending"
    assert list(jobs_of("bob", queue)) == [job]
    queue.remove(job)
    assert entries(queue) == []


@pytest.mark.parametrize("how", ["retry", "put", "forget"])
def test_undo_of_an_end(db: Any, queue: Any, how: str) -> None:
    job = put(queue, owner="bob")
    run(db)
    put(queue)
    run(db)
    undo(job)
    assert (job.status, list(jobs_of("bob", queue))) == ("new", [job])
    getattr(queue, how)(job)
    transaction.commit()
    assert [each for _, each in entries(queue)] == ([] if how == "forget" else [job])


def imported(connection: Any, holder: Any) -> Any:
    file = io.BytesIO()
    holder._p_jar.exportFile(holder._p_oid, file)
    file.seek(0)
    copy = connection.root()["copy"] = connection.importFile(file)
    transaction.commit()
    return copy["job"]


@pytest.mark.parametrize("ended", [True, False])
def test_a_copy_is_in_no_list_and_about_nothing(
    db: Any, queue: Any, account: Any, ended: bool
) -> None:
    job = put(queue, owner="bob", about=account)
    holder = queue._p_jar.root()["holder"] = PersistentMapping({"job": job})
    if ended:
        run(db)
    transaction.commit()
    other = DB(MappingStorage())
    zodbjobs.install(other)
    there = other.open()
    copies = [imported(queue._p_jar, holder), imported(there, holder)]
    assert [copy.about for copy in copies] == [None, None]
    assert [copy.owner for copy in copies] == ["bob", "bob"]
    assert list(jobs_about(account)) == list(jobs_of("bob", queue)) == [job]
    assert list(jobs_of("bob", there)) == []
    if not ended:
        elsewhere = zodbjobs.get_queue(there)
        elsewhere.put(copies[1])
        transaction.commit()
        there.cacheMinimize()
        assert list(jobs_of("bob", there)) == copies[1:]
        assert copies[1].about is None
        elsewhere.remove(copies[1])
        assert entries(elsewhere) == []
    transaction.abort()
    there.close()


def test_what_is_gone_is_told_as_gone(db: Any, queue: Any) -> None:
    thing = queue._p_jar.root()["thing"] = sample.Account()
    transaction.commit()
    job = put(queue, about=thing, owner="bob")
    number = int.from_bytes(thing._p_oid, "big")
    assert insights.job_info(job).about == f"Account {number}"
    del queue._p_jar.root()["thing"]
    transaction.commit()
    db.pack()
    queue._p_jar.cacheMinimize()
    transaction.begin()
    assert job.about is None
    row = insights.job_info(job)
    assert row.about == f"something that is gone, {number}"
    assert row.about_id == f"unnamed/{number}"
    assert [each.id for each in insights.list_jobs(queue, about=row.about_id)] == [job.id]


# Many at once


class clients_of:
    """Connections with transaction managers of their own."""

    def __init__(self, db: Any, number: int) -> None:
        self._managers = [transaction.TransactionManager() for _ in range(number)]
        self._connections = [db.open(manager) for manager in self._managers]
        self._number = delivery._producer.number

    def __enter__(self) -> list[Any]:
        return [
            (manager, zodbjobs.get_queue(connection))
            for manager, connection in zip(self._managers, self._connections, strict=True)
        ]

    def __exit__(self, *details: object) -> None:
        delivery._producer.number = self._number
        for manager, connection in zip(self._managers, self._connections, strict=True):
            manager.abort()
            connection.close()


def test_puts_by_producers_apart_do_not_conflict(any_db: Any, queue: Any) -> None:
    with clients_of(any_db, 8) as clients:
        for _ in range(20):
            for number, (manager, there) in enumerate(clients):
                delivery._producer.number = number
                manager.begin()
                there.put(sample.nothing, owner="bob", realm="/one")
            for manager, _ in clients:
                manager.commit()
    transaction.begin()
    assert len(list(jobs_of("bob", queue))) == len(list(jobs_in("/one", queue))) == 160


# A MappingStorage merges nothing.
@pytest.mark.parametrize("any_db", sorted(MAKERS.keys() - {"MappingStorage"}), indirect=True)
def test_two_who_put_into_the_same_lane_are_merged(any_db: Any, queue: Any) -> None:
    put(queue, owner="bob")
    with clients_of(any_db, 2) as clients:
        for number, (manager, there) in enumerate(clients):
            # The same lane, and inboxes of their own.
            delivery._producer.number = number * defaults.INDEX_LANES
            manager.begin()
            there.put(sample.nothing, owner="bob", realm=f"/{number}")
        for manager, _ in clients:
            manager.commit()
    transaction.begin()
    assert len(list(jobs_of("bob", queue))) == 3


# What ended without success


def ended_badly(queue: Any) -> list[Any]:
    """What the index has of it; the counters agree."""
    found = [job for s in queue.shards for job in s.unsuccessful.values() if job is not None]
    assert sum(shard.unsuccessful_length() for shard in queue.shards) == len(found)
    assert insights.queue_stats(queue, "").unsuccessful == len(found)
    return found


def test_what_ended_without_success_has_an_index(any_db: Any, queue: Any) -> None:
    queue.put_many([sample.nothing] * 5)
    bad = queue.put_many([sample.fail] * 3)
    cancelled = queue.put(sample.nothing)
    cancelled.cancel()
    run(any_db)
    assert set(ended_badly(queue)) == {*bad, cancelled}
    found = insights.list_jobs(queue, outcome="failed")
    assert {row.id for row in found} == {job.id for job in bad}
    assert [row.id for row in insights.list_jobs(queue, outcome="cancelled")] == [cancelled.id]
    queue.retry(bad[0])
    queue.forget(bad[1])
    assert set(ended_badly(queue)) == {bad[2], cancelled}
    transaction.commit()
    prune([queue], 0, 0)
    assert ended_badly(queue) == []


def test_a_failure_among_many_successes_is_found_at_once(db: Any, queue: Any) -> None:
    bad = queue.put(sample.fail)
    run(db)
    queue.put_many([sample.nothing] * 300)
    run(db)
    queue._p_jar.cacheMinimize()
    assert [row.id for row in insights.list_jobs(queue, outcome="failed", seconds=0)] == [bad.id]


def test_many_that_end_in_one_microsecond_are_found(queue: Any) -> None:
    shard, ended = queue.shards[0], 1_000_000
    plain = [zodbjobs.Job(sample.nothing) for _ in range(700)]
    listed = [zodbjobs.Job(sample.nothing) for _ in range(700)]
    for jobs, is_listed in ((plain[:350], False), (listed, True), (plain[350:], False)):
        history.book(shard, [(job, ended, SUCCEEDED, 0, None, is_listed) for job in jobs])
    for job in (*plain, *listed):
        assert history.has_ended(shard, job, ended)
    marks = {job: place & 1 for place, job in shard.history.items()}
    assert [marks[job] for job in plain] == [0] * 700
    assert [marks[job] for job in listed] == [1] * 700


def test_two_processes_may_choose_one_place(queue: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(job_index, "_next_place", lambda micros: micros << 12)
    with moving_clock():
        jobs = [queue.put(sample.nothing, owner="bob", realm=f"/{n % 2}") for n in range(5)]
    assert list(jobs_of("bob", queue)) == jobs[::-1]
    for job in jobs:
        queue.remove(job)
    assert entries(queue) == []
