"""Checkpoints by hand: what was committed stays, and is done once, whatever takes the job away."""

from __future__ import annotations

import contextvars
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import large_jobs
import pytest
import sample
import transaction
from bench import Bench, bench, die, make_doomed
from meanwhile import commit_meanwhile, committed

import zodbjobs
from zodbjobs import local
from zodbjobs.errors import NoCurrentJob
from zodbjobs.runtime.registration import Registration
from zodbjobs.runtime.tasks.rescue import rescue
from zodbjobs.stored.agents import Agent
from zodbjobs.stored.lifecycle import complete
from zodbjobs.testing import moving_clock, run_jobs

NUMBER = 4


@pytest.fixture
def accounts(connection: Any) -> Any:
    """Accounts that a job goes through."""
    stored = connection.root()["accounts"] = [sample.Account() for _ in range(NUMBER)]
    transaction.commit()
    return stored


@pytest.fixture(autouse=True)
def _nothing_happens() -> Iterator[None]:
    yield
    large_jobs.before = large_jobs.nothing
    large_jobs.met.clear()


def put(queue: Any, accounts: Any, function: Any = large_jobs.in_steps, **options: Any) -> Any:
    job = queue.put(zodbjobs.Job(function, *accounts), **options)
    transaction.commit()
    return job


def at(number: int, do: Callable[[], object]) -> None:
    """Do something, once, before the checkpoint of an item."""
    todo = [do]

    def before(found: int) -> None:
        if found == number and todo:
            todo.pop()()

    large_jobs.before = before


def balances(accounts: Any) -> list[int]:
    transaction.begin()
    return [account.balance for account in accounts]


def seen(db: Any) -> list[int]:
    """The balances as another one sees them."""
    with db.transaction() as connection:
        return [account.balance for account in connection.root()["accounts"]]


def test_each_is_committed_with_its_cursor(any_db: Any, queue: Any, accounts: Any) -> None:
    job = put(queue, accounts)
    steps: list[Any] = []

    def look(number: int) -> None:
        assert local.get_job().status == "active"
        with any_db.transaction() as connection:
            found = connection.get(job._p_oid)
            progress = found._annotations and found._annotations["message"]
            steps.append((seen(any_db), found.cursor, progress))
        local.get_job()._p_deactivate()  # as a connection does by itself, between two transactions

    large_jobs.before = look
    assert run_jobs(any_db) == 1
    assert steps[0] == ([0, 0, 0, 0], None, None)
    assert steps[3] == ([1, 1, 1, 0], 3, "account 2")
    assert balances(accounts) == [1] * NUMBER
    assert (job.outcome, job.result, job.cursor) == ("succeeded", "done", NUMBER)
    assert (job.attempts, job.conflicts, job.interruptions) == (1, 0, 0)


@pytest.mark.parametrize("how", ["die", "conflict"])
def test_it_goes_on_behind_the_last_one(any_db: Any, queue: Any, accounts: Any, how: str) -> None:
    job = put(queue, accounts)
    doomed = make_doomed(any_db)

    def conflict() -> None:
        with any_db.transaction() as connection:
            connection.root()["accounts"][2].deposit(10)

    def end() -> None:
        raise KeyboardInterrupt

    at(2, end if how == "die" else conflict)
    (claim,) = doomed.claim()
    manager = transaction.manager.manager
    transaction.manager.manager = doomed.manager
    try:
        doomed.runner.run(claim)
    except KeyboardInterrupt:
        die(doomed)
    else:
        doomed.close()
    finally:
        transaction.manager.manager = manager
    expected = [1, 1, 0, 0] if how == "die" else [1, 1, 11, 1]
    assert balances(accounts) == expected
    assert job.cursor == (2 if how == "die" else NUMBER)
    run_jobs(any_db)
    balances(accounts)
    assert (job.outcome, sum(a.transfers for a in accounts)) == ("succeeded", 0)
    assert [account.balance % 10 for account in accounts] == [1] * NUMBER
    assert (job.attempts, job.conflicts) == (1, int(how == "conflict"))
    assert job.interruptions == 0  # counted since the last checkpoint


def cancel(db: Any, job: Any, worker: Any, clock: Any) -> None:
    with committed(db) as queue:
        queue._p_jar.get(job._p_oid).cancel()


def fail(db: Any, job: Any, worker: Any, clock: Any) -> None:
    """It isn't shown as running yet."""
    with committed(db) as queue:
        queue._p_jar.get(job._p_oid).fail()


def time_out(db: Any, job: Any, worker: Any, clock: Any) -> None:
    clock.advance(60)
    worker.dispatcher.tick()


def take_for_dead(db: Any, job: Any, worker: Any, clock: Any) -> None:
    other = Registration(db, [Agent.of_all(None, 1)])
    rescue(other.manager, other.session.stored, worker.registration.id)
    other.drop()
    other.close()


def stop_for_good(db: Any, job: Any, worker: Any, clock: Any) -> None:
    """Its time to stop is over."""
    worker.registration.drop()


def before_begin(worker: Any, do: Callable[[], object]) -> None:
    """Do something, once, before the next transaction of a worker begins."""
    session = worker.runner.thread_session
    begin = session.begin

    def late() -> None:
        session.begin = begin
        do()
        begin()

    session.begin = late


TAKEN = [cancel, fail, time_out, take_for_dead, stop_for_good]


@pytest.mark.parametrize("moment", ["before", "in the commit", "after the commit"])
@pytest.mark.parametrize("take", TAKEN)
def test_who_takes_it_away_keeps_it_from_committing(
    any_db: Any, queue: Any, accounts: Any, take: Any, moment: str, caplog: Any
) -> None:
    job = put(queue, accounts, timeout=30)
    with moving_clock() as clock:
        worker = make_doomed(any_db)
        mine, transaction.manager.manager = transaction.manager.manager, worker.manager

        def do() -> None:
            if moment == "before":
                take(any_db, job, worker, clock)
            elif moment == "after the commit":
                before_begin(worker, lambda: take(any_db, job, worker, clock))
            else:
                commit_meanwhile(worker.manager, lambda: take(any_db, job, worker, clock))

        at(2, do)
        (claim,) = worker.claim()
        worker.runner.run(claim)
        done = [1, 1, int(moment == "after the commit"), 0]
        assert seen(any_db) == done
        for wrong in ("failed:", "the commit of"):
            told = [m for m in caplog.messages if wrong in m and "TimedOut" not in m]
            assert told == []
        transaction.manager.manager = mine
        die(worker)
        large_jobs.before = large_jobs.nothing
        run_jobs(any_db)
    ends = {cancel: "cancelled", fail: "failed", time_out: "failed"}.get(take, "succeeded")
    expected = [1, 1, 1, 1] if ends == "succeeded" else done
    assert balances(accounts) == expected
    assert job.outcome == ends


def test_a_worker_that_lacks_its_code_may_take_it(
    any_db: Any, queue: Any, accounts: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is parked, and its record isn't written; the step that runs is committed, with its
    cursor, or isn't.
    """
    job = put(queue, accounts)
    worker = make_doomed(any_db)
    mine, transaction.manager.manager = transaction.manager.manager, worker.manager

    def park() -> None:
        with monkeypatch.context() as patch:
            patch.setattr(complete, "can_be_stored", lambda job: False)
            take_for_dead(any_db, job, worker, None)

    at(2, lambda: commit_meanwhile(worker.manager, park))
    (claim,) = worker.claim()
    worker.runner.run(claim)
    transaction.manager.manager = mine
    die(worker)
    transaction.begin()
    cursor, found = job.cursor, seen(any_db)
    assert found == [1] * cursor + [0] * (NUMBER - cursor)
    assert cursor < NUMBER
    queue.retry(job)
    transaction.commit()
    run_jobs(any_db)
    assert balances(accounts) == [1] * NUMBER


def test_one_that_waits_can_be_removed_and_put_again(
    any_db: Any, queue: Any, accounts: Any
) -> None:
    job = put(queue, accounts)
    with bench(any_db) as worker:
        at(2, worker.stopping.set)
        worker.run()
        worker.dispatcher.step()
    transaction.begin()
    assert job.status == "pending"
    queue.remove(job)
    transaction.commit()
    assert (job.status, job.cursor) == ("new", 3)
    queue.put(job)
    transaction.commit()
    run_jobs(any_db)
    assert balances(accounts) == [1] * NUMBER


def test_a_worker_that_stops_gives_it_back(any_db: Any, queue: Any, accounts: Any) -> None:
    job = put(queue, accounts)
    with bench(any_db) as worker:
        at(1, worker.stopping.set)
        worker.run()
        worker.dispatcher.step()
        transaction.begin()
        assert seen(any_db) == [1, 1, 0, 0]
    transaction.begin()
    assert (job.status, job.attempts, job.interruptions) == ("pending", 0, 0)
    assert job.progress == (25.0, "account 1")
    run_jobs(any_db)
    assert balances(accounts) == [1] * NUMBER
    assert (job.outcome, job.attempts, job.interruptions) == ("succeeded", 1, 0)
    assert len(job.past_attempts) == 1


@pytest.mark.parametrize("match", [None, "large_jobs:*"])
def test_a_pause_gives_it_back(any_db: Any, queue: Any, accounts: Any, match: str | None) -> None:
    job = put(queue, accounts, unique="one")

    def pause() -> None:
        with committed(any_db) as elsewhere:
            elsewhere.pause("for a while", match)

    at(1, pause)
    run_jobs(any_db)
    assert balances(accounts) == [1, 1, 0, 0]
    assert job.status == "pending"
    other = queue.put(zodbjobs.Job(sample.nothing), unique="one")
    assert other is not job  # which has begun
    queue.remove(other)
    queue.resume(match)
    transaction.commit()
    run_jobs(any_db)
    assert balances(accounts) == [1] * NUMBER
    assert (job.outcome, job.attempts) == ("succeeded", 1)


def test_who_swallows_a_conflict_is_called_again(any_db: Any, queue: Any, accounts: Any) -> None:
    for function in (large_jobs.in_steps_whatever, large_jobs.in_steps_or_worse):
        large_jobs.met.clear()
        job = put(queue, accounts, function)
        before = balances(accounts)

        def conflict() -> None:
            with any_db.transaction() as connection:
                connection.root()["accounts"][1].transfers += 1

        at(1, conflict)
        run_jobs(any_db)
        assert balances(accounts) == [balance + 1 for balance in before]
        assert (job.outcome, job.result, job.conflicts) == ("succeeded", "done", 1)
        assert large_jobs.met == ["ConflictError"]


def test_a_cancellation_can_not_be_swallowed(any_db: Any, queue: Any, accounts: Any) -> None:
    job = put(queue, accounts, large_jobs.in_steps_or_worse)
    at(1, lambda: cancel(any_db, job, None, None))
    run_jobs(any_db)
    assert balances(accounts) == [1, 0, 0, 0]
    assert (job.outcome, large_jobs.met) == ("cancelled", ["ConflictError"])


def test_one_that_cancels_itself(any_db: Any, queue: Any, accounts: Any) -> None:
    job = put(queue, accounts)
    at(2, lambda: local.get_job().cancel())
    run_jobs(any_db)
    assert balances(accounts) == [1, 1, 0, 0]
    assert job.outcome == "cancelled"


def test_results_that_wait_go_along(any_db: Any, queue: Any, accounts: Any) -> None:
    first = queue.put(zodbjobs.Job(sample.note, 1))
    job = put(queue, accounts)
    with bench(any_db) as worker:

        def look() -> None:
            with any_db.transaction() as connection:
                large_jobs.met.append(connection.get(first._p_oid).outcome)

        at(1, look)
        worker.run()
        assert worker.results[0].outcome == "succeeded"
    assert large_jobs.met == ["succeeded"]
    assert balances(accounts) == [1] * NUMBER
    assert (first.outcome, job.outcome) == ("succeeded", "succeeded")


def test_a_conflict_harms_no_result_that_waits(any_db: Any, queue: Any, accounts: Any) -> None:
    first = queue.put(zodbjobs.Job(sample.note, 1))
    job = put(queue, accounts)
    with bench(any_db) as worker:

        def conflict() -> None:
            with any_db.transaction() as connection:
                connection.root()["accounts"][0].transfers += 1

        at(0, conflict)
        worker.run()
        worker.runner.flush()
    assert sample.noted == [1]
    assert balances(accounts) == [1] * NUMBER
    assert (first.outcome, job.outcome, job.conflicts) == ("succeeded", "succeeded", 1)


def test_an_error_is_rolled_back_to_the_last_one(any_db: Any, queue: Any, accounts: Any) -> None:
    job = zodbjobs.Job(large_jobs.in_steps, *accounts)
    job.retry_policy = zodbjobs.Retry(1)
    queue.put(job)
    transaction.commit()

    def fail() -> None:
        raise ValueError("at the third")

    at(2, fail)
    assert run_jobs(any_db) == 2
    assert balances(accounts) == [1] * NUMBER
    assert (job.outcome, job.attempts) == ("succeeded", 2)


def test_a_retry_by_hand_goes_on(any_db: Any, queue: Any, accounts: Any) -> None:
    job = put(queue, accounts)
    at(2, lambda: sample.fail())
    run_jobs(any_db)
    assert balances(accounts) == [1, 1, 0, 0]
    assert job.outcome == "failed"
    queue.retry(job)
    transaction.commit()
    run_jobs(any_db)
    assert balances(accounts) == [1] * NUMBER
    assert job.outcome == "succeeded"


def die_in(worker: Bench, claim: Any, number: int) -> None:
    """Die in a job, before the checkpoint of an item."""

    def end() -> None:
        raise KeyboardInterrupt

    mine, transaction.manager.manager = transaction.manager.manager, worker.manager
    at(number, end)
    with pytest.raises(KeyboardInterrupt):
        worker.runner.run(claim)
    transaction.manager.manager = mine
    die(worker)


def doomed_run(db: Any, number: int) -> Bench:
    """A worker that dies before the checkpoint of an item."""
    worker = make_doomed(db)
    (claim,) = worker.claim()
    die_in(worker, claim, number)
    return worker


@pytest.mark.parametrize("policy", [None, zodbjobs.NeverRetry, zodbjobs.Retry(1)])
def test_interruptions_count_since_the_last_one(
    any_db: Any, connection: Any, queue: Any, policy: Any
) -> None:
    """A worker dies again and again, and the job gets on."""
    number = 12
    accounts = connection.root()["accounts"] = [sample.Account() for _ in range(number)]
    job = zodbjobs.Job(large_jobs.in_steps, *accounts)
    job.retry_policy = policy
    queue.put(job)
    transaction.commit()
    for step in range(1, number):
        doomed_run(any_db, step)
    run_jobs(any_db)
    assert balances(accounts) == [1] * number
    assert (job.outcome, job.attempts) == ("succeeded", 1)
    assert job.interruptions <= 1


@pytest.mark.parametrize("quotas", [(), ("few",)])
def test_one_that_ends_its_process_again_and_again_takes_no_other_along(
    any_db: Any, connection: Any, queue: Any, quotas: tuple[str, ...]
) -> None:
    """It gets on, and so is never given up; those that it meets would be, at their tenth time."""
    number = 20
    accounts = connection.root()["accounts"] = [sample.Account() for _ in range(number)]
    queue.quotas.create("few", size=5)
    other = queue.put(zodbjobs.Job(sample.identity, 1))
    transaction.commit()
    job = put(queue, accounts, quota_names=quotas)
    for step in range(1, number):
        worker = make_doomed(any_db)
        claims = [claim for claim in worker.claim() if claim.oid == job._p_oid]
        if not claims:
            break  # the other one has this worker for itself
        die_in(worker, claims[0], step)
    transaction.begin()
    assert (other.outcome, other.interruptions) == (None, 5)
    die(worker)
    large_jobs.before = large_jobs.nothing
    while run_jobs(any_db):
        pass
    transaction.begin()
    assert balances(accounts) == [1] * number
    assert (job.outcome, other.outcome) == ("succeeded", "succeeded")


def test_one_that_never_gets_on_is_given_up(any_db: Any, queue: Any, accounts: Any) -> None:
    job = put(queue, accounts)
    for _ in range(10):
        doomed_run(any_db, 1)
        transaction.begin()
    run_jobs(any_db)
    assert balances(accounts) == [1, 0, 0, 0]
    assert job.outcome == "aborted"


def test_past_its_time_it_can_not_commit(any_db: Any, queue: Any, accounts: Any) -> None:
    with moving_clock() as clock:
        job = put(queue, accounts, timeout=5)
        at(2, lambda: clock.advance(6))
        run_jobs(any_db)
    assert balances(accounts) == [1, 1, 0, 0]
    assert job.failure.type == "zodbjobs.errors.TimedOut"


def in_a_thread() -> None:
    context = contextvars.copy_context()
    with ThreadPoolExecutor(1) as pool:
        pool.submit(context.run, local.checkpoint, 1).result()


def test_what_is_refused(any_db: Any, queue: Any) -> None:
    with pytest.raises(NoCurrentJob):
        local.checkpoint(1)
    with pytest.raises(NoCurrentJob):
        local.cursor()
    changeable = queue.put(zodbjobs.Job(local.checkpoint, [1]))
    elsewhere = queue.put(in_a_thread)
    transaction.commit()
    run_jobs(any_db)
    transaction.begin()
    assert changeable.failure.type == "zodbjobs.errors.BadArgument"
    assert f"the cursor of job {changeable.id} must be immutable" in changeable.failure.message
    assert elsewhere.failure.type == "zodbjobs.errors.BadStatus"
    assert "only in the thread" in elsewhere.failure.message


def test_tearing_down_commits_nothing(any_db: Any, queue: Any, accounts: Any) -> None:
    job = queue.put(large_jobs.TearsDown(large_jobs.deposit_and_fail, accounts[0]))
    transaction.commit()
    run_jobs(any_db)
    assert balances(accounts) == [0] * NUMBER
    assert (job.outcome, job.cursor) == ("failed", None)
    (told,) = large_jobs.met
    assert "can't make a checkpoint in its tear_down" in told
