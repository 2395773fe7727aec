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
from zodbjobs.stored.lifecycle import delivery
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
