"""What jobs fight over is counted, with who else wrote it, what it cost, and what to do."""

from __future__ import annotations

from typing import Any

import pytest
import sample
import transaction
from bench import Bench, bench
from meanwhile import commit_meanwhile

import zodbjobs
from zodbjobs import clock, defaults, insights
from zodbjobs.runtime.storage import abilities
from zodbjobs.stored.conflicts import Conflicts
from zodbjobs.stored.lifecycle import fights, labels
from zodbjobs.stored.lifecycle.fights import Fight, Key
from zodbjobs.testing import moving_clock


@pytest.fixture
def mine() -> Any:
    """The test's own transaction manager, which a bench replaces by the runner's."""
    return transaction.manager.manager


def fight(worker: Bench, db: Any, oid: bytes, note: str | None = None) -> None:
    """Run what is due, and let another one deposit as well, in the middle of the first commit."""

    def deposit() -> None:
        manager = transaction.TransactionManager()
        connection = db.open(manager)
        with manager:
            if note is not None:
                manager.get().note(note)
            connection.get(oid).deposit(10)
        connection.close()

    claims = worker.claim()
    commit_meanwhile(worker.manager, deposit)
    for claim in claims:
        worker.runner.run(claim)
    worker.runner.flush()


def test_a_conflict_is_counted_with_who_else_wrote_it(
    any_db: Any, queue: Any, account: sample.Account, mine: Any
) -> None:
    queue.put(zodbjobs.Job(account.deposit, 1))
    mine.commit()
    with moving_clock() as now, bench(any_db) as worker:
        fight(worker, any_db, account._p_oid, "/portal/pay\nand more")
        mine.begin()
        assert insights.list_conflicts(queue) == []  # it is written with the next heartbeat
        now.advance(defaults.HEARTBEAT_SECONDS + 1)
        worker.dispatcher.tick()
        mine.begin()
        (info,) = insights.list_conflicts(queue)
    mine.begin()
    assert account.balance == 11
    assert (info.job, info.count) == ("Account.deposit", 1)
    assert info.kind.endswith("sample.Account")
    assert info.oid == str(int.from_bytes(account._p_oid))
    others = ("",) if abilities.must_be_polled(any_db) else ("/portal/pay",)
    assert (info.others, info.advice) == (others, "smaller")
    assert "object of its own" in info.what_to_do
    # It is kept when the worker is gone, which has left nothing else.
    assert insights.list_workers(queue) == []
    assert [each.count for each in insights.list_conflicts(queue)] == [1]


def test_two_jobs_that_fight(any_db: Any, queue: Any, account: sample.Account, mine: Any) -> None:
    for _ in range(2):
        queue.put(zodbjobs.Job(account.deposit, 1))
    mine.commit()
    with bench(any_db) as worker:
        first, second = worker.claim(2)
        # In another thread of the same worker.
        transaction.manager.manager = transaction.TransactionManager()
        other = worker.parts.make_runner(worker.parts.make_slot(worker.slot.agent))
        transaction.manager.manager = worker.manager
        commit_meanwhile(worker.manager, lambda: other.run(second))
        worker.runner.run(first)
        other.close()
    mine.begin()
    assert account.balance == 2
    (info,) = insights.list_conflicts(queue)
    assert (info.others, info.advice) == (("Account.deposit",), "alone")


def test_of_other_workers_the_history_tells(
    any_db: Any, queue: Any, account: sample.Account, mine: Any
) -> None:
    with bench(any_db) as worker:
        queue.put(zodbjobs.Job(account.deposit, 1))
        mine.commit()
        claims = worker.claim()

        def pay() -> None:
            manager = transaction.TransactionManager()
            connection = any_db.open(manager)
            with manager:
                paying = zodbjobs.Job(connection.get(account._p_oid).deposit, 5)
                connection.add(paying)
                paying()
                labels.sign(manager, [paying])
            connection.close()

        commit_meanwhile(worker.manager, pay)
        worker.runner.run(claims[0])
    mine.begin()
    assert account.balance == 6
    (info,) = insights.list_conflicts(queue)
    others = ("",) if abilities.must_be_polled(any_db) else ("Account.deposit",)
    assert info.others == others


def test_who_has_no_conflict_writes_nothing(
    any_db: Any, queue: Any, account: sample.Account, mine: Any
) -> None:
    queue.put(zodbjobs.Job(account.deposit, 1))
    mine.commit()
    with moving_clock() as now, bench(any_db) as worker:
        worker.run()
        now.advance(defaults.HEARTBEAT_SECONDS + 1)
        worker.dispatcher.tick()
        mine.begin()
        (record,) = queue.parent.workers.values()
        assert record.conflicts is None
    mine.begin()
    assert queue.parent.conflicts is None


# Bounds


def test_what_is_kept_is_bounded() -> None:
    now = clock.now()
    many = {
        Key("a:b", "c.D", number.to_bytes(8)): Fight(1, number, now, now, (("x:y", 1),))
        for number in range(1000)
    }
    old = {Key("a:old"): Fight(5, 5, 0, 1)}
    found = fights.bounded(fights.sum_of([many, old]), now)
    assert len(found) <= defaults.MOST_FIGHTS
    assert sum(each.times for each in found.values()) == 1000
    assert Key("a:b", "c.D", (999).to_bytes(8)) in found
    assert found[Key("a:b", "c.D")].times == 950
    assert found[Key("a:b", "c.D")].others == (("x:y", 950),)


@pytest.mark.parametrize(
    ("kind", "others", "lost", "times", "advice"),
    [
        ("shop.Cart", (("shop:pay", 3), ("", 1)), 9_000_000, 4, "alone"),
        ("shop.Cart", (("shop:pay", 30),), 40_000, 40, "one job"),
        ("shop.Cart", (("shop.mail:send", 3),), 40_000, 4, "together"),
        ("shop.Cart", (("/shop/cart", 3),), 40_000, 4, "smaller"),
        ("shop.Cart", (), 40_000, 4, "smaller"),
        ("BTrees.OOBTree.OOBucket", (("", 1),), 40_000, 4, "spread"),
        ("zodbjobs.stored.job.Job", (("", 1),), 40_000, 4, "itself"),
        ("(relstorage.Locked)", (("", 1),), 40_000, 4, "locked"),
    ],
)
def test_advice(queue: Any, kind: str, others: Any, lost: int, times: int, advice: str) -> None:
    queue.parent.conflicts = Conflicts()
    now = clock.now()
    queue.parent.conflicts.add({Key("shop:pay", kind): Fight(times, lost, now, now, others)}, now)
    (info,) = insights.list_conflicts(queue)
    assert info.advice == advice
    assert info.what_to_do
    assert info.as_json()["oid"] is None
