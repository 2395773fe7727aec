"""Which workers live: heartbeats, who is taken for dead, and what such a one can still do."""

from __future__ import annotations

from typing import Any

import pytest
import sample
import transaction
from bench import Bench, bench, die, make_doomed, record
from ZODB.POSException import ConflictError

import zodbjobs
from zodbjobs import clock, defaults
from zodbjobs.runtime.dispatcher import Fenced
from zodbjobs.runtime.failure_detector import FailureDetector
from zodbjobs.runtime.tasks.rescue import rescue
from zodbjobs.stored.lifecycle.claim import claim
from zodbjobs.testing import moving_clock, run_jobs, wait_for


def declare_dead(db: Any, worker: Bench) -> None:
    """Another worker takes what it holds."""
    with bench(db) as rescuer:
        there = rescuer.registration
        rescue(there.manager, there.session.stored, worker.registration.id)


# Heartbeats


@pytest.mark.promise(90)
def test_a_heartbeat_is_written_once_in_its_interval(db: Any) -> None:
    seen = []
    with moving_clock() as clock, bench(db) as worker:
        record = worker.registration.session.record
        for seconds in (0, 14.9, 0.1, 0, 14.9, 0.1, 100, 0, 14.9, 0.1):
            clock.advance(seconds)
            before = db.lastTransaction()
            worker.dispatcher.tick()
            seen.append(record.heartbeat)
            assert (db.lastTransaction() != before) == (seen[-1] != ([0, *seen])[-2])
    assert seen == [0, 0, 1, 1, 1, 2, 3, 3, 3, 4]


@pytest.mark.promise(91, 92)
def test_all_that_were_silent_for_three_intervals_are_dead() -> None:
    own, silent, other, loud = (record(name, host=name) for name in ("a", "b", "c", "d"))
    watch = FailureDetector(only_process=False)

    def dead() -> list[str]:
        return watch.dead(own, [own, silent, other, loud])

    with moving_clock() as clock:
        assert dead() == []
        for _ in range(3):
            clock.advance(14.9)
            own.heartbeat += 1
            loud.heartbeat += 1
            assert dead() == []
        clock.advance(0.2)
        assert dead() == []
        clock.advance(0.1)
        assert dead() == ["b", "c"]
        other.heartbeat += 1
        assert dead() == ["b"]


@pytest.mark.promise(91)
def test_who_has_stored_no_heartbeat_of_its_own_takes_nobody_for_dead() -> None:
    own, silent = record("a", host="a"), record("b", host="b")
    watch = FailureDetector(only_process=False)
    with moving_clock() as clock:
        assert watch.dead(own, [silent]) == []
        own.heartbeat += 2
        clock.advance(3600)
        assert watch.dead(own, [silent]) == []
        own.heartbeat += 1
        assert watch.dead(own, [silent]) == ["b"]


# Taken for dead


@pytest.mark.promise(81, 97)
def test_who_was_taken_for_dead_claims_nothing(db: Any, queue: Any) -> None:
    worker = make_doomed(db)
    declare_dead(db, worker)
    job = queue.put(sample.nothing)
    transaction.commit()
    for _ in range(2):
        with pytest.raises(Fenced):
            worker.claim()
    die(worker)
    transaction.begin()
    assert job.status == "pending"
    assert run_jobs(db) == 1


@pytest.mark.promise(81, 97)
def test_a_claim_at_the_same_moment_conflicts(db: Any, queue: Any) -> None:
    worker = make_doomed(db)
    job = queue.put(sample.nothing)
    transaction.commit()
    session = worker.registration.session
    session.manager.begin()
    there = session.stored[""]
    assert len(claim(there, session.record, 1, clock.now(), there.shards)) == 1
    declare_dead(db, worker)
    with pytest.raises(ConflictError):
        session.manager.commit()
    die(worker)
    transaction.begin()
    assert job.status == "pending"
    assert run_jobs(db) == 1


# Rescue


@pytest.mark.promise(127)
def test_another_worker_runs_what_a_dead_one_had(any_db: Any, queue: Any) -> None:
    jobs = queue.put_many([zodbjobs.Job(sample.note, n) for n in range(3)])
    transaction.commit()
    crashed = make_doomed(any_db)
    assert len(crashed.claim()) == 3
    transaction.begin()  # else the put would conflict with that on a MappingStorage
    with zodbjobs.Worker(any_db):
        after = queue.put(sample.nothing)
        transaction.commit()
        wait_for(after, 60)
        assert {job.status for job in jobs} == {"assigned"}  # as long as it lives
        die(crashed)
        wait_for(jobs, 60)
    transaction.begin()
    assert sorted(sample.noted) == [0, 1, 2]
    assert {(job.outcome, job.interruptions) for job in jobs} == {("succeeded", 1)}


@pytest.mark.promise(95)
def test_a_rescue_is_repeated_until_it_is_committed(
    db: Any, queue: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(defaults, "RESCUE_BATCH", 7)
    jobs = queue.put_many([sample.nothing] * 30)
    transaction.commit()
    dead = make_doomed(db)
    assert len(dead.claim()) == 30
    with bench(db) as worker:
        die(dead)
        there = worker.registration
        misfortunes = [None, conflict, None, sample.lose_connection]
        commit = there.manager.commit

        def commit_or_not() -> None:
            misfortune = misfortunes.pop(0) if misfortunes else None
            if misfortune is not None:
                misfortune()
            commit()

        monkeypatch.setattr(there.manager, "commit", commit_or_not)
        with pytest.raises(Exception, match="the server is away"):
            there.rescue_dead()
        assert misfortunes == []
        transaction.begin()
        with db.transaction() as connection:
            assert len(zodbjobs.get_queue(connection)) == 14  # these are safe
        assert there.rescue_dead() == 16
    transaction.begin()
    assert {(job.status, job.interruptions) for job in jobs} == {("pending", 1)}
    assert list(queue.parent.workers) == []


def conflict() -> None:
    raise ConflictError("of a test")
