"""Whether a record can't be loaded here, or the storage can't give it."""

from __future__ import annotations

from typing import Any

import pytest
import sample
import transaction
from persistent import Persistent
from ZODB.POSException import POSKeyError, ReadConflictError

import zodbjobs
from zodbjobs import insights
from zodbjobs.stored.lifecycle.unreadable import why_unreadable


class Proud(Persistent):
    """May refuse its state."""

    refuses = False

    def __setstate__(self, state: Any) -> None:
        if self.refuses:
            raise ValueError("not this state")
        super().__setstate__(state)


class Nosy(Persistent):
    """Looks at another object when it takes its state."""

    def __setstate__(self, state: Any) -> None:
        super().__setstate__(state)
        self.other._p_activate()


@pytest.fixture
def proud(connection: Any) -> Proud:
    stored = connection.root()["proud"] = Proud()
    stored.value = sample.Brittle()
    transaction.commit()
    return stored


@pytest.fixture
def nosy(connection: Any, proud: Proud) -> Nosy:
    stored = connection.root()["nosy"] = Nosy()
    stored.other = proud
    transaction.commit()
    return stored


def why(*objects: Any) -> BaseException | None:
    """Why the first of them isn't loaded; all are ghosts before."""
    for one in objects:
        one._p_invalidate()
    with pytest.raises(Exception) as raised:  # noqa: PT011
        objects[0]._p_activate()
    return why_unreadable(raised.value)


def fail_to_load(monkeypatch: pytest.MonkeyPatch, stored: Any, error: Exception) -> None:
    """Have the storage raise `error` when it is asked for the record of `stored`."""
    storage = stored._p_jar._storage
    load = storage.load

    def fail(oid: bytes, *rest: Any) -> Any:
        if oid == stored._p_oid:
            raise error
        return load(oid, *rest)

    monkeypatch.setattr(storage, "load", fail)


def test_a_class_refuses_its_state(
    proud: Proud, nosy: Nosy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Proud, "refuses", True)
    assert repr(why(proud)) == "ValueError('not this state')"
    assert repr(why(nosy, proud)) == "ValueError('not this state')"


def test_a_value_cannot_be_made(proud: Proud, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sample, "brittle", ValueError)
    assert repr(why(proud)) == "ValueError('there is no Brittle')"


@pytest.mark.parametrize("error", [OSError(5, "broken disk"), ReadConflictError(), POSKeyError()])
def test_the_storage_cannot_give_it(
    proud: Proud, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    fail_to_load(monkeypatch, proud, error)
    assert why(proud) is None


@pytest.mark.parametrize("error", [ReadConflictError(), POSKeyError()])
def test_the_storage_cannot_give_what_a_class_looks_at(
    proud: Proud, nosy: Nosy, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    fail_to_load(monkeypatch, proud, error)
    assert why(nosy, proud) is None


def test_a_job_on_a_broken_disk_is_not_called_unreadable(
    connection: Any, queue: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = queue.put(zodbjobs.Job(sample.nothing))
    transaction.commit()
    job._p_invalidate()
    fail_to_load(monkeypatch, job, OSError(5, "broken disk"))
    for look in (insights.job_info, insights.job_details):
        with pytest.raises(OSError, match="broken disk"):
            look(job)
    with pytest.raises(OSError, match="broken disk"):
        insights.find_job(connection, job.id)
