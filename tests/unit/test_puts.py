"""What a test has put: noted, looked for, and listed where it isn't found."""

from __future__ import annotations

import functools
import threading
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
import sample
import transaction

import zodbjobs
from zodbjobs.testing import assert_not_put, assert_put, recorded_puts, run_jobs


@pytest.fixture
def put_to(zodbjobs_db: Any) -> Iterator[Any]:
    """The default queue of the plugin's database."""
    connection = zodbjobs_db.open()
    yield zodbjobs.get_queue(connection)
    transaction.abort()
    connection.close()


def test_it_is_found_before_the_commit_and_after(put_to: Any) -> None:
    job = put_to.put(zodbjobs.Job(sample.add, 1, more=2))
    assert assert_put(sample.add) is job
    transaction.commit()
    assert assert_put(sample.add, args=(1,), queue="", due_in=timedelta(0)) is job
    assert assert_put("sample:add", args=[1]) is job
    assert_not_put(sample.note)
    for other in ({"args": (2,)}, {"args": ()}, {"queue": "x"}, {"due_in": timedelta(hours=1)}):
        assert_not_put(sample.add, **other)  # type: ignore[arg-type]


def test_what_was_aborted_or_taken_out_was_not_put(put_to: Any) -> None:
    put_to.put(sample.nothing)
    transaction.abort()
    assert_not_put(sample.nothing)
    put_to.remove(put_to.put(sample.nothing))
    assert_not_put(sample.nothing)


def test_when_it_is_due(put_to: Any) -> None:
    put_to.put(sample.nothing, begin_after=timedelta(days=14))
    assert_put(sample.nothing, due_in=timedelta(days=14))
    assert_not_put(sample.nothing, due_in=timedelta(0))


def test_stored_objects_are_the_same_in_each_connection(zodbjobs_db: Any, put_to: Any) -> None:
    accounts = [sample.Account(), sample.Account()]
    put_to._p_jar.root()["accounts"] = accounts
    transaction.commit()
    put_to.put(zodbjobs.Job(accounts[0].deposit, 1))
    put_to.put(zodbjobs.Job(functools.partial(sample.note, accounts[0])))
    transaction.commit()
    manager = transaction.TransactionManager()
    connection = zodbjobs_db.open(manager)
    seen = connection.root()["accounts"]
    assert_put(seen[0].deposit, args=(1,))
    assert_not_put(seen[1].deposit)
    assert_put(sample.note, args=(seen[0],))
    assert_not_put(sample.note, args=(seen[1],))
    assert_not_put(sample.note, args=(sample.Account(),))
    manager.abort()
    connection.close()


def test_what_jobs_put_counts_and_what_other_threads_put_does_not(
    zodbjobs_db: Any, put_to: Any
) -> None:
    account = put_to._p_jar.root()["account"] = sample.Account()
    put_to.put(zodbjobs.Job(sample.chain, account, 2))
    transaction.commit()
    run_jobs(zodbjobs_db)
    assert_put(sample.chain, args=(account, 1))

    def put_there() -> None:
        connection = zodbjobs_db.open(transaction.TransactionManager())
        zodbjobs.get_queue(connection).put(sample.nothing)
        connection.transaction_manager.commit()
        connection.close()

    thread = threading.Thread(target=put_there)
    thread.start()
    thread.join()
    assert_not_put(sample.nothing)


def test_the_message_lists_what_was_put(put_to: Any) -> None:
    with pytest.raises(AssertionError) as nothing:
        assert_put(sample.note)
    assert str(nothing.value) == (
        "no job was put that calls sample:note; this thread has put: nothing"
    )
    put_to.put(zodbjobs.Job(sample.add, 1, more=2))
    transaction.commit()
    put_to.put(sample.nothing, begin_after=timedelta(hours=2))
    with pytest.raises(AssertionError) as caught:
        assert_put(sample.add, args=(2,), queue="mail", due_in=timedelta(0))
    first, *lines = str(caught.value).splitlines()
    assert first == (
        "no job was put that calls sample:add with the arguments (2,) into queue 'mail' "
        "due in 0:00:00; this thread has put:"
    )
    assert lines[0] == "  sample:add(1, more=2) into the default queue, due now, committed"
    assert lines[1].startswith("  sample:nothing() into the default queue, due in ")
    assert lines[1].endswith(", not committed yet")
    with pytest.raises(AssertionError, match="a job was put that calls sample:add; this thread"):
        assert_not_put(sample.add)


def test_it_begins_with_the_fixture(db: Any, queue: Any) -> None:
    queue.put(sample.nothing)
    with pytest.raises(RuntimeError, match="use the fixture zodbjobs_db"):
        assert_put(sample.nothing)
    with recorded_puts():
        assert_not_put(sample.nothing)
        queue.put(sample.note)
        with recorded_puts():
            assert_not_put(sample.note)
        assert_put(sample.note)
    with pytest.raises(RuntimeError):
        assert_not_put(sample.note)
