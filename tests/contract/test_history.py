"""How long, and how many, jobs that have ended are kept."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import sample
import transaction
from patience import until
from storages import open_file

import zodbjobs
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
