"""The job container: a mapping by decimal id that many can write to at once."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sample
import transaction
import zope.event
from storages import MAKERS
from ZODB.Connection import resetCaches
from ZODB.POSException import ConflictError
from zope.container.btree import BTreeContainer
from zope.container.interfaces import IContainer
from zope.interface.verify import verifyObject

import zodbjobs
from zodbjobs.errors import BadArgument
from zodbjobs.interfaces import IJobContainer

IDS = ("1000", "99", "5", "123456789012345678", "100")


@pytest.fixture
def container(connection: Any) -> Any:
    return connection.root()["zodbjobs.jobs"]


@pytest.fixture
def filled(container: Any) -> Any:
    for name in IDS:
        container[name] = zodbjobs.Job(sample.note, name)
    transaction.commit()
    container._p_jar.cacheMinimize()
    return container


@pytest.mark.promise(163, 169, 172)
def test_a_mapping_in_the_order_of_the_numbers(filled: Any) -> None:
    ordered = sorted(IDS, key=int)
    assert list(filled) == list(filled.keys()) == ordered
    assert [job.args[0] for job in filled.values()] == ordered
    assert [(name, job.args[0]) for name, job in filled.items()] == [(n, n) for n in ordered]
    assert len(filled) == len(filled.keys()) == len(IDS)
    assert all(name in filled and filled[name] is filled.get(name) for name in IDS)
    assert verifyObject(IContainer, filled)
    assert verifyObject(IJobContainer, filled)


@pytest.mark.parametrize(
    "name", ["", "job", "007", "-1", "+1", "1.0", " 1", "\N{SUPERSCRIPT TWO}", "9" * 30, 7, None]
)
def test_other_names_are_refused(filled: Any, name: Any) -> None:
    assert name not in filled
    assert filled.get(name, 5) == 5
    with pytest.raises(KeyError):
        filled[name]
    with pytest.raises(KeyError):
        del filled[name]
    with pytest.raises(BadArgument, match="by their decimal id, not by"):
        filled[name] = zodbjobs.Job(sample.nothing)
    assert len(filled) == len(IDS)


def test_a_number_is_taken_once(filled: Any) -> None:
    first = filled["5"]
    with pytest.raises(KeyError):
        filled["5"] = zodbjobs.Job(sample.nothing)
    filled["5"] = first
    assert (filled["5"], len(filled)) == (first, len(IDS))
    assert "6" not in filled
    with pytest.raises(KeyError):
        filled["6"]


def test_events_and_place(container: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []
    monkeypatch.setattr(
        zope.event, "subscribers", [lambda event: seen.append(type(event).__name__)]
    )
    job = container["5"] = zodbjobs.Job(sample.nothing)
    assert (job.__parent__, job.__name__) == (container, "5")
    assert seen == ["ObjectAddedEvent", "ContainerModifiedEvent"]
    seen.clear()
    del container["5"]
    assert (job.__parent__, job.__name__) == (None, None)
    assert seen == ["ObjectRemovedEvent", "ContainerModifiedEvent"]
    assert (list(container), len(container)) == ([], 0)


def test_jobs_can_be_removed_while_they_are_listed(filled: Any) -> None:
    manager = zodbjobs.JobManager()
    for job_id, _ in manager.jobs(site=filled):
        manager.remove(job_id, site=filled)
    assert len(filled) == 0


# At once


# A MappingStorage merges nothing: there each two that write to one object conflict.
@pytest.fixture(params=sorted(MAKERS.keys() - {"MappingStorage"}))
def several(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[list[Any]]:
    """Several connections, each with a transaction of its own."""
    with MAKERS[request.param](tmp_path, True) as place:
        db = place.open()
        connections = [db.open(transaction.TransactionManager()) for _ in range(4)]
        yield connections
        for connection in connections:
            connection.transaction_manager.abort()
            connection.close()
        db.close()


def containers(connections: list[Any]) -> list[Any]:
    """That of each, in a new transaction."""
    for connection in connections:
        connection.transaction_manager.begin()
    return [connection.root()["zodbjobs.jobs"] for connection in connections]


def alike(container: Any) -> Iterator[str]:
    """Ids of jobs that lie in the same tree."""
    place = container._tree(1)
    return (str(n) for n in itertools.count(1) if container._tree(n) is place)


def test_what_lies_together_is_merged(several: list[Any]) -> None:
    names = list(itertools.islice(alike(containers(several)[0]), 8))
    for container, name in zip(containers(several), names, strict=False):
        container[name] = zodbjobs.Job(sample.nothing)
    for connection in several:
        connection.transaction_manager.commit()
    for container, name in zip(containers(several), names, strict=False):
        del container[name]
    for connection in several[:3]:
        connection.transaction_manager.commit()
    found = containers(several[:1])[0]
    assert list(found) == names[3:4]
    # Nothing left, and something new.
    first, second = containers(several[:2])
    del first[names[3]]
    second[names[4]] = zodbjobs.Job(sample.nothing)
    for connection in several[:2]:
        connection.transaction_manager.commit()
    assert list(containers(several[:1])[0]) == [names[4]]


@pytest.mark.promise(67)
def test_those_who_put_at_once_seldom_conflict(db: Any) -> None:
    """Ids that follow each other, as a storage gives them out; all commits overlap."""
    connections = [db.open(transaction.TransactionManager()) for _ in range(4)]
    conflicts = 0
    for _ in range(500):
        for container in containers(connections):
            job = zodbjobs.Job(sample.nothing)
            container._p_jar.add(job)
            container[zodbjobs.get_job_id(job)] = job
        for connection in connections:
            try:
                connection.transaction_manager.commit()
            except ConflictError:
                connection.transaction_manager.abort()
                conflicts += 1
    for connection in connections:
        connection.close()
    assert conflicts <= 2  # of 2,000


def test_a_job_knows_the_container_while_it_is_in_it(connection: Any, container: Any) -> None:
    job = zodbjobs.Job(sample.note, 1)
    container["5"] = job
    assert (job.__parent__, job.__name__) == (container, "5")
    transaction.commit()
    connection.cacheMinimize()
    assert (job.__parent__, job.__name__) == (container, "5")
    del container["5"]
    assert (job.__parent__, job.__name__) == (None, None)
    transaction.abort()
    assert (job.__parent__, job.__name__) == (container, "5")


def test_an_aborted_addition_leaves_no_parent(container: Any) -> None:
    job = zodbjobs.Job(sample.note, 1)
    container["5"] = job
    transaction.abort()
    assert job.__parent__ is None


def test_a_container_that_is_not_stored_yet(connection: Any) -> None:
    fresh = zodbjobs.JobContainer()
    job = fresh["5"] = zodbjobs.Job(sample.note, 1)
    assert job.__parent__ is fresh
    connection.root()["fresh"] = fresh
    transaction.commit()
    connection.cacheMinimize()
    assert job.__parent__ is fresh


def test_another_kind_of_container_is_a_parent_too(connection: Any) -> None:
    folder = connection.root()["folder"] = BTreeContainer()
    job = folder["export"] = zodbjobs.Job(sample.note, 1)
    transaction.commit()
    connection.cacheMinimize()
    assert (job.__parent__, job.__name__) == (folder, "export")
    del folder["export"]
    transaction.commit()
    connection.cacheMinimize()
    assert (job.__parent__, job.__name__) == (None, None)


def test_an_aborted_addition_leaves_no_parent_after_the_connection_was_closed(db: Any) -> None:
    connection = db.open()
    container = connection.root()["zodbjobs.jobs"]
    job = container["5"] = zodbjobs.Job(sample.note, 1)
    transaction.abort()
    container._p_deactivate()
    connection.close()
    assert job.__parent__ is None


@pytest.fixture
def events() -> Iterator[list[tuple[str, Any]]]:
    """The kinds and objects of events."""
    seen: list[tuple[str, Any]] = []

    def note(event: Any) -> None:
        seen.append((type(event).__name__, event.object))

    zope.event.subscribers.append(note)
    yield seen
    zope.event.subscribers.remove(note)


def test_a_job_whose_class_is_missing_can_be_deleted(
    db: Any, container: Any, monkeypatch: pytest.MonkeyPatch, events: list[tuple[str, Any]]
) -> None:
    container["5"] = sample.SpecialJob(sample.nothing)
    transaction.commit()
    monkeypatch.delattr(sample, "SpecialJob")
    resetCaches()
    with db.transaction() as fresh:
        jobs = fresh.root()["zodbjobs.jobs"]
        job, events[:] = jobs["5"], []
        del jobs["5"]
    assert events == [("ObjectRemovedEvent", job), ("ContainerModifiedEvent", jobs)]
    transaction.begin()
    assert "5" not in container


@pytest.mark.parametrize(("name", "value"), [("brittle", ValueError), ("unstorable", True)])
def test_a_job_that_cannot_be_read_or_written_can_be_deleted(
    db: Any,
    container: Any,
    monkeypatch: pytest.MonkeyPatch,
    events: list[tuple[str, Any]],
    name: str,
    value: Any,
) -> None:
    container["5"] = zodbjobs.Job(sample.identity, sample.Brittle())
    transaction.commit()
    monkeypatch.setattr(sample, name, value)
    resetCaches()
    events[:] = []
    with db.transaction() as fresh:
        jobs = fresh.root()["zodbjobs.jobs"]
        del jobs["5"]
    assert events == [("ContainerModifiedEvent", jobs)]
    transaction.begin()
    assert "5" not in container


def test_a_job_whose_record_is_lost_can_be_deleted(db: Any, container: Any) -> None:
    job = container["5"] = zodbjobs.Job(sample.nothing)
    transaction.commit()
    del db.storage._index[job._p_oid]  # as after damage to the file
    resetCaches()
    with db.transaction() as fresh:
        del fresh.root()["zodbjobs.jobs"]["5"]
    transaction.begin()
    assert "5" not in container
