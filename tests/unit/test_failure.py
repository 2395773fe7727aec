"""What is kept of an exception, and what is not."""

from __future__ import annotations

import pickle
from typing import Any

import Acquisition
import pytest
import sample
import transaction
from persistent import Persistent
from persistent.wref import WeakRef
from ZODB.utils import u64

import zodbjobs
from zodbjobs import defaults
from zodbjobs.testing import run_jobs

SECRET = "another person's password"


class Content(Acquisition.Implicit, Persistent):  # type: ignore[misc]
    """As in a Zope application."""


class Demanding(Exception):
    """Needs the object itself."""

    def __init__(self, account: Any) -> None:
        self.balance = account.balance
        super().__init__(account)


@pytest.fixture
def secretive(account: Any) -> Any:
    account.secret = SECRET
    account.parent = sample.Account()
    transaction.commit()
    return account


def kept(error: BaseException) -> zodbjobs.Failure:
    """The Failure of an error that was raised; nothing of the database is in it."""
    try:
        raise error
    except BaseException as raised:
        failure = zodbjobs.Failure.from_exception(raised)
    data = pickle.dumps(failure)
    assert SECRET.encode() not in data
    assert len(data) < 5_000
    return failure


def test_stored_objects_among_the_arguments(secretive: Any) -> None:
    failure = kept(TypeError("could not adapt", secretive, [secretive.parent], int))
    assert isinstance(failure.exception, TypeError)
    text = f"<sample.Account {u64(secretive._p_oid)}>"
    other = f"<sample.Account {u64(secretive.parent._p_oid)}>"
    assert failure.exception.args == ("could not adapt", text, [other], int)


def test_new_objects_among_the_arguments() -> None:
    new = sample.Account()
    new.secret = SECRET  # type: ignore[attr-defined]
    assert kept(LookupError(new)).exception.args == ("<sample.Account>",)  # type: ignore[union-attr]


def test_objects_in_notes_attributes_and_groups(secretive: Any) -> None:
    error = ValueError("no")
    error.account = {"it": secretive}  # type: ignore[attr-defined]
    error.__notes__ = [secretive]  # type: ignore[list-item]
    text = f"<sample.Account {u64(secretive._p_oid)}>"
    found: Any = kept(error).exception
    assert (found.account, found.__notes__) == ({"it": text}, [text])
    group: Any = kept(ExceptionGroup("all", [KeyError(secretive)])).exception
    assert group.exceptions[0].args == (text,)


def test_objects_in_causes(secretive: Any) -> None:
    error = ValueError("no")
    error.__cause__ = KeyError(secretive)
    error.__cause__.__context__ = OSError(5, secretive)
    failure = kept(error)
    assert [part.type for part in failure.chain()] == ["ValueError", "KeyError", "OSError"]
    assert all(part.exception is not None for part in failure.chain())


def test_weak_references_and_wrapped_objects(secretive: Any) -> None:
    found: Any = kept(ValueError(WeakRef(secretive))).exception
    assert found.args == (f"<persistent.wref.WeakRef {u64(secretive._p_oid)}>",)
    content = Content()
    content.secret = SECRET
    found = kept(ValueError(content.__of__(Content()))).exception
    assert "Content" in found.args[0]


def test_an_exception_that_needs_the_object_itself(secretive: Any) -> None:
    failure = kept(Demanding(secretive))
    assert failure.exception is None
    assert failure.type.endswith("test_failure.Demanding")


def test_long_texts_are_shortened() -> None:
    failure = zodbjobs.Failure.from_exception(ValueError("a" + "x" * 1_000_000 + "z"))
    for text in (failure.message, failure.traceback):
        assert len(text) < defaults.FAILURE_TEXT + 100
        assert "characters are left out" in text
        assert text.rstrip().endswith("xxz")
    assert failure.message.startswith("axxx")
    assert failure.exception is None
    assert len(pickle.dumps(failure)) < 3 * defaults.FAILURE_TEXT


def test_a_long_exception_is_not_kept() -> None:
    failure = zodbjobs.Failure.from_exception(ValueError([b"x"] * 1_000, b"x" * 1_000_000))
    assert failure.exception is None
    assert zodbjobs.Failure.from_exception(ValueError(b"x" * 1_000)).exception is not None


def test_the_record_of_a_job_that_failed_has_nothing_of_it(
    db: Any, queue: Any, secretive: Any
) -> None:
    job = queue.put(zodbjobs.Job(sample.fail_with, secretive))
    transaction.commit()
    run_jobs(db)
    transaction.begin()
    assert job.outcome == "failed"
    assert job.failure.exception.args[0].startswith("<sample.Account")
    assert SECRET.encode() not in db.storage.load(job._p_oid)[0]
