"""The transaction of a job: its own, of now, and gone when the job has ended."""

from __future__ import annotations

from typing import Any

import pytest
import sample
import transaction
from bench import bench, run_in_groups

import zodbjobs
from zodbjobs.testing import run_jobs


def deposit(db: Any, account: sample.Account, amount: int) -> None:
    """Somebody deposits, in another connection."""
    with db.transaction() as connection:
        connection.get(account._p_oid).deposit(amount)


@pytest.mark.promise(142)
@pytest.mark.parametrize("grouped", [False, True], ids=["alone", "grouped"])
@pytest.mark.parametrize("writes", [False, True], ids=["reader", "writer"])
@pytest.mark.parametrize("fails", [False, True], ids=["succeeds", "fails"])
def test_nothing_of_it_is_left_for_the_next_job(
    any_db: Any, queue: Any, account: Any, grouped: bool, writes: bool, fails: bool
) -> None:
    given = account if writes else None
    careless = queue.put(zodbjobs.Job(sample.leave_traces, given, fails))
    jobs = [queue.put(zodbjobs.Job(sample.look_for_traces, account)) for _ in range(2)]
    transaction.commit()
    run_in_groups(any_db) if grouped else run_jobs(any_db)
    transaction.begin()
    assert careless.outcome == ("failed" if fails else "succeeded")
    balance = 1_000 if writes and not fails else 0
    assert [job.result for job in jobs] == [("", "", [], False, balance)] * 2


@pytest.mark.promise(142)
def test_a_doomed_one_dooms_no_other(any_db: Any, queue: Any, account: Any) -> None:
    doomed = queue.put(sample.doom)
    after = queue.put(zodbjobs.Job(account.deposit, 1))
    transaction.commit()
    run_jobs(any_db)
    transaction.begin()
    assert (doomed.outcome, doomed.failure.message) == ("failed", "doomed")
    assert (after.outcome, account.balance) == ("succeeded", 1)


@pytest.mark.promise(142)
def test_it_sees_what_was_committed_before_it_began(db: Any, queue: Any, account: Any) -> None:
    jobs = [queue.put(zodbjobs.Job(sample.look_for_traces, account)) for _ in range(3)]
    transaction.commit()
    with bench(db) as worker:
        for claim in worker.claim():
            deposit(db, account, 1)
            worker.runner.run(claim)
    transaction.begin()
    assert [job.result[-1] for job in jobs] == [1, 2, 3]


@pytest.mark.promise(142)
def test_that_it_runs_is_no_commit(db: Any, queue: Any, account: Any) -> None:
    job = queue.put(zodbjobs.Job(account.deposit, 1))
    transaction.commit()
    with bench(db) as worker:
        (claim,) = worker.claim()
        claimed = db.lastTransaction()
        seen = []
        commit = worker.manager.commit

        def watched() -> None:
            seen.append(db.lastTransaction())
            commit()
            seen.append(db.lastTransaction())

        worker.manager.commit = watched
        worker.runner.run(claim)
    transaction.begin()
    for stored in (account, job):
        stored._p_activate()
    # Effect and end are one commit, which follows the claim.
    assert seen == [claimed, account._p_serial]
    assert account._p_serial == job._p_serial != claimed


@pytest.mark.promise(144)
def test_it_needs_no_site(any_db: Any, queue: Any) -> None:
    job = queue.put(sample.find_site)
    transaction.commit()
    run_jobs(any_db)
    transaction.begin()
    assert (job.outcome, job.result) == ("succeeded", None)
