"""Whose a job is, what it is about, which site it belongs to, and its title."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import Any

import pytest
import sample
import transaction
from ZODB.utils import p64

import zodbjobs
from zodbjobs import references
from zodbjobs.errors import BadArgument, BadStatus, ObjectGone
from zodbjobs.testing import run_jobs


def labels(job: Any) -> tuple[Any, ...]:
    return job.owner, job.about, job.title, job.realm


def test_a_job_has_none_by_itself(any_db: Any, queue: Any) -> None:
    job = queue.put(sample.nothing)
    transaction.commit()
    assert labels(job) == (None, None, None, None)
    job._p_activate()
    assert not {"_owner", "_about", "_title", "_realm", "_listed"} & set(job.__dict__)


def test_they_are_set_on_a_new_job(any_db: Any, queue: Any, account: Any) -> None:
    job = zodbjobs.Job(sample.nothing)
    job.owner, job.about, job.title, job.realm = "bob", account, "An export", "/sites/one"
    queue.put(job)
    assert labels(job) == ("bob", account, "An export", "/sites/one")
    transaction.commit()
    queue._p_jar.cacheMinimize()
    assert labels(job) == ("bob", account, "An export", "/sites/one")
    run_jobs(any_db)
    transaction.begin()
    assert labels(job) == ("bob", account, "An export", "/sites/one")


def test_they_are_given_at_the_put(any_db: Any, queue: Any, account: Any) -> None:
    said = {"owner": "bob", "about": account, "title": "An export", "realm": "/one"}
    one = queue.put(sample.nothing, **said)
    many = queue.put_many([sample.nothing] * 3, **said)
    transaction.commit()
    queue._p_jar.cacheMinimize()
    assert {labels(job) for job in (one, *many)} == {("bob", account, "An export", "/one")}


def test_a_put_that_says_nothing_of_one_leaves_it(queue: Any, account: Any) -> None:
    job = zodbjobs.Job(sample.nothing)
    job.owner, job.title, job.about = "bob", "An export", account
    queue.put(job, owner="ann", realm="/one")
    assert labels(job) == ("ann", account, "An export", "/one")


NAMES = ("owner", "about", "title", "realm")


@pytest.mark.parametrize("name", NAMES)
def test_they_can_be_set_while_new_only(queue: Any, name: str) -> None:
    job = queue.put(sample.nothing)
    with pytest.raises(BadStatus, match="only while new"):
        setattr(job, name, None)
    queue.remove(job)
    setattr(job, name, None)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("value", [7, b"bob", "", "x" * 1_001, sample.Account()])
def test_what_can_not_be_is_refused(queue: Any, name: str, value: Any) -> None:
    job = zodbjobs.Job(sample.nothing)
    with pytest.raises(BadArgument, match="a job"):
        setattr(job, name, value)
    with pytest.raises(BadArgument, match="a job"):
        queue.put(job, **{name: value})
    with pytest.raises(BadArgument, match="a job"):
        queue.put_many([sample.nothing], **{name: value})
    assert labels(job) == (None, None, None, None)
    assert (job.status, len(queue)) == ("new", 0)


@pytest.mark.parametrize("name", ["owner", "title", "realm"])
def test_what_is_not_unicode_is_refused(queue: Any, name: str) -> None:
    """No storage takes it as the user or the note of a transaction: each commit would fail."""
    with pytest.raises(BadArgument, match=f"the {name} of a job can't be 'caf.udce9.csv'"):
        queue.put(sample.nothing, **{name: "caf\udce9.csv"})
    assert len(queue) == 0


class Text(str):
    """A text of a class of its own, as that of a message catalogue is."""

    __slots__ = ()


def test_they_are_plain_texts(queue: Any) -> None:
    job = queue.put(sample.nothing, owner=Text("bob"), title=Text("An export"))
    assert [type(job.owner), type(job.title)] == [str, str]


def test_a_class_of_jobs_can_have_a_title(queue: Any) -> None:
    assert queue.put(sample.Titled(sample.nothing)).title == "An export"
    job = queue.put(sample.Titled(sample.nothing), title="Another")
    transaction.commit()
    queue._p_jar.cacheMinimize()
    assert job.title == "Another"


# What it is about


def test_it_may_be_new_itself(any_db: Any, queue: Any) -> None:
    account = sample.Account()
    account.__parent__ = queue  # some stored object
    queue._p_jar.root()["new"] = account
    job = queue.put(sample.nothing, about=account)
    assert job.about is account
    transaction.commit()
    queue._p_jar.cacheMinimize()
    assert job.about is account


@pytest.mark.parametrize("make", [zodbjobs.Job, zodbjobs.parallel])
def test_it_is_named_anew_if_its_addition_was_aborted(queue: Any, make: Any) -> None:
    connection = queue._p_jar
    account, job = sample.Account(), make(sample.nothing)
    connection.add(account)
    queue.put(job, about=account)
    transaction.abort()
    connection.root()["other"] = other = sample.Account()
    connection.add(other)
    with pytest.raises(BadArgument, match="add it to the database"):
        queue.put(job)
    connection.root()["account"] = account
    connection.add(account)
    queue.put(job)
    transaction.commit()
    connection.cacheMinimize()
    assert job.about is account


def test_one_that_is_gone_is_nothing(any_db: Any, queue: Any, account: Any) -> None:
    job = queue.put(sample.nothing, about=account)
    transaction.commit()
    name = job._about
    job._p_activate()
    job._about = (p64(10**15), name[1])
    assert job.about is None
    job._about = (name[0], "a database that isn't open here")
    assert job.about is None


class Placed:
    """An account, and where it is."""

    def __init__(self, account: Any, place: str) -> None:
        self.account, self.place = account, place


@pytest.fixture
def accounts() -> Iterator[dict[str, Any]]:
    """What is where; a kind of reference goes by it."""
    known: dict[str, Any] = {}

    def load(account: Any, place: str) -> Placed:
        if known.get(place) is not account:
            raise ObjectGone(f"it isn't in {place}")
        return Placed(account, place)

    references.register(
        "placed",
        lambda value: isinstance(value, Placed),
        lambda value: (value.account, value.place),
        load,
    )
    yield known
    references.unregister("placed")


def test_it_comes_in_its_place(queue: Any, account: Any, accounts: dict[str, Any]) -> None:
    accounts["bank"] = account
    job = queue.put(sample.nothing, about=Placed(account, "bank"))
    callback = job.add_callback(sample.nothing)
    transaction.commit()
    queue._p_jar.cacheMinimize()
    assert (job.about.account, job.about.place) == (account, "bank")
    assert list(zodbjobs.jobs_about(account)) == [job]
    run_jobs(queue._p_jar.db())
    transaction.begin()
    assert callback.about.place == "bank"
    del accounts["bank"]
    assert job.about is None  # permissions on it would be those of another place
    references.unregister("placed")
    assert job.about is account  # here nobody asks for them


def test_what_has_no_place_costs_nothing(
    queue: Any, account: Any, accounts: dict[str, Any]
) -> None:
    job = queue.put(sample.nothing, about=account)
    transaction.commit()
    assert job.about is account
    assert "_about_place" not in job.__dict__


def test_an_export_does_not_take_it_along(queue: Any, account: Any) -> None:
    job = queue.put(sample.nothing, about=account, owner="bob")
    transaction.commit()
    file = io.BytesIO()
    queue._p_jar.exportFile(job._p_oid, file)
    assert b"Account" not in file.getvalue()


# What belongs to it


def test_callbacks_inherit_all_but_the_title(any_db: Any, queue: Any, account: Any) -> None:
    job = zodbjobs.Job(sample.nothing)
    plain, own = zodbjobs.Job(sample.note), zodbjobs.Job(sample.note)
    own.owner, own.realm = "ann", "/two"
    job.add_callback(plain).add_callback(own)
    queue.put(job, owner="bob", about=account, title="An export", realm="/one")
    transaction.commit()
    run_jobs(any_db)
    transaction.begin()
    assert labels(plain) == ("bob", account, None, "/one")
    assert labels(own) == ("ann", account, None, "/two")


def test_parts_and_returned_jobs_inherit_as_well(any_db: Any, queue: Any) -> None:
    part, last = zodbjobs.Job(sample.nothing), zodbjobs.Job(sample.note)
    whole = zodbjobs.serial(part, postprocess=last)
    returned = zodbjobs.Job(sample.nothing)
    outer = zodbjobs.Job(sample.identity, returned)
    queue.put_many([whole, outer], owner="bob", title="An export")
    transaction.commit()
    run_jobs(any_db)
    transaction.begin()
    for inner in (part, last, returned):
        assert labels(inner) == ("bob", None, None, None)
