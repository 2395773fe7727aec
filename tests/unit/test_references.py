"""Values are stored with their place, by a kind of reference that an application registers."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Iterator
from typing import Any

import pytest
import sample
import transaction

import zodbjobs
from zodbjobs import references
from zodbjobs.errors import BadArgument, ObjectGone
from zodbjobs.testing import assert_not_put, assert_put, recorded_puts, run_jobs


@dataclasses.dataclass
class Placed:
    """An account as some place has it."""

    account: Any
    place: str

    def name(self) -> str:
        return f"{self.account.balance} in {self.place}"

    def __call__(self) -> str:
        return self.name()

    def __reduce__(self) -> Any:
        raise TypeError("it isn't to be pickled")


@dataclasses.dataclass
class Parcel:
    """Something with content within it."""

    content: Any


def _store(value: Placed) -> tuple[Any, str]:
    if value.place == "nowhere":
        raise BadArgument("it is nowhere; put it somewhere")
    return value.account, value.place


def _load(account: Any, place: str) -> Placed:
    if account.balance < 0:
        raise ObjectGone(f"the account in {place} is gone")
    return Placed(account, place)


@pytest.fixture(autouse=True)
def kind() -> Iterator[None]:
    _register()
    yield
    references.unregister("placed")


def _register() -> None:
    references.register(
        "placed", lambda value: isinstance(value, Placed), _store, _load, str.upper
    )


@pytest.fixture
def account(queue: Any) -> Any:
    root = queue._p_jar.root()
    root["account"] = sample.Account()
    transaction.commit()
    return root["account"]


def run(db: Any, job: Any) -> Any:
    transaction.commit()
    run_jobs(db)
    transaction.begin()
    return job.result


def names(*values: Any, **more: Any) -> list[str]:
    return [value.name() for value in (*values, *more.values())]


def first(parcel: Any) -> str:
    name: str = parcel.content[0]["it"].name()
    return name


def give_back(value: Any) -> Any:
    return [value]


def test_arguments_are_loaded_for_the_call(db: Any, queue: Any, account: Any) -> None:
    job = queue.put(zodbjobs.Job(names, Placed(account, "a bank"), more=Placed(account, "a shop")))
    assert run(db, job) == ["0 in a bank", "0 in a shop"]


def test_they_are_found_in_what_holds_them(db: Any, queue: Any, account: Any) -> None:
    placed = Placed(account, "a bank")
    job = queue.put(zodbjobs.Job(first, Parcel([{"it": placed}, (placed, {1})])))
    assert run(db, job) == "0 in a bank"


def test_a_method_is_called_on_what_is_loaded(db: Any, queue: Any, account: Any) -> None:
    job = queue.put(Placed(account, "a bank").name)
    assert job.description == "Account.name"
    assert run(db, job) == "0 in a bank"


def test_so_is_what_can_be_called_itself(db: Any, queue: Any, account: Any) -> None:
    assert run(db, queue.put(Placed(account, "a bank"))) == "0 in a bank"


def test_arguments_that_are_set_later(db: Any, queue: Any, account: Any) -> None:
    job = zodbjobs.Job(names)
    job.args.append(Placed(account, "a bank"))
    job.kwargs["more"] = Placed(account, "a shop")
    queue.put(job)
    transaction.commit()
    job.args[0] = Placed(account, "a safe")
    assert run(db, job) == ["0 in a safe", "0 in a shop"]


def test_a_result_is_kept_and_loaded_on_demand(db: Any, queue: Any, account: Any) -> None:
    job = queue.put(zodbjobs.Job(give_back, Placed(account, "a bank")))
    result = run(db, job)
    assert repr(result) == "[<Account A BANK>]"
    assert result.load() == [Placed(account, "a bank")]


def test_a_result_is_loaded_for_the_job_that_has_it_as_argument(
    db: Any, queue: Any, account: Any
) -> None:
    before = queue.put(zodbjobs.Job(sample.identity, Placed(account, "a bank")))
    job = queue.put(zodbjobs.Job(names, zodbjobs.result_of(before)))
    assert run(db, job) == ["0 in a bank"]


def test_by_hand_it_is_the_same(queue: Any, account: Any) -> None:
    job = queue._p_jar.root()["job"] = zodbjobs.Job(names, Placed(account, "a bank"))
    assert job() == ["0 in a bank"]


def test_what_is_gone_fails_the_job_and_is_not_tried_again(
    db: Any, queue: Any, account: Any
) -> None:
    job = zodbjobs.Job(names, Placed(account, "a bank"))
    job.retry_policy = zodbjobs.RetryForever()
    queue.put(job)
    account.balance = -1
    assert run(db, job).type == "zodbjobs.errors.ObjectGone"
    assert job.attempts == 1


def test_what_its_kind_can_not_store_is_refused(queue: Any, account: Any) -> None:
    with pytest.raises(BadArgument, match=r"argument 1 of .*:names can't be stored: it is now"):
        zodbjobs.Job(names, [Placed(account, "nowhere")])


def test_a_worker_that_lacks_the_kind_parks_the_job(
    db: Any, queue: Any, account: Any, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.CRITICAL)
    parked = [
        queue.put(zodbjobs.Job(names, Placed(account, "a bank"))),
        queue.put(Placed(account, "a bank").name),
    ]
    after = queue.put(sample.nothing)
    references.unregister("placed")
    run(db, after)
    assert after.outcome == "succeeded"
    for job in parked:
        assert "import in the worker what registers it" in job.parked
    _register()
    for job in parked:
        queue.retry(job)
    assert run(db, parked[0]) == ["0 in a bank"]


def test_the_command_line_shows_the_place(queue: Any, account: Any) -> None:
    job = queue.put(zodbjobs.Job(names, Placed(account, "a bank")))
    assert "<Account A BANK>" in repr(job)


def test_a_kind_needs_a_name_and_functions() -> None:
    with pytest.raises(BadArgument, match="needs a name and functions"):
        references.register("", _load, _store, _load)


def test_a_test_finds_what_was_put_by_what_it_was_given(queue: Any, account: Any) -> None:
    with recorded_puts():
        job = queue.put(zodbjobs.Job(names, [Placed(account, "a bank")]))
        method = queue.put(Placed(account, "a bank").name)
        assert assert_put(names, args=([Placed(account, "a bank")],)) is job
        assert assert_put(Placed(account, "a bank").name) is method
        assert_not_put(names, args=([Placed(account, "a shop")],))
