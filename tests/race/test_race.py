"""Many threads at once; whatever they do, an invariant holds at the end."""

from __future__ import annotations

import functools
import random
import threading
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
import sample
import transaction
from patience import wait_for
from ZODB.POSException import ConflictError

import zodbjobs
from zodbjobs.errors import BadStatus

PRODUCERS = 6
EACH = 40
ACCOUNTS = 5


def at_once(*calls: Callable[[], None]) -> None:
    """Call each in a thread of its own; an error in one is an error here."""
    errors: list[BaseException] = []

    def guarded(call: Callable[[], None]) -> None:
        try:
            call()
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=guarded, args=(call,)) for call in calls]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(100)
        assert not thread.is_alive()
    if errors:
        raise errors[0]


def committed(db: Any, change: Callable[[Any], Any]) -> Any:
    """Change the database in a transaction, again and again until it works."""
    manager = transaction.TransactionManager()
    connection = db.open(manager)
    try:
        while True:
            try:
                with manager:
                    return change(connection)
            except ConflictError:
                continue
    finally:
        connection.close()


@pytest.fixture
def accounts(connection: Any) -> Any:
    made = connection.root()["accounts"] = [sample.Account(100) for _ in range(ACCOUNTS)]
    transaction.commit()
    return made


def produce(db: Any, ids: list[str]) -> None:
    """Put transfers between accounts, one or some in a transaction."""

    def put(connection: Any) -> list[str]:
        queue = zodbjobs.get_queue(connection)
        accounts = connection.root()["accounts"]
        jobs = []
        for _ in range(random.choice([1, 1, 1, 7])):
            one, other = random.sample(accounts, 2)
            jobs.append(queue.put(zodbjobs.Job(sample.transfer, one, other, 1)))
        return [zodbjobs.get_job_id(job) for job in jobs]

    for _ in range(EACH):
        ids.extend(committed(db, put))


def check(connection: Any, ids: list[str]) -> Counter[str]:
    """Each job is in the history once; the money is all there; returns the outcomes."""
    transaction.begin()
    queue = zodbjobs.get_queue(connection)
    finished = [job.id for job in queue.finished()]
    assert Counter(finished) == Counter(ids)
    assert sum(shard.history_length() for shard in queue.shards) == len(ids)
    assert len(queue) == 0
    accounts = connection.root()["accounts"]
    assert sum(account.balance for account in accounts) == 100 * ACCOUNTS
    outcomes = Counter(queue.get(job_id).outcome for job_id in ids)
    assert sum(account.transfers for account in accounts) == outcomes["succeeded"]
    return outcomes


@pytest.mark.promise(131)
@pytest.mark.parametrize("workers", [1, 2])
def test_producers_and_runners(any_db: Any, connection: Any, accounts: Any, workers: int) -> None:
    ids: list[str] = []
    running = [zodbjobs.Worker(any_db, threads=3) for _ in range(workers)]
    for worker in running:
        worker.start()
    at_once(*[lambda: produce(any_db, ids)] * PRODUCERS)
    transaction.begin()
    queue = zodbjobs.get_queue(connection)
    wait_for([queue.get(job_id) for job_id in ids])
    for worker in running:
        worker.stop()
    outcomes = check(connection, ids)
    # A transfer may conflict until it is given up; then it has no effect.
    assert outcomes["succeeded"] + outcomes["failed"] == len(ids)
    assert outcomes["succeeded"] > len(ids) // 2


def test_cancels_race_with_runs(any_db: Any, connection: Any, accounts: Any) -> None:
    ids: list[str] = []
    cancelled: list[str] = []
    done = threading.Event()

    def cancel() -> None:
        def cancel_one(job_id: str, connection: Any) -> bool:
            job = zodbjobs.get_queue(connection).get(job_id)
            try:
                job.cancel()
            except BadStatus:
                return False  # it was quicker
            return True

        while not done.is_set():
            if ids:
                # Chosen before the transaction begins, so that it sees the job.
                job_id = random.choice(ids)
                if committed(any_db, functools.partial(cancel_one, job_id)):
                    cancelled.append(job_id)

    def produce_and_wait() -> None:
        try:
            produce(any_db, ids)
            # Whoever is faster: some are cancelled while others run, and some run at last.
            while not cancelled:
                produce(any_db, ids)
        finally:
            done.set()
        produce(any_db, ids)

    with zodbjobs.Worker(any_db, threads=3):
        at_once(produce_and_wait, cancel, cancel)
        transaction.begin()
        queue = zodbjobs.get_queue(connection)
        wait_for([queue.get(job_id) for job_id in ids])
    outcomes = check(connection, ids)
    assert outcomes["cancelled"] == len(cancelled) > 0
    assert outcomes["succeeded"] > 0


def test_workers_that_come_and_go(any_db: Any, connection: Any, accounts: Any) -> None:
    ids: list[str] = []

    def come_and_go() -> None:
        for _ in range(6):
            with zodbjobs.Worker(any_db, threads=2):
                threading.Event().wait(random.uniform(0, 0.2))

    at_once(lambda: produce(any_db, ids), come_and_go, come_and_go)
    with zodbjobs.Worker(any_db):
        transaction.begin()
        queue = zodbjobs.get_queue(connection)
        wait_for([queue.get(job_id) for job_id in ids])
    check(connection, ids)
