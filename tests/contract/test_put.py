"""What can be put, what is refused, and that a put is a part of the caller's transaction."""

from __future__ import annotations

import functools
import math
import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import sample
import transaction
from bench import run_in_groups
from storages import open_file

import zodbjobs
from zodbjobs.errors import BadArgument, BadStatus, NotInstalled, NotStored, UnknownQueue
from zodbjobs.testing import run_jobs


def run(db: Any, job: zodbjobs.Job) -> Any:
    """Commit, run, and return the job's result."""
    transaction.commit()
    run_jobs(db)
    transaction.begin()
    return job.result


@pytest.mark.promise(1, 10, 12, 58)
def test_a_function(any_db: Any, queue: Any) -> None:
    job = queue.put(zodbjobs.Job(sample.add, 1, 2))
    assert job.status == "pending"
    assert job.result is None
    assert run(any_db, job) == 3
    assert (job.status, job.outcome) == ("completed", "succeeded")


@pytest.mark.promise(10)
def test_a_bare_callable(any_db: Any, queue: Any) -> None:
    job = queue.put(sample.add)
    assert isinstance(job, zodbjobs.Job)
    assert run(any_db, job) == 0


@pytest.mark.promise(2)
def test_a_method_of_a_stored_object(any_db: Any, queue: Any, account: Any) -> None:
    job = queue.put(zodbjobs.Job(account.deposit, 5))
    assert run(any_db, job) == 5
    assert account.balance == 5


def test_a_persistent_callable(any_db: Any, queue: Any, account: Any) -> None:
    assert run(any_db, queue.put(zodbjobs.Job(account, 7))) == 7
    assert account.balance == 7


@pytest.mark.promise(3)
def test_builtins(any_db: Any, queue: Any) -> None:
    bare = queue.put(dict)
    wrapped = queue.put(zodbjobs.Job(max, 3, 9, 4))
    assert run(any_db, wrapped) == 9
    assert bare.result == {}
    assert run(any_db, queue.put(zodbjobs.Job(math.floor, 2.5))) == 2
    assert run(any_db, queue.put(zodbjobs.Job("a,b".split, ","))) == ["a", "b"]


@pytest.mark.promise(4)
def test_a_partial(any_db: Any, queue: Any) -> None:
    partial = functools.partial(functools.partial(sample.add, 1), 2, more=10)
    job = queue.put(zodbjobs.Job(partial, 3, more=20))
    assert job.args == [1, 2, 3]
    assert job.kwargs == {"more": 20}
    assert run(any_db, job) == 26


def test_a_classmethod(any_db: Any, queue: Any) -> None:
    assert run(any_db, queue.put(zodbjobs.Job(dict.fromkeys, "ab"))) == {"a": None, "b": None}


@pytest.mark.promise(5)
def test_arguments_may_be_stored_objects_and_change_until_the_job_runs(
    any_db: Any, queue: Any, account: Any
) -> None:
    job = queue.put(zodbjobs.Job(sample.identity, None))
    transaction.commit()
    job.args[0] = account
    assert run(any_db, job) is account
    with pytest.raises(BadStatus, match="has ended"):
        job.args[0] = 1


@pytest.mark.promise(5)
def test_arguments_are_like_a_list_and_a_dict() -> None:
    job = zodbjobs.Job(sample.add, 1, more=2)
    job.args.append(3)
    job.args.insert(0, 0)
    del job.args[1]
    job.kwargs["more"] = 4
    job.kwargs["other"] = 5
    del job.kwargs["other"]
    assert (list(job.args), dict(job.kwargs)) == ([0, 3], {"more": 4})
    job.args = [1]
    job.kwargs = {}
    assert (job.args, dict(job.kwargs), len(job.args)) == ([1], {}, 1)
    with pytest.raises(BadArgument, match="argument 0"):
        job.args[0] = sample.Unpicklable()
    assert job.args == [1]


def test_arguments_may_be_new_persistent_objects(any_db: Any, queue: Any) -> None:
    job = queue.put(zodbjobs.Job(sample.Account(3).deposit, 4))
    assert run(any_db, job) == 7


@pytest.mark.promise(8)
def test_a_subclass_may_call_its_own_method(any_db: Any, queue: Any) -> None:
    job = queue.put(sample.Selfish(20))
    assert run(any_db, job) == 40


@pytest.mark.promise(7)
def test_the_callable_can_be_replaced_while_new(queue: Any) -> None:
    job = zodbjobs.Job(sample.nothing)
    job.callable = functools.partial(sample.add, 5)
    assert job.callable is sample.add
    assert job.args == [5]
    account = sample.Account()
    job.callable = account.deposit
    assert job.callable == account.deposit
    queue.put(job)
    with pytest.raises(BadStatus, match="pending"):
        job.callable = sample.nothing
    assert job.callable == account.deposit


@pytest.mark.promise(58)
def test_an_abort_leaves_no_trace(any_db: Any, connection: Any, queue: Any) -> None:
    transaction.commit()
    job = queue.put(sample.add)
    transaction.abort()
    assert len(queue) == 0
    assert job.status == "new"
    assert run_jobs(any_db) == 0


def test_a_savepoint_that_is_rolled_back_leaves_no_trace(any_db: Any, queue: Any) -> None:
    first = queue.put(zodbjobs.Job(sample.note, "first"))
    savepoint = transaction.savepoint()
    for _ in range(3):
        queue.put(zodbjobs.Job(sample.note, "never"))
    savepoint.rollback()
    last = queue.put(zodbjobs.Job(sample.note, "last"))
    transaction.commit()
    assert list(queue) == [first, last]
    assert run_jobs(any_db) == 2
    assert sample.noted == ["first", "last"]


def test_what_is_put_at_once_can_be_shared_by_workers(any_db: Any, queue: Any) -> None:
    """Many jobs of one transaction lie in several shards, and keep their order all the same."""
    jobs = queue.put_many([zodbjobs.Job(sample.note, n) for n in range(700)])
    savepoint = transaction.savepoint()
    dropped = queue.put_many([zodbjobs.Job(sample.note, n) for n in range(700, 2_200)])
    assert dropped[-1].status == "pending"
    assert queue[2_199] is dropped[-1]
    savepoint.rollback()
    assert {job.status for job in dropped} == {"new"}
    jobs += queue.put_many([zodbjobs.Job(sample.note, n) for n in range(700, 2_000)])
    transaction.commit()
    assert len({job._shard.index for job in jobs}) > 3
    assert [job._args[0] for job in queue] == list(range(2_000))
    run_in_groups(any_db)
    assert sample.noted == list(range(2_000))


def test_many_into_a_queue_that_is_made_with_them(any_db: Any, queue: Any) -> None:
    jobs = queue.parent.create("new").put_many([sample.nothing] * 30)
    numbers = [zodbjobs.get_job_id(job) for job in jobs]
    transaction.commit()
    assert [job.id for job in jobs] == numbers
    assert run_jobs(any_db) == 30


def test_an_abort_after_a_put_and_its_cancellation(any_db: Any, queue: Any) -> None:
    job = queue.put(sample.nothing)
    job.cancel()
    assert (job.outcome, list(queue.finished())) == ("cancelled", [job])
    transaction.abort()
    assert (job.status, job.outcome) == ("new", None)
    queue.put(job)
    transaction.commit()
    assert run_jobs(any_db) == 1
    transaction.begin()
    assert job.outcome == "succeeded"


def test_an_abort_after_a_savepoint_among_many_puts(any_db: Any, queue: Any) -> None:
    queue.put_many([sample.nothing] * 30)
    transaction.savepoint()
    job = queue.put(sample.nothing)
    assert job.status == "pending"
    transaction.abort()
    # ZODB has emptied what the savepoint had stored, and to which the job still refers.
    assert (job.status, job.outcome, job.queue, job.id) == ("new", None, None, None)
    queue.put(job)
    transaction.commit()
    assert run_jobs(any_db) == 1
    transaction.begin()
    assert job.outcome == "succeeded"


def test_what_an_abort_has_emptied_is_refused(any_db: Any, queue: Any) -> None:
    """ZODB empties what it would have to load again from a savepoint that isn't there any more."""
    other = queue.put(sample.nothing)
    transaction.commit()
    jobs = [zodbjobs.Job(sample.nothing), zodbjobs.parallel(sample.nothing)]
    queue.put_many(jobs)
    transaction.savepoint().rollback()
    transaction.abort()
    for job in jobs:
        with pytest.raises(BadStatus, match="ZODB has dropped what was in it"):
            queue.put(job)
        with pytest.raises(BadStatus, match="ZODB has dropped what was in it"):
            other.add_callback(job)
    transaction.commit()
    assert run_jobs(any_db) == 1


def test_a_savepoint_before_the_first_put(any_db: Any, queue: Any) -> None:
    savepoint = transaction.savepoint()
    queue.put(zodbjobs.Job(sample.note, "never"))
    savepoint.rollback()
    queue.put(zodbjobs.Job(sample.note, "now"))
    queue.put(zodbjobs.Job(sample.note, "then"))
    transaction.commit()
    run_jobs(any_db)
    assert sample.noted == ["now", "then"]


def test_put_does_not_touch_what_the_caller_has_not_committed(queue: Any, account: Any) -> None:
    account.balance = 99
    queue.put(sample.nothing)
    assert account.balance == 99
    transaction.abort()
    assert account.balance == 0


def test_put_many(any_db: Any, queue: Any) -> None:
    jobs = queue.put_many([zodbjobs.Job(sample.note, n) for n in range(500)])
    assert len(jobs) == len(queue) == 500
    transaction.commit()
    assert list(queue) == jobs
    assert run_in_groups(any_db) == 500
    assert sample.noted == list(range(500))


def test_put_many_is_all_or_none(queue: Any) -> None:
    good = zodbjobs.Job(sample.nothing)
    with pytest.raises(BadArgument):
        queue.put_many([good, zodbjobs.Job(sample.identity, sample.Unpicklable())])
    with pytest.raises(BadStatus, match="twice"):
        queue.put_many([good, good])
    assert good.status == "new"
    assert len(queue) == 0


# What is refused. Each check is made before anything is written.


def refused(queue: Any, error: type[Exception], text: str, *args: Any, **terms: Any) -> None:
    transaction.commit()
    with pytest.raises(error, match=text):
        queue.put(*args, **terms)
    assert not queue._p_jar._registered_objects
    assert len(queue) == 0


def test_what_is_not_callable_is_refused(queue: Any) -> None:
    refused(queue, TypeError, "not 42", 42)


def test_what_a_worker_could_not_find_again_is_refused(queue: Any) -> None:
    def inner() -> None:
        pass

    refused(queue, BadArgument, "lambda", lambda: None)
    refused(queue, BadArgument, "inner", inner)


def test_arguments_that_cannot_be_pickled_are_refused(queue: Any) -> None:
    bad = sample.Unpicklable()
    refused(queue, BadArgument, "argument 2 of", zodbjobs.Job(sample.add, 1, bad))
    refused(queue, BadArgument, "argument 'more'", zodbjobs.Job(sample.add, more=[bad]))
    refused(queue, BadArgument, "the callable", bad.__reduce__)
    account = sample.Account()
    account.extra = bad
    refused(queue, BadArgument, "argument 1", zodbjobs.Job(sample.identity, account))


@pytest.mark.promise(53)
def test_naive_times_are_refused(queue: Any) -> None:
    naive = datetime(2030, 1, 1)
    refused(queue, BadArgument, "timezone", sample.nothing, begin_after=naive)
    refused(queue, ValueError, "timezone", sample.nothing, begin_after=naive)
    refused(queue, BadArgument, "datetime", sample.nothing, begin_after=5)
    with pytest.raises(ValueError, match="timezone"):
        zodbjobs.Job(sample.nothing).begin_after = naive


@pytest.mark.promise(56)
def test_negative_durations_are_refused(queue: Any) -> None:
    past = timedelta(seconds=-1)
    refused(queue, BadArgument, "negative", sample.nothing, begin_by=past)
    refused(queue, BadArgument, "negative", sample.nothing, begin_after=past)
    refused(queue, BadArgument, "timedelta", sample.nothing, begin_by=5)


def test_the_far_future_is_refused(queue: Any) -> None:
    refused(queue, BadArgument, "2109", sample.nothing, begin_after=timedelta(days=365 * 90))
    refused(
        queue, BadArgument, "2109", sample.nothing, begin_after=datetime(9000, 1, 1, tzinfo=UTC)
    )
    job = queue.put(sample.nothing, begin_after=datetime(2109, 1, 1, tzinfo=UTC))
    assert (job.begin_after.year, job.priority) == (2109, 0)


def test_priorities_out_of_range_are_refused(queue: Any) -> None:
    for priority in (-9, 8, 1.5, "high", True):
        refused(queue, BadArgument, "priority", sample.nothing, priority=priority)


@pytest.mark.promise(59)
def test_a_job_that_is_not_new_is_refused(any_db: Any, queue: Any) -> None:
    job = queue.put(sample.nothing)
    with pytest.raises(ValueError, match="pending, only a new one"):
        queue.put(job)
    run(any_db, job)
    with pytest.raises(BadStatus, match="completed, only a new one"):
        queue.put(job)
    called = zodbjobs.Job(sample.nothing)
    called()
    with pytest.raises(BadStatus, match="completed"):
        queue.put(called)


@pytest.mark.promise(66)
def test_queues_by_name(any_db: Any, connection: Any, queue: Any, account: Any) -> None:
    queues = zodbjobs.get_queues(connection)
    mail = queues.create("mail")
    assert queues.create("mail") is mail
    assert list(queues) == ["", "mail"]
    assert len(queues) == 2
    assert "mail" in queues
    with pytest.raises(TypeError):
        queues["other"] = account
    transaction.commit()
    assert zodbjobs.get_queue(account, "mail") is mail
    assert zodbjobs.get_queue(account) is queue
    mail.put(sample.nothing)
    transaction.commit()
    assert (len(mail), len(queue)) == (1, 0)
    assert run_jobs(any_db, ["mail"]) == 1


def test_unknown_queues_are_named_with_the_cure(any_db: Any, connection: Any) -> None:
    with pytest.raises(UnknownQueue, match=r"no queue 'post' \(there are: ''\); make it with"):
        zodbjobs.get_queue(connection, "post")
    with pytest.raises(KeyError):
        zodbjobs.get_queues(connection)["post"]
    with pytest.raises(UnknownQueue):
        zodbjobs.Worker(any_db, queues=["post"]).start()
    with pytest.raises(BadArgument):
        zodbjobs.get_queues(connection).create(5)
    with pytest.raises(BadArgument, match="at least one shard"):
        zodbjobs.get_queues(connection).create("none", shards=0)


ONLY_PUTS = """
import sys, threading, ZODB, zodbjobs, sample
db = ZODB.DB(sys.argv[1])
zodbjobs.install(db)
zodbjobs.install(db)
with db.transaction() as connection:
    zodbjobs.get_queue(connection).put(zodbjobs.Job(sample.add, 20, 3))
    assert len(zodbjobs.get_queues(connection).workers) == 0
assert threading.active_count() == 1, threading.enumerate()
db.close()
"""


@pytest.mark.promise(148)
@pytest.mark.process
def test_a_process_without_a_worker_can_put(tmp_path: Path) -> None:
    path = str(tmp_path / "Data.fs")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    command = [sys.executable, "-W", "error", "-c", ONLY_PUTS, path]
    subprocess.run(command, check=True, env=environment, timeout=60)
    db = open_file(path)
    assert run_jobs(db) == 1
    with db.transaction() as connection:
        (job,) = zodbjobs.get_queue(connection).finished()
        assert job.result == 23
    db.close()


def test_a_database_without_queues(tmp_path: Any) -> None:
    import ZODB

    db = ZODB.DB(None)
    with db.transaction() as connection:
        with pytest.raises(NotInstalled, match=r"zodbjobs\.install"):
            zodbjobs.get_queue(connection)
        with pytest.raises(NotInstalled):
            zodbjobs.Worker(db).start()
    with pytest.raises(NotStored):
        zodbjobs.get_queue(sample.Account())
    db.close()


@pytest.mark.promise(51, 52)
def test_times_are_utc(queue: Any) -> None:
    from zoneinfo import ZoneInfo

    before = datetime.now(UTC)
    job = queue.put(sample.nothing)
    assert before - timedelta(milliseconds=1) <= job.begin_after <= datetime.now(UTC)
    assert job.begin_by is None
    local = datetime(2035, 7, 1, 12, tzinfo=ZoneInfo("Africa/Lagos"))
    job = queue.put(sample.nothing, begin_after=local)
    assert job.begin_after == local
    assert job.begin_after.utcoffset() == timedelta(0)
    assert job.created < job.begin_after


@pytest.mark.promise(159)
def test_id(any_db: Any, queue: Any) -> None:
    job = zodbjobs.Job(sample.nothing)
    assert job.id is None
    with pytest.raises(ValueError, match="no id yet"):
        zodbjobs.get_job_id(job)
    queue.put(job)
    assert job.id.isdigit()
    assert zodbjobs.get_job_id(job) == job.id
    transaction.commit()
    assert job.id == str(int.from_bytes(job._p_oid))
    assert queue.get(job.id) is job
    for unknown in ("0", "999999999", "x", "-5", "", str(2**70)):
        assert queue.get(unknown) is None
