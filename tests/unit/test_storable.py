"""What passes a put can be committed, and comes back as it was."""

from __future__ import annotations

import datetime
import enum
import functools
import pickle
import sys
import types
import zoneinfo
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import Acquisition
import pytest
import sample
import transaction
import ZODB
from persistent import Persistent
from persistent.wref import WeakRef

import zodbjobs
from zodbjobs.errors import BadArgument
from zodbjobs.stored.lifecycle import calls
from zodbjobs.stored.lifecycle.storable import check_immutable, is_simple, portable_copy
from zodbjobs.testing import run_jobs

NOON = datetime.datetime(2030, 1, 1, 12)


class Urgency(enum.IntEnum):
    HIGH = 5


class Policy(zodbjobs.NeverRetry):
    def __init__(self, value: object = None) -> None:
        self.value = value


class Wrapping(Acquisition.Implicit, Persistent):  # type: ignore[misc]
    """As the content of a Zope application."""

    def render(self) -> None:
        """A method."""

    def __call__(self) -> None:
        """As a script has."""


class Unnamed(Acquisition.Implicit):  # type: ignore[misc]
    """Not persistent, callable."""

    def __call__(self) -> None:
        pass


def refused(queue: Any, job: Any, *texts: str) -> None:
    """It isn't taken, and nothing is written."""
    transaction.commit()
    with pytest.raises(BadArgument) as caught:
        queue.put(job)
    for text in texts:
        assert text in str(caught.value)
    assert not queue._p_jar._registered_objects
    assert not queue._p_jar._added
    transaction.commit()


# Times


def from_file(zone: str) -> zoneinfo.ZoneInfo:
    found = next(Path(p, zone) for p in zoneinfo.TZPATH if Path(p, zone).exists())
    with found.open("rb") as file:
        return zoneinfo.ZoneInfo.from_file(file, key=zone)


@pytest.mark.parametrize(
    "zone",
    [None, datetime.UTC, datetime.timezone(datetime.timedelta(hours=1)), zoneinfo.ZoneInfo("UTC")],
    ids=str,
)
def test_times_that_are_simple(zone: datetime.tzinfo | None) -> None:
    for value in (NOON.replace(tzinfo=zone), NOON.time().replace(tzinfo=zone)):
        assert is_simple(value)
        assert pickle.loads(pickle.dumps(value)) == value
        check_immutable((value,), "it")


@pytest.mark.parametrize("make", [sample.OddZone, functools.partial(from_file, "UTC")])
def test_times_that_cannot_be_stored(make: Any) -> None:
    zone = make()
    for value in (NOON.replace(tzinfo=zone), NOON.time().replace(tzinfo=zone)):
        assert not is_simple(value)
        with pytest.raises(BadArgument):
            portable_copy(value, "the result")
        with pytest.raises(BadArgument, match="immutable"):
            check_immutable((value,), "it")


def test_a_time_that_cannot_be_stored_is_refused(queue: Any) -> None:
    moment = NOON.replace(tzinfo=sample.OddZone())
    refused(queue, zodbjobs.Job(sample.identity, moment), "argument 1 of", "not to be pickled")


def test_a_time_that_cannot_be_stored_is_a_failure_as_a_result(db: Any, queue: Any) -> None:
    bad = queue.put(sample.odd_moment)
    good = queue.put(zodbjobs.Job(sample.add, 1))
    transaction.commit()
    run_jobs(db)
    transaction.begin()
    assert (bad.outcome, good.result) == ("failed", 1)
    assert "the result of" in bad.failure.message


# Priority


def test_a_priority_is_stored_as_a_plain_number(queue: Any) -> None:
    job = zodbjobs.Job(sample.nothing)
    job.priority = Urgency.HIGH
    assert type(job.priority) is int
    queue.put(job)
    other = queue.put(sample.nothing, priority=Urgency.HIGH)
    transaction.commit()
    assert (job.priority, other.priority) == (5, 5)
    for stored in (job, other):
        assert b"Urgency" not in queue._p_jar.db().storage.load(stored._p_oid)[0]
    refused(queue, lambda: None, "lambda")
    with pytest.raises(BadArgument):
        queue.put(sample.nothing, priority=True)


# What a job has beside its call


def test_a_policy_that_cannot_be_stored_is_refused(queue: Any) -> None:
    job = zodbjobs.Job(sample.nothing)
    with pytest.raises(BadArgument, match=r"the retry policy .* can't be stored.*lambda"):
        job.retry_policy = Policy(lambda: None)
    job.retry_policy = Policy()
    queue.put(job)
    transaction.commit()


def test_an_attribute_that_cannot_be_stored_is_refused(queue: Any) -> None:
    job = sample.SpecialJob(sample.nothing)
    job.extra = [lambda: None]  # type: ignore[attr-defined]
    refused(queue, job, "the attribute 'extra' of <sample.SpecialJob")
    with pytest.raises(BadArgument, match="the attribute 'extra'"):
        queue.put_many([sample.nothing, job])
    job.extra = [1]  # type: ignore[attr-defined]
    job._v_extra = lambda: None  # type: ignore[attr-defined]
    queue.put(job)
    transaction.commit()


def test_a_new_object_of_a_class_that_has_no_name_is_refused(queue: Any) -> None:
    class Local(Persistent):
        pass

    refused(queue, zodbjobs.Job(sample.identity, Local()), "argument 1", "Local")


# Other databases and connections


@pytest.fixture
def foreign() -> Iterator[Any]:
    """A connection to a database that has nothing to do with the other."""
    db = ZODB.DB(None)
    connection = db.open()
    connection.root()["account"] = sample.Account()
    transaction.commit()
    yield connection
    transaction.abort()
    connection.close()
    db.close()


@pytest.fixture
def separate(db: Any, account: Any) -> Iterator[Any]:
    """Another connection to the same database."""
    connection = db.open(transaction.TransactionManager())
    yield connection
    connection.close()


def test_an_object_of_a_foreign_database_is_refused(queue: Any, foreign: Any) -> None:
    theirs = foreign.root()["account"]
    texts = ("of another database", "pass what identifies the object")
    refused(queue, zodbjobs.Job(sample.identity, [theirs]), "argument 1 of", *texts)
    refused(queue, theirs.deposit, "the callable Account.deposit", *texts)
    refused(queue, zodbjobs.Job(sample.identity, WeakRef(theirs)), "argument 1", *texts)
    new = sample.Account()
    new.friend = theirs  # type: ignore[attr-defined]
    refused(queue, zodbjobs.Job(sample.identity, new), "argument 1", *texts)
    job = zodbjobs.Job(sample.nothing)
    job.retry_policy = Policy(theirs)
    refused(queue, job, "retry_policy", *texts)
    foreign.root()["job"] = job = zodbjobs.Job(sample.nothing)
    transaction.savepoint()
    with pytest.raises(BadArgument, match="of another database"):
        queue.put(job)


def test_an_object_of_another_connection_is_refused(queue: Any, separate: Any) -> None:
    theirs = separate.root()["account"]
    text = "loaded by another connection"
    refused(queue, zodbjobs.Job(sample.identity, more=theirs), "argument 'more'", text)
    job = queue.put(zodbjobs.Job(sample.identity, None))
    transaction.commit()
    with pytest.raises(BadArgument, match=text):
        job.args[0] = theirs
    # A weak reference says which database, not which connection.
    job.args[0] = WeakRef(theirs)
    transaction.commit()


def test_an_object_of_another_database_of_the_family_is_taken() -> None:
    databases: dict[str, Any] = {}
    main = ZODB.DB(None, databases=databases, database_name="main")
    other = ZODB.DB(None, databases=databases, database_name="other", xrefs=False)
    for db in (main, other):
        zodbjobs.install(db)
    connection = main.open()
    second = connection.get_connection("other")
    ours = connection.root()["account"] = sample.Account()
    theirs = second.root()["account"] = sample.Account()
    transaction.commit()
    zodbjobs.get_queue(connection).put(zodbjobs.Job(sample.identity, theirs))
    transaction.commit()
    refused(
        zodbjobs.get_queue(second),
        zodbjobs.Job(sample.identity, ours),
        "argument 1",
        "allow-implicit-cross-references",
    )
    connection.close()
    for db in (main, other):
        db.close()


# Weak references


def test_weak_references(db: Any, queue: Any, account: Any) -> None:
    new = sample.Account(7)
    jobs = [
        queue.put(zodbjobs.Job(sample.follow, WeakRef(account))),
        queue.put(zodbjobs.Job(sample.follow, [WeakRef(account)])),
        queue.put(zodbjobs.Job(sample.follow, {"it": WeakRef(new)})),
        queue.put(zodbjobs.Job(sample.identity, WeakRef(account))),
    ]
    transaction.commit()
    run_jobs(db)
    transaction.begin()
    assert [job.result for job in jobs[:3]] == [0, 0, 7]
    assert jobs[3].result() is account
    assert new._p_jar is queue._p_jar


def test_a_weak_reference_to_what_cannot_be_stored_is_refused(queue: Any) -> None:
    new = sample.Account()
    new.extra = sample.Unpicklable()  # type: ignore[attr-defined]
    refused(queue, zodbjobs.Job(sample.identity, WeakRef(new)), "argument 1", "not to be pickled")


# Acquisition


@pytest.fixture
def wrapped() -> Any:
    return Wrapping().__of__(Wrapping())


def test_what_is_wrapped_for_acquisition_is_refused(queue: Any, wrapped: Any) -> None:
    assert type(wrapped) is Acquisition.ImplicitAcquisitionWrapper
    texts = ("acquisition context isn't stored", "getPhysicalPath()", "zodbjobs.zope")
    refused(queue, zodbjobs.Job(sample.identity, wrapped), "argument 1", *texts)
    refused(
        queue, zodbjobs.Job(sample.identity, more=[{"it": wrapped}]), "argument 'more'", *texts
    )
    new = sample.Account()
    new.page = wrapped  # type: ignore[attr-defined]
    refused(queue, zodbjobs.Job(sample.identity, new), "argument 1", *texts)
    bare = Acquisition.aq_base(wrapped)
    queue.put(zodbjobs.Job(sample.identity, bare))
    transaction.commit()


def test_the_method_of_what_is_wrapped_is_refused(queue: Any, wrapped: Any) -> None:
    with pytest.raises(BadArgument, match="method 'render'"):
        zodbjobs.Job(wrapped.render)
    queue.put(Acquisition.aq_base(wrapped).render)


def test_a_wrapped_script_is_refused(queue: Any, wrapped: Any) -> None:
    with pytest.raises(BadArgument, match=r"the callable.*acquisition context isn't stored"):
        queue.put(wrapped)
    script = Unnamed().__of__(Wrapping())
    refused(queue, zodbjobs.Job(sample.identity, script), "argument 1", "zodbjobs.zope")
    with pytest.raises(BadArgument, match="the callable"):
        zodbjobs.Job(script)


# The script that runs


SCRIPT = """
from persistent import Persistent

def work(): pass

class Thing:
    def method(self): pass
    @classmethod
    def made(cls): pass

class Record(Persistent):
    def method(self): pass
"""


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> Any:
    """What `python script.py` has in its module."""
    module = types.ModuleType("__main__")
    exec(SCRIPT, module.__dict__)
    monkeypatch.setitem(sys.modules, "__main__", module)
    return module


def test_what_is_defined_in_the_script_is_refused(queue: Any, script: Any) -> None:
    text = "put it into a module that the worker can import"
    record = script.Record()
    for function in (
        *(script.work, script.Thing, script.Thing.made, script.Thing().method),
        *(record.method, functools.partial(script.work)),
    ):
        with pytest.raises(BadArgument, match=text):
            queue.put(function)
    for value in (script.Thing(), script.Thing, script.work, record, [{"it": script.Thing()}]):
        refused(queue, zodbjobs.Job(sample.identity, value), "argument 1", text)
    job = zodbjobs.Job(sample.nothing)
    with pytest.raises(BadArgument, match=text):
        job.retry_policy = Policy(script.Thing())


def test_a_stored_object_of_a_class_of_the_script_is_refused(queue: Any, script: Any) -> None:
    record = queue._p_jar.root()["record"] = script.Record()
    refused(queue, zodbjobs.Job(sample.identity, record), "argument 1", "put it into a module")


# Classes that have gone


@pytest.fixture
def fleeting(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A module with classes that `gone` takes away."""
    module = types.ModuleType("fleeting")
    exec(
        "from persistent import Persistent\n"
        "class Plain:\n    def job_error(self, *about): return True\n"
        "    commit_error = interrupted = job_error\n"
        "class Record(Persistent): pass\n"
        "class Slotted:\n    __slots__ = ('value',)\n"
        "def function(): pass\n",
        module.__dict__,
    )
    monkeypatch.setitem(sys.modules, "fleeting", module)
    yield module
    from ZODB.broken import broken_cache

    for key in [key for key in broken_cache if key[0] == "fleeting"]:
        del broken_cache[key]


def slotted(module: Any, value: object) -> Any:
    made = module.Slotted()
    made.value = value
    return made


WAYS: dict[str, Any] = {
    "itself": lambda m: zodbjobs.Job(sample.note, m.Plain()),
    "in a list": lambda m: zodbjobs.Job(sample.note, [m.Plain()]),
    "in a dict in a tuple": lambda m: zodbjobs.Job(sample.note, ({"it": m.Plain()},)),
    "as a keyword": lambda m: zodbjobs.Job(sample.note, value={m.Plain()}),
    "in an object": lambda m: zodbjobs.Job(sample.note, Policy(m.Plain())),
    "with slots": lambda m: zodbjobs.Job(sample.note, slotted(m, 5)),
    "persistent": lambda m: zodbjobs.Job(sample.note, m.Record()),
    "persistent in a list": lambda m: zodbjobs.Job(sample.note, [m.Record()]),
    "the class": lambda m: zodbjobs.Job(sample.note, m.Plain),
    "a function in a list": lambda m: zodbjobs.Job(sample.note, [m.function]),
}


def load_anew(db: Any) -> None:
    """Let all connections forget what they have loaded."""
    for connection in list(db.pool.all):
        connection.cacheMinimize()
        connection._resetCache()
    calls._found.clear()


@pytest.mark.parametrize("way", WAYS)
def test_a_class_that_is_missing_parks_the_job(
    db: Any, queue: Any, fleeting: Any, way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    number = queue.put(WAYS[way](fleeting)).id
    transaction.commit()
    monkeypatch.delitem(sys.modules, "fleeting")
    load_anew(db)
    run_jobs(db)
    transaction.begin()
    job = zodbjobs.get_queue(queue._p_jar).get(number)
    assert (job.status, job.outcome) == ("pending", None)
    assert job.parked
    assert sample.noted == []


def test_a_policy_whose_class_is_missing_parks_the_job(
    db: Any, queue: Any, fleeting: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = zodbjobs.Job(sample.note_and_fail, 1)
    job.retry_policy = fleeting.Plain()
    number = queue.put(job).id
    transaction.commit()
    monkeypatch.delitem(sys.modules, "fleeting")
    load_anew(db)
    run_jobs(db)
    transaction.begin()
    job = zodbjobs.get_queue(queue._p_jar).get(number)
    assert "the class fleeting.Plain is missing in this process; install" in job.parked
    assert sample.noted == []


def test_an_object_whose_class_is_missing_is_refused(
    db: Any, queue: Any, fleeting: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    queue._p_jar.root()["record"] = fleeting.Record()
    transaction.commit()
    monkeypatch.delitem(sys.modules, "fleeting")
    load_anew(db)
    broken = queue._p_jar.root()["record"]
    refused(
        zodbjobs.get_queue(queue._p_jar),
        zodbjobs.Job(sample.identity, [broken]),
        "argument 1",
        "the class fleeting.Record is missing in this process",
    )
