"""A job that returns a job waits for it; serial and parallel make one job of many."""

from __future__ import annotations

import contextlib
from typing import Any

import pytest
import sample
import transaction
from bench import Bench, bench, die, make_doomed
from meanwhile import commit_meanwhile, committed
from ZODB.Connection import resetCaches
from ZODB.POSException import ConflictError

import zodbjobs
from zodbjobs import clock, insights
from zodbjobs.errors import BadArgument, BadStatus
from zodbjobs.runtime.dispatcher import Fenced
from zodbjobs.runtime.tasks.rescue import rescue
from zodbjobs.stored.lifecycle.claim import Claim, claim
from zodbjobs.testing import run_jobs


@pytest.fixture
def mine() -> Any:
    """The test's own transaction manager, which a bench replaces by the runner's."""
    return transaction.manager.manager


def put(queue: Any, *args: Any, **options: Any) -> zodbjobs.Job:
    return queue.put(zodbjobs.Job(*args), **options)  # type: ignore[no-any-return]


def run_one(worker: Bench) -> None:
    """Run the first job, and book it."""
    worker.runner.run(claim_one(worker))
    worker.runner.flush()
    worker.dispatcher.step()


def claim_one(worker: Bench) -> Claim:
    """Claim the first job, whoever owns its shard."""
    session = worker.registration.session
    with session.manager:
        queue = session.stored[""]
        (found,) = claim(queue, session.record, 1, clock.now(), queue.shards)
    return found


# Returned jobs


@pytest.mark.promise(18, 19)
def test_it_waits_without_a_slot(any_db: Any, queue: Any, mine: Any, account: Any) -> None:
    outer = put(queue, sample.deposit_and_return, account, zodbjobs.Job(sample.identity, 5))
    callback = outer.add_callback(sample.note)
    mine.commit()
    with bench(any_db) as worker:
        run_one(worker)
        mine.begin()
        (inner,) = list(queue)
        assert (outer.status, outer.result, outer.outcome) == ("active", None, None)
        assert (account.balance, callback.status) == (1, "new")
        info = insights.job_details(outer)
        assert (info.state, info.waits_for, info.worker) == ("waiting", (inner.id,), None)
        assert outer.id in [i.id for i in insights.list_jobs(queue, status="waiting")]
        assert insights.queue_stats(queue, "").active == 1
        with pytest.raises(LookupError):
            queue.remove(outer)
        assert not worker.registration.session.record.leased()
    assert run_jobs(any_db) == 2
    mine.begin()
    assert (outer.status, outer.outcome, outer.result) == ("completed", "succeeded", 5)
    assert (account.balance, sample.noted) == (1, [5])
    assert set(queue.finished()) == {outer, inner, callback}


@pytest.mark.promise(18)
@pytest.mark.parametrize("how", ["fails", "cancelled", "removed"])
def test_it_takes_over_how_the_inner_one_ends(
    any_db: Any, queue: Any, mine: Any, account: Any, how: str
) -> None:
    inner = zodbjobs.Job(sample.fail, "no luck")
    outer = put(queue, sample.deposit_and_return, account, inner)
    mine.commit()
    with bench(any_db) as worker:
        run_one(worker)
        mine.begin()
        if how == "cancelled":
            inner.cancel()
        if how == "removed":
            queue.remove(inner)
        mine.commit()
    run_jobs(any_db)
    mine.begin()
    assert outer.outcome == ("cancelled" if how == "cancelled" else "failed")
    assert account.balance == 1
    expected = "was taken out" if how == "removed" else str(inner.failure)
    assert expected in str(outer.failure)


@pytest.mark.promise(18)
def test_they_nest(any_db: Any, queue: Any, mine: Any) -> None:
    job = zodbjobs.Job(sample.identity, 7)
    for _ in range(4):
        job = zodbjobs.Job(sample.identity, job)
    queue.put(job)
    mine.commit()
    assert run_jobs(any_db) == 5
    mine.begin()
    assert (job.status, job.result) == ("completed", 7)


def test_cancel_reaches_the_inner_ones(any_db: Any, queue: Any, mine: Any) -> None:
    inner = zodbjobs.Job(sample.note, 7)
    middle = zodbjobs.Job(sample.identity, inner)
    outer = put(queue, sample.identity, middle)
    mine.commit()
    with bench(any_db) as worker:
        run_one(worker)
        run_one(worker)
        mine.begin()
        outer.cancel()
        mine.commit()
    assert run_jobs(any_db) == 0
    mine.begin()
    assert {job.outcome for job in (outer, middle, inner)} == {"cancelled"}


def test_one_that_has_ended_applies_at_once(any_db: Any, queue: Any, mine: Any) -> None:
    inner = put(queue, sample.fail, "no luck")
    mine.commit()
    run_jobs(any_db)
    mine.begin()
    outer = put(queue, sample.identity, inner)
    mine.commit()
    run_jobs(any_db)
    mine.begin()
    assert (outer.outcome, str(outer.failure)) == ("failed", str(inner.failure))


def test_a_cycle_is_refused(any_db: Any, queue: Any, mine: Any) -> None:
    itself = put(queue, sample.return_itself)
    outer = put(queue, sample.return_what_waits_for_it)
    mine.commit()
    run_jobs(any_db)
    mine.begin()
    assert itself.outcome == outer.outcome == "failed"
    assert "wait for itself" in outer.failure.message
    assert "->" in outer.failure.message


def test_by_hand() -> None:
    assert zodbjobs.Job(sample.identity, zodbjobs.Job(sample.identity, 3))() == 3


def test_its_worker_dies_before_it_is_booked(
    any_db: Any, queue: Any, mine: Any, account: Any
) -> None:
    outer = put(queue, sample.deposit_and_return, account, zodbjobs.Job(sample.identity, 5))
    mine.commit()
    with contextlib.suppress(Fenced), bench(any_db) as worker:
        worker.runner.run(claim_one(worker))
        mine.begin()
        assert outer.status == "active"
        with committed(any_db) as other:
            rescue(other._p_jar.transaction_manager, other.parent, worker.registration.id)
            other._p_jar.transaction_manager.begin()
    run_jobs(any_db)
    mine.begin()
    assert (outer.result, outer.interruptions, account.balance) == (5, 0, 1)


def test_the_answer_to_its_commit_was_lost(
    any_db: Any, queue: Any, mine: Any, account: Any
) -> None:
    outer = put(queue, sample.deposit_and_return, account, zodbjobs.Job(sample.identity, 5))
    mine.commit()
    with bench(any_db) as worker:
        commit = worker.manager.commit

        def lost() -> None:
            worker.manager.commit = commit
            commit()
            raise ConflictError("what is told, though all is committed")

        worker.manager.commit = lost
        worker.runner.run(claim_one(worker))
    run_jobs(any_db)
    mine.begin()
    assert (outer.result, account.balance) == (5, 1)


@pytest.mark.parametrize("meanwhile", [False, True], ids=["before", "meanwhile"])
def test_the_inner_one_ends_before_it_is_booked(
    any_db: Any, queue: Any, mine: Any, account: Any, meanwhile: bool
) -> None:
    outer = put(queue, sample.deposit_and_return, account, zodbjobs.Job(sample.identity, 5))
    mine.commit()
    with bench(any_db) as worker, bench(any_db) as other:
        worker.runner.run(claim_one(worker))
        if meanwhile:
            commit_meanwhile(worker.registration.manager, lambda: run_one(other))
        else:
            run_one(other)
        with contextlib.suppress(ConflictError):
            worker.dispatcher.step()
        worker.dispatcher.step()
    mine.begin()
    assert (outer.status, outer.result) == ("completed", 5)
    assert list(queue.finished()).count(outer) == 1
    assert run_jobs(any_db) == 0


# Compositions


@pytest.mark.promise(136, 137)
@pytest.mark.parametrize("make", ["serial", "parallel"])
def test_of_many_jobs_one(any_db: Any, queue: Any, mine: Any, make: str) -> None:
    jobs = [zodbjobs.Job(sample.note, n) for n in range(5)]
    whole = queue.put(getattr(zodbjobs, make)(*jobs))
    assert whole.description == f"{make} of 5 jobs"
    mine.commit()
    with bench(any_db) as worker:
        run_one(worker)
        mine.begin()
        assert list(queue) == (jobs[:1] if make == "serial" else jobs)
        assert insights.job_info(whole).state == "waiting"
    assert run_jobs(any_db) == 6
    mine.begin()
    assert sample.noted == [0, 1, 2, 3, 4]
    assert (whole.outcome, whole.result) == ("succeeded", jobs)
    assert list(whole.args) == jobs


@pytest.mark.promise(137, 138, 139)
@pytest.mark.parametrize("make", ["serial", "parallel"])
def test_the_postprocess_gets_the_ended_jobs(
    any_db: Any, queue: Any, mine: Any, make: str
) -> None:
    jobs = [
        zodbjobs.Job(sample.note, 1),
        zodbjobs.Job(sample.fail, "two"),
        zodbjobs.Job(sample.note, 3),
    ]
    post = zodbjobs.Job(sample.outcomes, "of")
    whole = queue.put(getattr(zodbjobs, make)(*jobs, postprocess=post))
    mine.commit()
    run_jobs(any_db)
    mine.begin()
    assert whole.result == ["of", "succeeded", "failed", "succeeded"]
    assert sample.noted == [1, 3]
    with pytest.raises(TypeError):
        getattr(zodbjobs, make)(*jobs, other=1)


@pytest.mark.promise(140)
@pytest.mark.parametrize("make", ["serial", "parallel"])
def test_it_is_extended(any_db: Any, queue: Any, mine: Any, make: str) -> None:
    whole = getattr(zodbjobs, make)(zodbjobs.Job(sample.note, 0), postprocess=sample.outcomes)
    whole.args.append(zodbjobs.Job(sample.note, 1))
    queue.put(whole)
    mine.commit()
    with bench(any_db) as worker:
        run_one(worker)
        mine.begin()
        whole.args.append(zodbjobs.Job(sample.extend_whole, whole))
        mine.commit()
        with pytest.raises(BadStatus):
            whole.args.clear()
        mine.abort()
    run_jobs(any_db)
    mine.begin()
    assert sample.noted == [0, 1, "more"]
    assert whole.result == ["succeeded"] * 4
    with pytest.raises(BadStatus, match="has begun"):
        whole.args.append(zodbjobs.Job(sample.note, 1))


@pytest.mark.parametrize("make", ["serial", "parallel"])
def test_an_empty_one(any_db: Any, queue: Any, mine: Any, make: str) -> None:
    make_one = getattr(zodbjobs, make)
    whole, with_post = queue.put(make_one()), queue.put(make_one(postprocess=sample.add))
    mine.commit()
    run_jobs(any_db)
    mine.begin()
    assert (whole.result, with_post.result) == ([], 0)


@pytest.mark.parametrize("make", ["serial", "parallel"])
def test_a_cancel_reaches_its_parts(any_db: Any, queue: Any, mine: Any, make: str) -> None:
    jobs = [zodbjobs.Job(sample.note, n) for n in range(3)]
    post = zodbjobs.Job(sample.outcomes)
    whole = queue.put(getattr(zodbjobs, make)(*jobs, postprocess=post))
    mine.commit()
    with bench(any_db) as worker:
        run_one(worker)
        run_one(worker)
        mine.begin()
        whole.cancel()
        mine.commit()
    assert run_jobs(any_db) == 0
    mine.begin()
    assert [job.outcome for job in jobs] == ["succeeded", "cancelled", "cancelled"]
    assert whole.outcome == post.outcome == "cancelled"


@pytest.mark.promise(141)
def test_what_has_ended_is_not_run_again(any_db: Any, queue: Any, mine: Any) -> None:
    """If the worker dies in the last part, or before the postprocess."""
    jobs = [zodbjobs.Job(sample.note, n) for n in range(3)]
    whole = queue.put(zodbjobs.serial(*jobs, postprocess=sample.outcomes))
    mine.commit()
    for _ in range(4):
        with contextlib.suppress(Fenced), bench(any_db) as worker:
            run_one(worker)
            claim_one(worker)
            with committed(any_db) as other:
                rescue(other._p_jar.transaction_manager, other.parent, worker.registration.id)
                other._p_jar.transaction_manager.begin()
    run_jobs(any_db)
    mine.begin()
    assert sample.noted == [0, 1, 2]
    assert whole.result == ["succeeded"] * 3


@pytest.mark.parametrize("make", ["serial", "parallel"])
def test_a_retry_runs_again_what_has_failed(
    any_db: Any, queue: Any, mine: Any, account: Any, make: str
) -> None:
    jobs = [zodbjobs.Job(sample.note, n) for n in range(4)]
    jobs[1:3] = [zodbjobs.Job(sample.only_for_rich, account, n) for n in (1, 2)]
    post = zodbjobs.Job(sample.all_or_nothing)
    whole = queue.put(getattr(zodbjobs, make)(*jobs, postprocess=post))
    mine.commit()
    run_jobs(any_db)
    mine.begin()
    assert [job.outcome for job in jobs] == ["succeeded", "failed", "failed", "succeeded"]
    assert whole.outcome == "failed"
    account.balance = 1
    queue.retry(whole)
    mine.commit()
    assert run_jobs(any_db) == 4
    mine.begin()
    assert sorted(sample.noted) == [0, 1, 2, 3]
    assert make == "parallel" or sample.noted[-2:] == [1, 2]
    assert whole.outcome == post.outcome == "succeeded"
    assert whole.result == [0, 1, 2, 3]


def test_a_retry_leaves_each_part_in_lists_once(
    any_db: Any, queue: Any, mine: Any, account: Any
) -> None:
    part, post = (
        zodbjobs.Job(sample.only_for_rich, account, 1),
        zodbjobs.Job(sample.all_or_nothing),
    )
    whole = queue.put(zodbjobs.serial(part, postprocess=post), owner="bob")
    mine.commit()
    run_jobs(any_db)
    mine.begin()
    for balance in (0, 1):
        account.balance = balance
        queue.retry(whole)
        mine.commit()
        run_jobs(any_db)
        mine.begin()
        listed = list(zodbjobs.jobs_of("bob", queue))
        assert len(listed) == 3
        assert {id(job) for job in listed} == {id(whole), id(part), id(post)}
    assert whole.result == [1]


def test_a_retry_after_a_cancel_goes_on_with_what_is_left(
    any_db: Any, queue: Any, mine: Any
) -> None:
    jobs = [zodbjobs.Job(sample.note, n) for n in range(3)]
    whole = queue.put(zodbjobs.serial(*jobs, postprocess=sample.outcomes))
    mine.commit()
    with bench(any_db) as worker:
        run_one(worker)
        run_one(worker)
        mine.begin()
        whole.cancel()
        mine.commit()
    queue.retry(whole)
    mine.commit()
    run_jobs(any_db)
    mine.begin()
    assert sample.noted == [0, 1, 2]
    assert whole.result == ["succeeded"] * 3


def test_its_parts_need_not_be_listed(any_db: Any, queue: Any, mine: Any, account: Any) -> None:
    part, post = zodbjobs.Job(sample.only_for_rich, account, 1), zodbjobs.Job(sample.outcomes)
    whole = zodbjobs.serial(part, postprocess=post, lists_parts=False)
    queue.put(whole, owner="bob", realm="/one", about=account)
    mine.commit()
    run_jobs(any_db)
    mine.begin()
    assert (part.owner, part.realm, part.about) == ("bob", "/one", None)
    for found in (
        zodbjobs.jobs_of("bob", queue),
        zodbjobs.jobs_in("/one", queue),
        zodbjobs.jobs_about(account),
    ):
        assert list(found) == [whole]


@pytest.mark.parametrize("make", ["serial", "parallel"])
def test_its_progress_is_how_many_parts_have_ended(
    any_db: Any, queue: Any, mine: Any, make: str
) -> None:
    jobs = [zodbjobs.Job(sample.note, n) for n in range(4)]
    jobs[2] = zodbjobs.Job(sample.fail)
    whole = queue.put(getattr(zodbjobs, make)(*jobs))
    mine.commit()
    seen = []
    with bench(any_db) as worker:
        for _ in range(6):
            mine.begin()
            seen.append(insights.job_info(whole).percent)
            run_one(worker)
    mine.begin()
    assert seen == [None, 0, 25, 50, 75, 100]
    assert (whole.outcome, insights.job_info(whole).percent) == ("succeeded", 100)


def test_the_progress_of_many_side_by_side_counts_whole_hundreds(
    any_db: Any, queue: Any, mine: Any
) -> None:
    whole = queue.put(zodbjobs.parallel(*[zodbjobs.Job(sample.note, n) for n in range(250)]))
    mine.commit()
    seen = []
    with bench(any_db) as worker:
        run_one(worker)
        for count in (100, 100, 50):
            mine.begin()
            seen.append(round(whole.progress.percent))
            for _ in range(count):
                run_one(worker)
    assert seen == [0, 33, 67]


def test_they_nest_as_well(any_db: Any, queue: Any, mine: Any) -> None:
    inner = zodbjobs.parallel(*[zodbjobs.Job(sample.identity, n) for n in range(3)])
    whole = queue.put(zodbjobs.serial(inner, postprocess=sample.outcomes))
    mine.commit()
    run_jobs(any_db)
    mine.begin()
    assert whole.result == ["succeeded"]
    assert [job.result for job in inner.result] == [0, 1, 2]


def test_what_is_refused(queue: Any) -> None:
    job, waiting = zodbjobs.Job(sample.nothing), put(queue, sample.nothing)
    whole = zodbjobs.parallel(job)
    for refused in (
        lambda: zodbjobs.serial(job),
        lambda: zodbjobs.serial(waiting),
        lambda: queue.put(job),
        lambda: waiting.add_callback(job),
        lambda: whole.args.append(waiting),
    ):
        with pytest.raises(BadStatus):
            refused()
    outer = zodbjobs.parallel(whole)
    with pytest.raises(BadArgument, match="part of itself"):
        whole.args.append(outer)
    with pytest.raises(TypeError):
        zodbjobs.parallel(3)  # type: ignore[arg-type]
    del whole.args[0]
    queue.put(job)


def test_a_composition_by_hand() -> None:
    jobs = [zodbjobs.Job(sample.note, n) for n in range(3)]
    assert zodbjobs.serial(*jobs, postprocess=sample.outcomes)() == ["succeeded"] * 3
    assert sample.noted == [0, 1, 2]


def test_the_tree_shows_what_waits_for_what(any_db: Any, queue: Any, mine: Any) -> None:
    parts = [zodbjobs.Job(sample.nothing) for _ in range(2)]
    whole = queue.put(zodbjobs.parallel(*parts))
    callback = whole.add_callback(sample.note)
    last = put(queue, sample.nothing, after=[whole])
    mine.commit()
    with bench(any_db) as worker:
        run_one(worker)
    mine.begin()
    rows = [(row.depth, row.relation, row.job.id) for row in insights.job_tree(queue, last.id)]
    (post,) = insights.job_details(whole).waits_for
    assert rows == [
        (0, "itself", last.id),
        (1, "waits for", whole.id),
        (2, "waits for", post),
        *((3, "waits for", part.id) for part in parts),
        *((2, "part", part.id) for part in parts),
        (2, "callback", callback.id),
    ]
    with pytest.raises(BadArgument, match="no job 1"):
        insights.job_tree(queue, "1")


def test_one_that_waits_for_a_job_that_cannot_be_loaded_here_ends_as_that(
    any_db: Any, queue: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has ended, and its worker died before it could book that."""
    outer = queue.put(zodbjobs.Job(sample.return_special))
    transaction.commit()
    doomed = make_doomed(any_db)
    doomed.run()
    doomed.runner.flush()
    doomed.run()
    doomed.runner.flush()
    die(doomed)
    transaction.abort()
    assert outer.status == "active"
    queue._p_jar.close()
    with monkeypatch.context() as patch:
        patch.delattr(sample, "SpecialJob")
        resetCaches()
        run_jobs(any_db)
    resetCaches()
    with committed(any_db) as there:
        again = there.get(outer.id)
        assert (again.outcome, again.result) == ("succeeded", 3)
        assert list(there.parent.workers) == []
