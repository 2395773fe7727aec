"""Jobs that are put after others: the last end of these puts them."""

from __future__ import annotations

import contextlib
from datetime import timedelta
from typing import Any

import pytest
import sample
import transaction
from bench import Bench, bench, die, make_doomed
from meanwhile import commit_meanwhile, committed
from ZODB.POSException import ConflictError

import zodbjobs
from zodbjobs import clock, defaults, insights
from zodbjobs.errors import BadArgument
from zodbjobs.runtime.dispatcher import Fenced
from zodbjobs.runtime.tasks.rescue import rescue
from zodbjobs.stored.lifecycle.claim import Claim, claim, next_due
from zodbjobs.testing import moving_clock, run_jobs


@pytest.fixture
def mine() -> Any:
    """The test's own transaction manager, which a bench replaces by the runner's."""
    return transaction.manager.manager


def put(queue: Any, *args: Any, **options: Any) -> zodbjobs.Job:
    return queue.put(zodbjobs.Job(*args), **options)  # type: ignore[no-any-return]


def test_it_waits_for_all_of_them(any_db: Any, queue: Any, mine: Any) -> None:
    first, other = put(queue, sample.note, 1), put(queue, sample.note, 2)
    job = put(queue, sample.note, "last", after=[first, other], priority=7)
    assert (job.status, len(queue), list(queue)) == ("pending", 2, [first, other])
    mine.commit()
    info = insights.job_details(job)
    assert (info.state, info.waits_for) == ("blocked", (first.id, other.id))
    assert [i.id for i in insights.list_jobs(queue, status="blocked")] == [job.id]
    assert insights.queue_stats(queue, "").blocked == 1
    assert run_jobs(any_db) == 3
    assert sample.noted == [1, 2, "last"]
    mine.begin()
    assert insights.job_details(job).waits_for == ()
    assert insights.queue_stats(queue, "").blocked == 0


def test_ids_do_as_well_and_ended_ones_apply_at_once(any_db: Any, queue: Any, mine: Any) -> None:
    first = put(queue, sample.note, 1)
    mine.commit()
    job = put(queue, sample.note, 2, after=[first.id])
    mine.commit()
    assert run_jobs(any_db) == 2
    mine.begin()
    last = put(queue, sample.note, 3, after=[first, job.id])
    assert list(queue) == [last]
    mine.commit()
    run_jobs(any_db)
    assert sample.noted == [1, 2, 3]


@pytest.mark.parametrize("how", ["fails", "cancelled", "removed", "expires", "skipped"])
@pytest.mark.parametrize("on_failure", ["run", "skip"])
def test_one_that_ends_without_success(
    any_db: Any, queue: Any, mine: Any, how: str, on_failure: str
) -> None:
    with moving_clock() as moved:
        function = sample.fail if how == "fails" else sample.identity
        first = put(queue, function, "x", begin_by=timedelta(seconds=10))
        between = first
        if how == "skipped":
            between = put(queue, sample.nothing, after=[first], on_failure="skip")
        job = put(queue, sample.note, "last", after=[between], on_failure=on_failure)
        callback = job.add_callback(sample.note)
        mine.commit()
        if how in ("cancelled", "skipped"):
            first.cancel()
        if how == "removed":
            queue.remove(first)
        mine.commit()
        if how == "expires":
            moved.advance(20)
        run_jobs(any_db)
    mine.begin()
    assert job.status == callback.status == "completed"
    if on_failure == "skip":
        assert job.outcome == "skipped"
        assert [failure.type for failure in sample.noted] == ["zodbjobs.errors.Skipped"]
    else:
        assert job.outcome == "succeeded"
        assert sample.noted == ["last", "last"]


def test_one_that_failed_before_skips_at_once(any_db: Any, queue: Any, mine: Any) -> None:
    first = put(queue, sample.fail, "x")
    mine.commit()
    run_jobs(any_db)
    mine.begin()
    job = put(queue, sample.note, 1, after=[first], on_failure="skip")
    mine.commit()
    assert (job.status, job.outcome) == ("completed", "skipped")
    assert job in set(queue.finished())


def test_a_long_chain_is_skipped(any_db: Any, queue: Any, mine: Any) -> None:
    first = job = put(queue, sample.nothing)
    for _ in range(1_500):
        job = put(queue, sample.nothing, after=[job], on_failure="skip")
    mine.commit()
    first.cancel()
    mine.commit()
    assert job.outcome == "skipped"


def test_a_retried_one_opens_nothing_again(any_db: Any, queue: Any, mine: Any) -> None:
    first, other = put(queue, sample.fail, "x"), put(queue, sample.fail, "y")
    job = put(queue, sample.note, "last", after=[first, other])
    mine.commit()
    with bench(any_db) as worker:
        claims = worker.claim()
        worker.runner.run(claims[0])
        worker.runner.flush()
        worker.dispatcher.step()
        mine.begin()
        queue.retry(first)
        mine.commit()
        assert job.status == "pending"
        for claim in worker.claim():
            worker.runner.run(claim)
        worker.runner.flush()
        worker.dispatcher.step()
        mine.begin()
        assert insights.job_details(job).state == "blocked"
        worker.runner.run(claims[1])
    run_jobs(any_db)
    assert sample.noted == ["last"]


def test_one_that_is_parked_holds_the_others_up(
    any_db: Any, queue: Any, mine: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = put(queue, sample.vanishing, 1)
    job = put(queue, sample.note, 2, after=[first])
    mine.commit()
    with monkeypatch.context() as patch:
        patch.delattr(sample, "vanishing")
        patch.setattr("zodbjobs.stored.lifecycle.calls._found", {})
        run_jobs(any_db)
    mine.begin()
    assert (first.parked is None, insights.job_details(job).state) == (False, "blocked")
    queue.retry(first)
    mine.commit()
    run_jobs(any_db)
    assert sample.noted == [2]


def test_its_time_and_its_deadline_go_on_counting(any_db: Any, queue: Any, mine: Any) -> None:
    with moving_clock() as moved:
        first = put(queue, sample.note, 1)
        later = put(queue, sample.note, 2, after=[first], begin_after=timedelta(seconds=10))
        parked = put(queue, sample.note, 3, begin_after=timedelta(days=1))
        late = put(queue, sample.note, 4, after=[parked], begin_by=timedelta(seconds=5))
        gone = put(queue, sample.note, 5, after=[first], begin_by=timedelta(seconds=5))
        mine.commit()
        assert run_jobs(any_db) == 2
        mine.begin()
        assert (later.status, late.status, gone.status) == ("pending", "pending", "completed")
        moved.advance(6)
        assert run_jobs(any_db) == 1
        mine.begin()
        assert (late.status, late.outcome) == ("completed", "expired")
        moved.advance(5)
        assert run_jobs(any_db) == 1
        assert sample.noted == [1, 5, 2]
        moved.advance(86_400)
        assert run_jobs(any_db) == 1  # its gate opens for nobody
        mine.begin()
        assert sample.noted == [1, 5, 2, 3]


def test_a_worker_wakes_for_a_deadline(any_db: Any, queue: Any, mine: Any) -> None:
    """Though nothing is due, and nobody commits."""
    with moving_clock() as moved:
        first = put(queue, sample.note, 1, begin_after=timedelta(days=1))
        put(queue, sample.note, 2, after=[first], begin_by=timedelta(seconds=5))
        mine.commit()
        run_jobs(any_db)
        mine.begin()
        due = next_due(queue)
        assert due is not None
        moved.advance(5.001)
        assert due <= moved.now()


@pytest.mark.parametrize("gate", ["after", "quota_names"])
@pytest.mark.parametrize("how", ["dies", "is in doubt", "is in doubt, and dies"])
def test_what_came_too_late_only_ends_whoever_takes_it_over(
    any_db: Any, queue: Any, mine: Any, gate: str, how: str
) -> None:
    """Also by a clock that is behind: it was taken from what it waited for."""
    queue.quotas.create("mail")
    with moving_clock() as moved, bench(any_db) as other:
        first = put(queue, sample.note, 1, quota_names=["mail"])
        mine.commit()
        assert len(other.claim()) == 1
        mine.begin()
        waits_for: Any = {"after": [first], "quota_names": ["mail"]}[gate]
        before = moved.datetime()
        job = put(queue, sample.note, 2, begin_by=timedelta(seconds=5), **{gate: waits_for})
        mine.commit()
        assert other.claim() == []
        moved.advance(6)
        worker = make_doomed(any_db)
        worker.parts.lanes[0].claimer._ownership._owns_all = True
        (claimed,) = [claim for _ in range(2) for claim in worker.claim()]
        assert claimed.too_late
        moved.set(before)
        if how.startswith("is in doubt"):
            worker.parts.lanes[0].outstanding.clear()
            worker.dispatcher._in_doubt = True
            assert worker.claim() == [claimed]
        if how.endswith("dies"):
            die(worker)
            other.registration.rescue_dead()
            other.parts.lanes[0].claimer._ownership._owns_all = True
            (claimed,) = other.claim()
            worker = other
        worker.runner.run(claimed)
        worker.runner.flush()
        worker.dispatcher.step()
        mine.begin()
        assert (job.outcome, job.interruptions, sample.noted) == ("expired", 0, [])
        if worker is not other:
            worker.close()


@pytest.mark.parametrize("how", ["cancelled", "removed"])
def test_it_is_taken_out_itself(any_db: Any, queue: Any, mine: Any, how: str) -> None:
    first = put(queue, sample.note, 1)
    job = put(queue, sample.note, 2, after=[first])
    mine.commit()
    if how == "cancelled":
        job.cancel()
    else:
        queue.remove(job)
    mine.commit()
    assert run_jobs(any_db) == 1
    mine.begin()
    assert job.status == ("completed" if how == "cancelled" else "new")
    if how == "removed":
        queue.put(job)
        mine.commit()
        assert run_jobs(any_db) == 1


def test_put_again_it_waits_for_its_new_predecessors_only(
    any_db: Any, queue: Any, mine: Any
) -> None:
    old = put(queue, sample.note, "old")
    new = put(queue, sample.note, "new", begin_after=timedelta(days=1))
    job = put(queue, sample.note, "last", after=[old])
    mine.commit()
    queue.remove(job)
    queue.put(job, after=[new])
    mine.commit()
    assert run_jobs(any_db) == 1
    mine.begin()
    assert insights.job_details(job).waits_for == (new.id,)
    new.cancel()
    mine.commit()
    run_jobs(any_db)
    assert sample.noted == ["old", "last"]


def test_after_a_callback(any_db: Any, queue: Any, mine: Any) -> None:
    first = put(queue, sample.identity, 1)
    callback = first.add_callback(sample.note)
    put(queue, sample.note, "last", after=[callback])
    mine.commit()
    assert run_jobs(any_db) == 3
    assert sample.noted == [1, "last"]


def test_results_are_arguments(any_db: Any, queue: Any, mine: Any) -> None:
    one, two = put(queue, sample.identity, [1]), put(queue, sample.fail, "two")
    total = put(queue, sample.note_all, zodbjobs.result_of(one), zodbjobs.result_of(two))
    mine.commit()
    assert insights.job_details(total).state == "blocked"
    run_jobs(any_db)
    assert sample.noted == [([1], "two")]
    mine.begin()
    removed = put(queue, sample.identity, 1)
    broken = put(queue, sample.note, zodbjobs.result_of(removed))
    mine.commit()
    queue.remove(removed)
    mine.commit()
    run_jobs(any_db)
    mine.begin()
    assert broken.outcome == "failed"
    assert "has no result" in broken.failure.message


def test_what_is_refused(any_db: Any, queue: Any, mine: Any) -> None:
    first, new = put(queue, sample.nothing), zodbjobs.Job(sample.nothing)
    ended = put(queue, sample.nothing)
    mine.commit()
    run_jobs(any_db)
    mine.begin()
    queue.forget(ended)
    with committed(any_db) as other:
        foreign = other.get(first.id)
    for bad in ([new], [ended], ["0"], ["x"], [foreign], [3], first):
        with pytest.raises(BadArgument):
            put(queue, sample.nothing, after=bad)
    with pytest.raises(BadArgument, match="on_failure"):
        put(queue, sample.nothing, after=[first], on_failure="wait")
    with pytest.raises(BadArgument, match="is new"):
        put(queue, sample.identity, zodbjobs.result_of(new))
    with pytest.raises(TypeError):
        zodbjobs.result_of(3)  # type: ignore[arg-type]
    assert len(queue) == 0


def test_a_cycle_is_refused(queue: Any, mine: Any) -> None:
    job = zodbjobs.Job(sample.nothing)
    callback = job.add_callback(sample.nothing)
    other = put(queue, sample.nothing, after=[callback])
    with pytest.raises(BadArgument, match=r"would wait for itself: .* -> .* -> "):
        queue.put(job, after=[other])
    with pytest.raises(BadArgument, match="would wait for itself"):
        queue.put(job, after=[callback])
    queue.put(job)


# Many


@pytest.fixture
def many(queue: Any) -> list[zodbjobs.Job]:
    """More jobs than one gate counts."""
    return queue.put_many([zodbjobs.Job(sample.identity, n) for n in range(330)])  # type: ignore[no-any-return]


def test_of_many_it_is_the_last(any_db: Any, queue: Any, mine: Any, many: Any) -> None:
    job = put(queue, sample.note, "last", after=many)
    mine.commit()
    assert len({id(gate) for member in many for gate in member._waiters}) == 4
    many[200].cancel()
    mine.commit()
    with bench(any_db) as worker:
        for claim in worker.claim(328):
            worker.runner.run(claim)
        worker.runner.flush()
        worker.dispatcher.step()
        mine.begin()
        assert insights.job_details(job).waits_for == (many[-1].id,)
    assert run_jobs(any_db) == 2
    assert sample.noted == ["last"]


# The last two at once


def claim_one(worker: Bench) -> Claim:
    """Claim the first job, whoever owns its shard."""
    session = worker.registration.session
    with session.manager:
        queue = session.stored[""]
        (found,) = claim(queue, session.record, 1, clock.now(), queue.shards)
    return found


def claimed_alone(worker: Bench, job: zodbjobs.Job) -> None:
    """Claim one job, and run it."""
    found = claim_one(worker)
    assert found.oid == job._p_oid
    worker.runner.run(found)
    worker.runner.flush()


@pytest.mark.parametrize("failing", [False, True], ids=["succeed", "one fails"])
def test_the_last_two_end_at_once(any_db: Any, queue: Any, mine: Any, failing: bool) -> None:
    one = put(queue, sample.fail if failing else sample.identity, "x")
    two = put(queue, sample.identity, 2)
    job = put(queue, sample.note, "last", after=[one, two], on_failure="skip")
    mine.commit()
    with bench(any_db) as worker, bench(any_db) as other:
        claimed_alone(worker, one)
        claimed_alone(other, two)
        commit_meanwhile(worker.registration.manager, other.dispatcher.step)
        with pytest.raises(ConflictError):
            worker.dispatcher.step()
        worker.dispatcher.step()
    run_jobs(any_db)
    mine.begin()
    assert job.outcome == ("skipped" if failing else "succeeded")
    assert sample.noted == ([] if failing else ["last"])


def test_one_ends_while_the_last_is_cancelled(any_db: Any, queue: Any, mine: Any) -> None:
    one, two = put(queue, sample.identity, 1), put(queue, sample.identity, 2)
    job = put(queue, sample.note, "last", after=[one, two])
    mine.commit()

    def cancel() -> None:
        with committed(any_db) as theirs:
            theirs.get(two.id).cancel()

    with bench(any_db) as worker:
        claimed_alone(worker, one)
        commit_meanwhile(worker.registration.manager, cancel)
        with contextlib.suppress(ConflictError):
            worker.dispatcher.step()
        worker.dispatcher.step()
    run_jobs(any_db)
    mine.begin()
    assert (job.outcome, sample.noted) == ("succeeded", ["last"])


def test_the_jobs_that_write_are_not_run_again_for_each_other(
    any_db: Any, queue: Any, mine: Any, account: Any
) -> None:
    """Though one is counted by their gate while the other's transaction is open."""
    other = account._p_jar.root()["other"] = sample.Account()
    mine.commit()
    one = put(queue, account.deposit, 1)
    two = put(queue, other.deposit, 1)
    last = put(queue, sample.note, "last", after=[one, two])
    mine.commit()

    with bench(any_db) as worker, bench(any_db) as rival:
        mine_claim, rivals = claim_one(worker), claim_one(rival)

        def end_the_other() -> None:
            rival.runner.run(rivals)
            rival.dispatcher.step()

        commit_meanwhile(worker.manager, end_the_other)
        worker.runner.run(mine_claim)
        mine.begin()
        assert one.outcome == two.outcome == "succeeded"
        assert one.conflicts == two.conflicts == 0
    run_jobs(any_db)
    mine.begin()
    assert last.outcome == "succeeded"


# Put after a job that a worker holds


@pytest.fixture(params=["alone", "of many"])
def held(request: pytest.FixtureRequest, any_db: Any, queue: Any, mine: Any) -> Any:
    """Jobs put one by one, or with shared results; the last of them."""
    number = 1 if request.param == "alone" else 2 * defaults.SHARED_TOGETHER
    jobs = queue.put_many([zodbjobs.Job(sample.identity, n) for n in range(number)])
    mine.commit()
    return jobs[-1]


def put_elsewhere(db: Any, job: zodbjobs.Job) -> None:
    with committed(db) as other:
        other.put(zodbjobs.Job(sample.note, "last"), after=[job.id])


@pytest.mark.parametrize("when", ["before", "meanwhile"])
def test_put_while_it_runs(any_db: Any, queue: Any, mine: Any, held: Any, when: str) -> None:
    with bench(any_db) as worker:
        worker.run(100)
        if when == "before":
            put_elsewhere(any_db, held)
        else:
            commit_meanwhile(worker.manager, lambda: put_elsewhere(any_db, held))
        worker.runner.flush()
        mine.begin()
        assert held.status == "completed"
    run_jobs(any_db)
    assert sample.noted == ["last"]


def test_it_ends_while_one_is_put(any_db: Any, queue: Any, mine: Any, held: Any) -> None:
    with bench(any_db) as worker:
        worker.run(100)
        mine.begin()
        put(queue, sample.note, "last", after=[held])
        worker.runner.flush()
        with pytest.raises(ConflictError):
            mine.commit()
        mine.abort()
        put_elsewhere(any_db, held)
    run_jobs(any_db)
    assert sample.noted == ["last"]


@pytest.mark.parametrize("booked", [False, True], ids=["not booked", "booked"])
def test_its_worker_dies(any_db: Any, queue: Any, mine: Any, held: Any, booked: bool) -> None:
    with contextlib.suppress(Fenced), bench(any_db) as worker:
        worker.run(100)
        put_elsewhere(any_db, held)
        worker.runner.flush()
        if booked:
            worker.dispatcher.step()
        with committed(any_db) as other:
            rescue(other._p_jar.transaction_manager, other.parent, worker.registration.id)
            other._p_jar.transaction_manager.begin()
    run_jobs(any_db)
    assert sample.noted == ["last"]


def test_a_member_ends_and_its_worker_dies(any_db: Any, queue: Any, mine: Any) -> None:
    """Its end is committed, and counted by the rescue."""
    member = put(queue, sample.identity, 1)
    put(queue, sample.note, "last", after=[member])
    mine.commit()
    with contextlib.suppress(Fenced), bench(any_db) as worker:
        worker.run(1)
        worker.runner.flush()
        with committed(any_db) as other:
            rescue(other._p_jar.transaction_manager, other.parent, worker.registration.id)
            other._p_jar.transaction_manager.begin()
    run_jobs(any_db)
    assert sample.noted == ["last"]


def test_a_member_is_forgotten_before_it_is_booked(any_db: Any, queue: Any, mine: Any) -> None:
    member = put(queue, sample.identity, 1)
    job = put(queue, sample.note, "last", after=[member])
    mine.commit()
    with bench(any_db) as worker:
        worker.run(1)
        worker.runner.flush()
        mine.begin()
        queue.forget(member)
        mine.commit()
    run_jobs(any_db)
    mine.begin()
    assert (sample.noted, job.outcome) == (["last"], "succeeded")


def test_an_aborted_put_leaves_nothing_in_a_callback_that_is_not_stored(
    any_db: Any, queue: Any
) -> None:
    """Also after a savepoint, with which ZODB drops what was in the gate."""
    job = zodbjobs.Job(sample.nothing)
    callback = job.add_callback(zodbjobs.Job(sample.note_all, 1))
    queue.put(zodbjobs.Job(sample.nothing), after=[callback])
    transaction.savepoint()
    transaction.abort()
    queue.put(job)
    transaction.commit()
    assert run_jobs(any_db) == 2
    transaction.begin()
    assert [job.status, callback.status] == ["completed"] * 2
    assert callback._waiters == ()
