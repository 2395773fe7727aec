"""Unique keys: a second put returns the job that waits."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
import sample
import transaction
from bench import bench, die, make_doomed, run_in_groups
from meanwhile import commit_meanwhile, committed
from storages import MAKERS
from ZODB.POSException import ConflictError

import zodbjobs
from zodbjobs import defaults, insights
from zodbjobs.errors import BadArgument, BadStatus
from zodbjobs.testing import moving_clock, run_jobs


@pytest.fixture
def mine() -> Any:
    """The test's own transaction manager, which a bench replaces by the runner's."""
    return transaction.manager.manager


def put(queue: Any, value: Any, key: str = "k", **options: Any) -> zodbjobs.Job:
    return queue.put(zodbjobs.Job(sample.note, value), unique=key, **options)  # type: ignore[no-any-return]


def test_while_one_waits_a_second_put_returns_it(any_db: Any, queue: Any, mine: Any) -> None:
    first = put(queue, 1)
    assert (put(queue, 2), first.unique, len(queue)) == (first, "k", 1)
    mine.commit()
    job = zodbjobs.Job(sample.note, 3)
    assert queue.put(job, unique="k", priority=3, begin_after=timedelta(1)) is first
    assert (job.status, job.unique, insights.job_details(first).unique) == ("new", None, "k")
    other = put(queue, 4, "other")
    assert other is not first
    mine.commit()
    assert (run_jobs(any_db), sorted(sample.noted)) == (2, [1, 4])


def test_once_it_has_begun_another_one_is_put(any_db: Any, queue: Any, mine: Any) -> None:
    first = put(queue, 1)
    mine.commit()
    with bench(any_db) as worker:
        (found,) = worker.claim()
        mine.begin()
        assert first.status == "assigned"
        second = put(queue, 2)
        assert second is not first
        assert put(queue, 3) is second
        mine.commit()
        worker.runner.run(found)
        worker.runner.flush()
        worker.dispatcher.step()
        mine.begin()
        assert put(queue, 3) is second
    assert run_jobs(any_db) == 1
    mine.begin()
    assert (sample.noted, put(queue, 4).status) == ([1, 2], "pending")


def test_until_it_has_ended(any_db: Any, queue: Any, mine: Any) -> None:
    first = put(queue, 1, unique_until="ended")
    first.add_callback(sample.note_all)
    mine.commit()
    with bench(any_db) as worker:
        (found,) = worker.claim()
        mine.begin()
        assert (put(queue, 2), first.status) == (first, "assigned")
        worker.runner.run(found)
        worker.runner.flush()
        mine.begin()
        assert first.status == "callbacks"
        second = put(queue, 3, unique_until="ended")
        assert second is not first
        mine.commit()
    assert run_jobs(any_db) == 2


@pytest.mark.parametrize("until", ["begun", "ended"])
def test_who_relies_on_one_that_loses_its_key_conflicts(
    any_db: Any, queue: Any, mine: Any, until: str
) -> None:
    first = put(queue, 1, unique_until=until)
    mine.commit()
    with bench(any_db) as worker:
        claims = worker.claim() if until == "ended" else []
        manager = transaction.TransactionManager()
        connection = any_db.open(manager)
        there = zodbjobs.get_queue(connection)
        try:
            assert put(there, 2, unique_until=until).id == first.id
            for claim in claims or worker.claim():
                worker.runner.run(claim)
            worker.runner.flush()
            with pytest.raises(ConflictError):
                manager.commit()  # though it writes nothing
            manager.begin()
            assert put(there, 2, unique_until=until).id != first.id
            manager.commit()
        finally:
            connection.close()
    assert run_jobs(any_db) == 1


def test_of_two_puts_at_once_one_conflicts(any_db: Any, queue: Any, mine: Any) -> None:
    put(queue, 0)
    mine.commit()
    run_jobs(any_db)
    mine.begin()
    put(queue, 1)
    with committed(any_db) as there:
        put(there, 2)
    with pytest.raises(ConflictError):
        mine.commit()
    mine.abort()
    second = put(queue, 1)
    assert second.args == [2]
    mine.commit()


# A MappingStorage merges nothing: there each two that write to one object conflict.
@pytest.mark.parametrize("any_db", sorted(MAKERS.keys() - {"MappingStorage"}), indirect=True)
def test_keys_that_differ_do_not_conflict(any_db: Any, queue: Any, mine: Any) -> None:
    put(queue, 0, "first")
    mine.commit()
    for n in range(40):
        put(queue, n, f"mine {n}")
        with committed(any_db) as there:
            put(there, n, f"theirs {n}")
        mine.commit()
        if n % 10 == 0:
            run_jobs(any_db)  # one thread fills one inbox, and would split its leaf
            mine.begin()
    run_jobs(any_db)
    assert len(sample.noted) == 81


def test_whoever_goes_leaves_the_key(any_db: Any, queue: Any, mine: Any) -> None:
    first = put(queue, 1)
    first.cancel()
    second = put(queue, 2)
    mine.commit()
    queue.remove(second)
    assert second.unique is None
    third = put(queue, 3, begin_by=timedelta(seconds=1))
    third.fail()
    with moving_clock() as now:
        fourth = put(queue, 4, begin_by=timedelta(seconds=1))
        assert len({first, second, third, fourth}) == 4
        mine.commit()
        now.advance(2)
        assert run_jobs(any_db) == 1
    mine.begin()
    assert (fourth.outcome, sample.noted) == ("expired", [])
    assert put(queue, 5) is not fourth


def test_one_that_is_claimed_to_expire_has_no_key(any_db: Any, queue: Any, mine: Any) -> None:
    with moving_clock() as clock, bench(any_db) as worker:
        mine.begin()
        before = put(queue, 0, "other", begin_after=timedelta(minutes=1))
        first = put(queue, 1, after=[before], begin_by=timedelta(seconds=1))
        mine.commit()
        clock.advance(2)
        (claim,) = worker.claim()
        mine.begin()
        second = put(queue, 2)
        assert second is not first
        mine.commit()
        worker.runner.run(claim)
        worker.runner.flush()
        worker.dispatcher.step()
        mine.begin()
        assert (first.outcome, second.status) == ("expired", "pending")


def test_rescued_it_runs_beside_the_next(any_db: Any, queue: Any, mine: Any) -> None:
    first = put(queue, 1)
    mine.commit()
    doomed = make_doomed(any_db)
    assert doomed.claim()
    die(doomed)
    mine.begin()
    second = put(queue, 2)
    assert second is not first
    mine.commit()
    assert run_jobs(any_db) == 2
    assert sorted(sample.noted) == [1, 2]


@pytest.mark.parametrize("how", ["given back", "paused", "in doubt", "stopped"])
@pytest.mark.parametrize("quotas", [(), ("mail",)])
def test_given_back_unbegun_it_has_its_key_again(
    any_db: Any, queue: Any, mine: Any, how: str, quotas: tuple[str, ...]
) -> None:
    queue.quotas.create("mail")
    first = put(queue, 1, quota_names=quotas)
    mine.commit()
    give_back(any_db, how)
    mine.begin()
    assert (put(queue, 2), len(queue)) == (first, 0 if how == "paused" else 1)
    if how == "paused":
        queue.resume("sample:*")
    mine.commit()
    assert run_jobs(any_db) == 1
    mine.begin()
    assert (first.interruptions, put(queue, 3) is first) == (0, False)


def give_back(db: Any, how: str, meanwhile: Any = lambda: None) -> None:
    """Claim what there is, and give it back unbegun."""
    if how == "stopped":
        stopped = make_doomed(db)
        stopped.registration.drop(stopped.claim())
        die(stopped)
        return
    with bench(db) as worker:
        claims = worker.claim()
        meanwhile()
        if how == "paused":
            with committed(db) as there:
                there.pause("maintenance", match="sample:*")
            for claim in claims:
                worker.runner.run(claim)
            worker.dispatcher.step()
        if how == "in doubt":
            worker.parts.lanes[0].outstanding.clear()
            worker.dispatcher._in_doubt = True
            claims = worker.claim()
        if how != "paused":
            worker.dispatcher.give_back(claims)


def test_given_back_it_waits_beside_the_one_that_has_its_key_now(
    any_db: Any, queue: Any, mine: Any
) -> None:
    first = put(queue, 1)
    mine.commit()
    found = []

    def put_another() -> None:
        with committed(any_db) as there:
            found.append(put(there, 2).id)

    give_back(any_db, "given back", put_another)
    mine.begin()
    assert put(queue, 3).id == found[0] != first.id
    assert len(queue) == 2
    mine.commit()
    assert run_jobs(any_db) == 2
    assert sorted(sample.noted) == [1, 2]


def test_of_a_put_and_who_gives_back_one_conflicts(any_db: Any, queue: Any, mine: Any) -> None:
    put(queue, 1)
    mine.commit()
    with bench(any_db) as worker:
        claims = worker.claim()

        def put_another() -> None:
            with committed(any_db) as there:
                put(there, 2)

        commit_meanwhile(worker.registration.manager, put_another)
        with pytest.raises(ConflictError):
            worker.dispatcher.give_back(claims)
        worker.dispatcher.give_back(claims)
    mine.begin()
    assert put(queue, 3).args == [2]
    assert run_jobs(any_db) == 2


def test_a_key_until_the_end_stays_with_what_is_given_back(
    any_db: Any, queue: Any, mine: Any
) -> None:
    first = put(queue, 1, unique_until="ended")
    mine.commit()
    give_back(any_db, "given back")
    mine.begin()
    assert put(queue, 2, unique_until="ended") is first
    mine.commit()
    assert run_jobs(any_db) == 1


def test_a_retry_takes_the_key_again(any_db: Any, queue: Any, mine: Any) -> None:
    job = queue.put(zodbjobs.Job(sample.fail, "x"), unique="k")
    mine.commit()
    run_jobs(any_db)
    mine.begin()
    second = put(queue, 2)
    with pytest.raises(BadStatus, match="has its unique key 'k'"):
        queue.retry(job)
    assert job.outcome == "failed"
    second.cancel()
    queue.retry(job)
    assert (put(queue, 3), job.unique) == (job, "k")
    mine.commit()
    run_jobs(any_db)


def test_with_quotas_after_others_and_for_later(any_db: Any, queue: Any, mine: Any) -> None:
    queue.quotas.create("mail")
    first = queue.put(sample.nothing)
    with moving_clock() as now:
        job = put(queue, 1, after=[first], quota_names=["mail"], begin_after=timedelta(seconds=5))
        mine.commit()
        assert put(queue, 2) is job
        assert run_jobs(any_db) == 1
        mine.begin()
        assert put(queue, 2) is job
        now.advance(6)
        assert run_jobs(any_db) == 1
        mine.begin()
        assert put(queue, 2) is not job


def test_what_is_refused(queue: Any, mine: Any) -> None:
    for bad in ("", 3, b"k"):
        with pytest.raises(BadArgument, match="unique must be"):
            put(queue, 1, bad)  # type: ignore[arg-type]
    with pytest.raises(BadArgument, match="unique_until is"):
        put(queue, 1, unique_until="done")
    with pytest.raises(BadArgument, match="goes with unique"):
        queue.put(sample.nothing, unique_until="ended")
    put(queue, 1)
    with pytest.raises(TypeError):
        queue.put(3, unique="k")
    assert len(queue) == 1


def test_an_aborted_put_leaves_no_key(any_db: Any, queue: Any, mine: Any) -> None:
    put(queue, 0, "other")
    mine.commit()
    job = put(queue, 1)
    mine.abort()
    second = put(queue, 2)
    assert (second is job, second.status) == (False, "pending")
    mine.commit()
    assert queue.put(job, unique="k") is second
    assert queue.put(job, unique="new") is job
    mine.commit()
    assert run_jobs(any_db) == 3


def test_many_of_one_transaction_give_their_keys_back(any_db: Any, queue: Any, mine: Any) -> None:
    jobs = {
        f"k{n}": put(queue, n, f"k{n}", unique_until="ended")
        for n in range(defaults.SHARED_TOGETHER * 2)
    }
    mine.commit()
    assert run_in_groups(any_db) == len(jobs)
    mine.begin()
    assert {job.outcome for job in jobs.values()} == {"succeeded"}
    assert [key for key, job in jobs.items() if put(queue, 0, key) is job] == []
