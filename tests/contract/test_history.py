"""How long, and how many, jobs that have ended are kept."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

import pytest
import sample
import transaction
from patience import until
from storages import open_file
from ZODB.POSException import ConflictError

import zodbjobs
from zodbjobs.interfaces import FAILED, SUCCEEDED
from zodbjobs.stored.lifecycle import history, tallies
from zodbjobs.testing import moving_clock, run_jobs

DAY = 24 * 3600


def put_and_run(db: Any, queue: Any) -> zodbjobs.Job:
    job: zodbjobs.Job = queue.put(sample.nothing)
    transaction.commit()
    run_jobs(db)
    transaction.begin()
    return job


def finished(queue: Any) -> list[zodbjobs.Job]:
    transaction.begin()
    return list(queue.finished())


@pytest.mark.promise(80, 104)
def test_a_week_is_kept(any_db: Any, queue: Any) -> None:
    with moving_clock() as clock:
        for _ in range(3):
            put_and_run(any_db, queue)
        clock.advance(60)
        young = put_and_run(any_db, queue)
        clock.advance(7 * DAY - 30)
        # All that is too old goes at once, so that the young one would go with it.
        with zodbjobs.Worker(any_db):
            until(lambda: len(finished(queue)) < 4)
        assert finished(queue) == [young]


@pytest.mark.promise(104)
def test_the_limits_can_be_set(any_db: Any, queue: Any) -> None:
    with moving_clock() as clock:
        put_and_run(any_db, queue)
        clock.advance(60)
        young = put_and_run(any_db, queue)
        clock.advance(60)
        with zodbjobs.Worker(any_db, history_seconds=90.0):
            until(lambda: len(finished(queue)) < 2)
        assert finished(queue) == [young]


@pytest.mark.promise(80, 104)
def test_the_number_is_that_of_the_queue(any_db: Any, queue: Any) -> None:
    for _ in range(60):
        put_and_run(any_db, queue)
    newest = finished(queue)[:40]
    with zodbjobs.Worker(any_db, history_count=40):
        until(lambda: len(finished(queue)) <= 40)
    assert finished(queue) == newest


@pytest.mark.promise(104)
def test_it_outlives_a_restart(tmp_path: Path) -> None:
    path = str(tmp_path / "Data.fs")
    db = open_file(path)
    zodbjobs.install(db)
    with db.transaction() as connection:
        zodbjobs.get_queue(connection).put_many([zodbjobs.Job(sample.identity, n) for n in (1, 2)])
    run_jobs(db)
    db.close()
    db = open_file(path)
    with db.transaction() as connection:
        ended = list(zodbjobs.get_queue(connection).finished())
        assert sorted(job.result for job in ended) == [1, 2]
    db.close()


def test_of_two_bookings_of_a_shard_at_once_one_is_made_again(any_db: Any, queue: Any) -> None:
    """Also of two minutes: what is counted for ever is written by both."""
    minute = 60_000_000
    jobs = [queue.put(sample.nothing) for _ in range(3)]
    transaction.commit()
    shard = queue.shards[0]
    history.book(shard, [(jobs[0], 10 * minute, SUCCEEDED, 5, 7, False)])
    history.book(shard, [(jobs[1], 20 * minute, FAILED, 5, 7, False)])
    transaction.commit()
    manager = transaction.TransactionManager()
    with contextlib.closing(any_db.open(manager)) as other:
        manager.begin()
        (theirs,) = (s for s in zodbjobs.get_queue(other).shards if s._p_oid == shard._p_oid)
        history.book(
            theirs, [(other.get(jobs[2]._p_oid), 10 * minute + 9, SUCCEEDED, 6, 8, False)]
        )
        history.book(shard, [(jobs[2], 30 * minute, SUCCEEDED, 4, 6, False)])
        manager.commit()
    with pytest.raises(ConflictError):
        transaction.commit()
    transaction.abort()
    kept = {place: booked[0] for place, booked in history.minutes_of(shard)}
    assert kept == {10: 2, 20: 1}
    assert sum(tallies.ends_of(shard).outcomes) == 3
