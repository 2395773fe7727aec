"""Who gets a job: the first that are due, each once, and puts don't stand in the way."""

from __future__ import annotations

import threading
from datetime import timedelta
from typing import Any

import pytest
import sample
import transaction
from bench import Bench, bench
from meanwhile import commit_meanwhile
from ZODB.POSException import ConflictError

import zodbjobs
from zodbjobs import clock
from zodbjobs.stored.lifecycle import delivery, keys
from zodbjobs.stored.lifecycle.claim import claim
from zodbjobs.testing import moving_clock

PRODUCERS = 8
ROUNDS = 20


def oids(claimed: Any) -> list[bytes]:
    return [claim.oid for claim in claimed]


@pytest.mark.promise(64)
def test_a_claim_gives_the_first_that_are_due(any_db: Any, queue: Any) -> None:
    with moving_clock() as moved:
        later = queue.put(sample.nothing, begin_after=timedelta(seconds=5))
        transaction.commit()
        with bench(any_db) as worker:
            assert worker.claim() == []
        transaction.begin()  # else a put would conflict with that on a MappingStorage
        jobs = []
        for _ in range(5):
            jobs.append(queue.put(sample.nothing))
            transaction.commit()
        with bench(any_db) as worker:
            assert oids(worker.claim(3)) == [job._p_oid for job in jobs[:3]]
            assert oids(worker.claim()) == [job._p_oid for job in jobs[3:]]
            assert worker.claim() == []
            moved.advance(5)
            assert oids(worker.claim()) == [later._p_oid]


def claim_all(worker: Bench) -> Any:
    """Whatever is due, whoever owns the shard that it is in; to be committed."""
    session = worker.registration.session
    session.manager.begin()
    queue = session.stored[""]
    return claim(queue, session.record, 100, clock.now(), queue.shards)


@pytest.mark.promise(131)
@pytest.mark.parametrize("number", [1, 10, 100])
def test_of_two_that_claim_at_once_one_tries_again(any_db: Any, queue: Any, number: int) -> None:
    jobs = queue.put_many([zodbjobs.Job(sample.note, n) for n in range(number)])
    transaction.commit()
    with bench(any_db) as quick, bench(any_db) as slow:
        claim_all(slow)
        claims = claim_all(quick)
        quick.registration.manager.commit()
        with pytest.raises(ConflictError):
            slow.registration.manager.commit()
        slow.registration.manager.abort()
        assert claim_all(slow) == []
        slow.registration.manager.abort()
        assert len(claims) == number
        for claim in claims:
            quick.runner.run(claim)
        quick.runner.flush()
        assert slow.run() == 0
    transaction.begin()
    assert sample.noted == list(range(number))
    assert {job.outcome for job in jobs} == {"succeeded"}


@pytest.mark.promise(67)
def test_producers_at_once_do_not_conflict(any_db: Any, queue: Any) -> None:
    """Each put is open when the others are committed; the inboxes grow beyond one leaf."""
    turns = threading.Barrier(PRODUCERS)
    conflicts: list[Exception] = []

    def produce(number: int) -> None:
        delivery._producer.number = number  # it draws one; two that draw the same would be chance
        manager = transaction.TransactionManager()
        connection = any_db.open(manager)
        for _ in range(ROUNDS):
            manager.begin()
            target = zodbjobs.get_queue(connection)
            for _ in range(10):
                target.put(sample.nothing)
            turns.wait(60)
            try:
                manager.commit()
            except ConflictError as error:
                conflicts.append(error)
                manager.abort()
            turns.wait(60)
        connection.close()

    threads = [threading.Thread(target=produce, args=(number,)) for number in range(PRODUCERS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert conflicts == []
    transaction.begin()
    assert len(queue) == PRODUCERS * ROUNDS * 10


def test_what_cannot_be_given_back_at_once_is_not_forgotten(
    any_db: Any, queue: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All threads are in long jobs, and others may have time; but the commit conflicts."""
    job = queue.put(zodbjobs.Job(sample.note, 1))
    transaction.commit()
    mine = transaction.manager.manager
    with bench(any_db) as worker:
        claims = worker.claim()
        worker.dispatcher.stop_claiming()
        workload = worker.parts.workload
        workload.hand_out(claims)
        monkeypatch.setattr(workload, "take_stuck", workload.take_all)

        def conflict() -> None:
            raise ConflictError

        commit_meanwhile(worker.registration.session.manager, conflict)
        with pytest.raises(ConflictError):
            worker.dispatcher.tick()
        assert len(workload) == 1
        worker.dispatcher.tick()
        mine.begin()
        assert (job.status, len(workload)) == ("pending", 0)


def test_given_back_it_has_its_place_again(any_db: Any, queue: Any) -> None:
    with moving_clock():
        jobs = queue.put_many([sample.nothing] * 3)
        transaction.commit()
        jobs.append(queue.put(sample.nothing))
        transaction.commit()
    with bench(any_db) as worker:
        (first,) = worker.claim(1)
        worker.dispatcher.give_back([first])
        assert oids(worker.claim(4)) == [job._p_oid for job in jobs]


def test_jobs_put_together_under_keys_that_others_have(
    any_db: Any, queue: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine = transaction.manager.manager
    monkeypatch.setattr(keys.random, "getrandbits", lambda bits: 0)
    jobs = []
    with moving_clock() as moved, bench(any_db) as worker:
        session = worker.registration.session
        mine.begin()
        for delay in (None, timedelta(seconds=5)):
            for _ in range(2):
                keys._last_now = keys._later_tie = 0  # as in another process, in one microsecond
                jobs += queue.put_many([sample.nothing] * 2, begin_after=delay)
                mine.commit()
                with session.manager:
                    for shard in session.stored[""].shards:
                        shard.drain(clock.now(), 1)
                mine.begin()
        assert {job.status for job in jobs} == {"pending"}
        jobs.pop().cancel()
        jobs.pop(3).cancel()
        mine.commit()
        moved.advance(10)
        assert sorted(oids(worker.claim())) == sorted(job._p_oid for job in jobs)
