"""Callbacks: jobs of their own that the end of a job puts, in the commit that ends it."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
import sample
import transaction
from bench import Bench, bench, die, make_doomed, run_in_groups
from meanwhile import commit_meanwhile, committed
from ZODB.Connection import resetCaches
from ZODB.POSException import ConflictError

import zodbjobs
from zodbjobs import clock, defaults
from zodbjobs.errors import BadArgument, BadStatus
from zodbjobs.runtime.dispatcher import Fenced
from zodbjobs.runtime.tasks.rescue import rescue
from zodbjobs.stored.lifecycle import complete
from zodbjobs.stored.lifecycle.keys import LAST
from zodbjobs.testing import moving_clock, run_jobs


class Mine:
    """The test's own transaction manager, which a bench replaces by the runner's."""

    manager: Any

    def __getattr__(self, name: str) -> Any:
        return getattr(self.manager, name)


mine = Mine()


@pytest.fixture(autouse=True)
def _own_manager() -> None:
    mine.manager = transaction.manager.manager


def put(queue: Any, *args: Any, **options: Any) -> zodbjobs.Job:
    return queue.put(zodbjobs.Job(*args), **options)  # type: ignore[no-any-return]


def seen(*jobs: Any) -> list[str]:
    mine.begin()
    return [job.status for job in jobs]


@pytest.mark.promise(29, 31, 32, 35)
@pytest.mark.parametrize("fails", [False, True], ids=["succeeds", "fails"])
def test_they_get_the_result_or_the_failure(any_db: Any, queue: Any, fails: bool) -> None:
    job = put(queue, sample.note_and_fail if fails else sample.note, 1)
    callbacks = [job.add_callback(zodbjobs.Job(sample.note_all, n)) for n in range(3)]
    assert {callback.status for callback in callbacks} == {"new"}
    mine.commit()
    assert run_jobs(any_db) == 4
    assert seen(job, *callbacks) == ["completed"] * 4
    result = job.result
    assert sample.noted == [1, *((n, sample.plain(result)) for n in range(3))]
    assert job.outcome == ("failed" if fails else "succeeded")
    assert list(job.callbacks) == callbacks
    assert len({job.id, *(callback.id for callback in callbacks)}) == 4


@pytest.mark.promise(22)
def test_they_are_put_in_the_commit_that_ends_the_job(any_db: Any, queue: Any) -> None:
    job = put(queue, sample.identity, 5)
    callback = job.add_callback(sample.note)
    mine.commit()
    with bench(any_db) as worker:
        worker.run(1)
        worker.runner.flush()
        assert seen(job, callback) == ["callbacks", "pending"]
        assert (job.result, job.outcome, list(queue)) == (5, "succeeded", [callback])
        with pytest.raises(BadStatus, match="callbacks"):
            queue.retry(job)
    assert run_jobs(any_db) == 1
    assert seen(job) == ["completed"]


@pytest.mark.promise(30, 34)
@pytest.mark.parametrize("fails", [False, True], ids=["succeeds", "fails"])
def test_one_of_a_pair_runs(any_db: Any, queue: Any, fails: bool) -> None:
    job = put(queue, sample.note_and_fail if fails else sample.note, 1)
    handle = job.add_callbacks(
        success=zodbjobs.Job(sample.note_all, "success"),
        failure=zodbjobs.Job(sample.note_all, "failure"),
    )
    assert (handle.status, handle.chosen, handle.result) == ("new", None, None)
    mine.commit()
    run_jobs(any_db)
    mine.begin()
    chosen = handle.failure if fails else handle.success
    other = handle.success if fails else handle.failure
    assert (handle.chosen, handle.status) == (chosen, "completed")
    assert handle.result == chosen.result == ("failure" if fails else "success")
    assert seen(job, other) == ["completed", "new"]
    assert len(sample.noted) == 2


@pytest.mark.promise(33, 40, 151)
def test_they_are_chained(any_db: Any, queue: Any, caplog: pytest.LogCaptureFixture) -> None:
    job = put(queue, sample.fail, "no luck")
    handle = job.add_callbacks(failure=zodbjobs.Job(sample.identity_of_last, "mended"))
    last = handle.add_callback(sample.note)
    mine.commit()
    assert run_jobs(any_db) == 3
    assert sample.noted == ["mended"]
    told = [(r.levelname, r.message) for r in caplog.records if "before what follows" in r.message]
    assert [level for level, _ in told] == ["INFO", "INFO"]
    assert handle.failure.id in told[0][1]
    assert seen(job, handle, last) == ["completed"] * 3


@pytest.mark.promise(33)
def test_a_missing_branch_passes_the_outcome_through(any_db: Any, queue: Any) -> None:
    job = put(queue, sample.identity, 7)
    handle = job.add_callbacks(failure=sample.note)
    inner = handle.add_callbacks(failure=sample.note)
    last = inner.add_callbacks(success=sample.note)
    mine.commit()
    assert run_jobs(any_db) == 2
    assert sample.noted == [7]
    mine.begin()
    assert (handle.chosen, handle.result, handle.outcome) == (None, 7, "succeeded")
    assert last.success.status == job.status == "completed"


@pytest.mark.promise(36, 28)
@pytest.mark.parametrize("by_hand", [False, True], ids=["by a worker", "by hand"])
def test_added_to_an_ended_job_they_are_put_at_once(
    any_db: Any, queue: Any, by_hand: bool
) -> None:
    job = zodbjobs.Job(sample.identity, 3)
    if by_hand:
        job()
        callback = job.add_callback(sample.note)
        assert sample.noted == [3]
    else:
        queue.put(job)
        mine.commit()
        run_jobs(any_db)
        mine.begin()
        callback = job.add_callback(sample.note)
        assert (job.status, callback.status) == ("completed", "pending")
        mine.commit()
        assert run_jobs(any_db) == 1
        mine.begin()
    assert (job.status, callback.status, callback.result) == ("completed", "completed", 3)
    assert job.callbacks == (callback,)


@pytest.mark.promise(37)
def test_added_while_callbacks_run(any_db: Any, queue: Any) -> None:
    job = put(queue, sample.identity, 3)
    first = job.add_callback(sample.note)
    mine.commit()
    with bench(any_db) as worker:
        worker.run(1)
    assert seen(job, first) == ["callbacks", "pending"]
    late = job.add_callback(sample.note)
    further = first.add_callback(sample.note)
    mine.commit()
    assert seen(late, further) == ["pending", "new"]
    assert run_jobs(any_db) == 3
    assert seen(job, first, late, further) == ["completed"] * 4


@pytest.mark.promise(39)
def test_one_that_fails_harms_nobody(
    any_db: Any, queue: Any, caplog: pytest.LogCaptureFixture
) -> None:
    job = put(queue, sample.identity, 3)
    failing = job.add_callback(sample.fail_with)
    mild = job.add_callback(sample.fail_with, failure_log_level=logging.INFO)
    sibling = job.add_callback(sample.note)
    mine.commit()
    run_jobs(any_db)
    assert seen(job, failing, sibling) == ["completed"] * 3
    assert (job.outcome, job.result, failing.outcome) == ("succeeded", 3, "failed")
    assert sample.noted == [3]
    levels = [record.levelno for record in caplog.records if "failed:" in record.message]
    assert levels == [logging.CRITICAL, logging.INFO]
    assert (failing.failure_log_level, mild.failure_log_level) == (logging.CRITICAL, logging.INFO)


@pytest.mark.promise(43, 25)
def test_inside_of_one(any_db: Any, queue: Any) -> None:
    job = put(queue, sample.identity, 3)
    own = job.add_callback(sample.identity_of_current)
    caller = job.add_callback(zodbjobs.Job(sample.call_job, job))
    mine.commit()
    run_jobs(any_db)
    mine.begin()
    assert own.result == own.id
    assert caller.outcome == "failed"
    assert caller.failure.type.endswith("BadStatus")
    assert (job.status, job.result) == ("completed", 3)


def test_every_end_runs_them(any_db: Any, queue: Any) -> None:
    with moving_clock() as clock:
        cancelled = put(queue, sample.identity, 3, begin_after=timedelta(1))
        expired = put(queue, sample.identity, 3, begin_by=timedelta(seconds=1))
        callbacks = [job.add_callback(sample.note) for job in (cancelled, expired)]
        mine.commit()
        cancelled.cancel()
        assert (cancelled.status, callbacks[0].status) == ("callbacks", "pending")
        mine.commit()
        clock.advance(2)
        run_jobs(any_db)
    assert seen(*callbacks) == ["completed"] * 2
    assert [failure.type for failure in sample.noted] == [
        "zodbjobs.errors.Cancelled",
        "zodbjobs.errors.Expired",
    ]


def test_a_removed_job_keeps_them_and_a_retried_one_does_not_repeat_them(
    any_db: Any, queue: Any
) -> None:
    job = put(queue, sample.fail, "no luck")
    callback = job.add_callback(sample.note)
    mine.commit()
    queue.remove(job)
    assert job.callbacks == (callback,)
    mine.commit()
    queue.put(job)
    mine.commit()
    assert run_jobs(any_db) == 2
    mine.begin()
    queue.retry(job)
    mine.commit()
    assert run_jobs(any_db) == 1
    assert len(sample.noted) == 1
    assert job.callbacks == (callback,)


def test_one_that_is_taken_out_counts_as_done(any_db: Any, queue: Any) -> None:
    job = put(queue, sample.identity, 3)
    callback = job.add_callback(sample.note)
    mine.commit()
    with bench(any_db) as worker:
        worker.run(1)
    assert seen(job) == ["callbacks"]
    queue.remove(callback)
    assert (job.status, callback.status) == ("completed", "new")
    queue.put(callback)
    assert (job.status, callback.status) == ("completed", "pending")


def test_one_of_them_has_options(any_db: Any, queue: Any) -> None:
    other = queue.parent.create("other")
    mine.commit()
    job = put(queue, sample.identity, 3)
    callback = zodbjobs.Job(sample.note)
    callback.begin_after = timedelta(seconds=10)
    callback.begin_by = timedelta(seconds=5)
    callback.queue = other
    callback.priority = 3
    with moving_clock() as clock:
        clock.advance(100)
        job.add_callback(callback)
        mine.commit()
        run_jobs(any_db)
        mine.begin()
        assert (callback.queue, callback.status, callback.priority) == (other, "pending", 3)
        assert callback.begin_after == clock.datetime() + timedelta(seconds=10)
        assert list(other) == [callback]


def test_without_its_queue_it_is_parked(any_db: Any, queue: Any) -> None:
    other = queue.parent.create("other")
    job = put(queue, sample.identity, 3)
    callback = zodbjobs.Job(sample.note)
    callback.queue = other
    job.add_callback(callback)
    mine.commit()
    del queue.parent._queues["other"]
    mine.commit()
    run_jobs(any_db)
    assert seen(job, callback) == ["callbacks", "pending"]
    assert "no queue 'other'" in callback.parked
    queue.retry(callback)
    mine.commit()
    run_jobs(any_db)
    assert sample.noted == [3]


def test_one_that_cannot_be_loaded_is_parked(
    any_db: Any, queue: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = put(queue, sample.identity, 3)
    callback = job.add_callback(zodbjobs.Job(sample.identity_of_last, sample.Brittle()))
    sibling = job.add_callback(sample.note)
    mine.commit()
    queue._p_jar.cacheMinimize()
    with monkeypatch.context() as patch:
        patch.setattr(sample, "brittle", True)
        assert run_jobs(any_db) == 2
    mine.begin()
    assert (job.outcome, job.status, sibling.outcome) == ("succeeded", "callbacks", "succeeded")
    queue.retry(callback)
    mine.commit()
    assert run_jobs(any_db) == 1
    assert seen(job, callback) == ["completed"] * 2


def test_what_is_refused(queue: Any) -> None:
    job, other = put(queue, sample.nothing), put(queue, sample.nothing)
    callback = job.add_callback(sample.note)
    new = zodbjobs.Job(sample.nothing)
    below = new.add_callback(sample.nothing)
    for refused in (
        lambda: queue.put(callback),
        lambda: other.add_callback(callback),
        lambda: other.add_callback(job),
        lambda: other.add_callbacks(new, new),
    ):
        with pytest.raises(BadStatus):
            refused()
    with pytest.raises(BadArgument, match="callback of what follows it"):
        below.add_callback(new)
    with pytest.raises(BadArgument):
        job.add_callbacks()
    with pytest.raises(TypeError):
        job.add_callback(3)
    with pytest.raises(BadArgument):
        job.add_callback(lambda value: value)
    assert job.callbacks == (callback,)
    assert other.callbacks == ()


def test_by_hand_they_are_called_too() -> None:
    job = zodbjobs.Job(sample.identity, 1)
    last = zodbjobs.Job(sample.note)
    first = job.add_callback(sample.add)
    first.add_callback(zodbjobs.Job(sample.note_all, "chained"))
    job.add_callback(last)
    assert job() == 1
    assert sample.noted == [("chained", 1), 1]
    assert {job.status, first.status, last.status} == {"completed"}


def test_a_long_chain() -> None:
    """Longer than Python's stack is deep."""
    job = last = zodbjobs.Job(sample.identity, 1)
    for _ in range(1_100):
        last = last.add_callback(sample.identity)
    assert job() == 1
    assert (job.status, last.result) == ("completed", 1)


@pytest.mark.promise(42)
def test_a_policy_is_given_when_adding(any_db: Any, queue: Any) -> None:
    job = put(queue, sample.identity, 2)
    callback = job.add_callback(sample.fail_until_passed, retry_policy=zodbjobs.Retry(times=1))
    mine.commit()
    run_jobs(any_db)
    assert seen(callback) == ["completed"]
    assert callback.outcome == "succeeded"


def test_jobs_put_together_end_in_their_own_records_if_they_have_any(
    any_db: Any, queue: Any
) -> None:
    jobs = queue.put_many([zodbjobs.Job(sample.identity, n) for n in range(60)])
    early = jobs[40].add_callback(sample.note)
    mine.commit()
    late = jobs[50].add_callback(sample.note)
    mine.commit()
    run_in_groups(any_db)
    assert seen(*jobs) == ["completed"] * 60
    assert sorted(sample.noted) == [40, 50]
    assert [early.result, late.result] == [40, 50]
    assert [n for n, job in enumerate(jobs) if job._finished is not None][-2:] == [40, 50]


def test_results_with_callbacks_wait_for_a_transaction_of_their_own(
    any_db: Any, queue: Any, account: Any
) -> None:
    """A conflict about what they write would run the writing job again."""
    first = put(queue, sample.identity, 1)
    callback = first.add_callback(sample.note)
    writer = put(queue, account.deposit, 1)
    mine.commit()
    with bench(any_db) as worker:
        worker.run(2)
        assert seen(writer, first, callback) == ["completed", "assigned", "new"]
        worker.runner.flush()
        assert seen(first, callback) == ["callbacks", "pending"]


# Adding to a job that a worker holds


def add_elsewhere(db: Any, job: zodbjobs.Job, what: str = "late") -> None:
    """Add a callback in another connection, and commit."""
    with committed(db) as other:
        other.get(job.id).add_callback(zodbjobs.Job(sample.note_all, what))


@pytest.fixture(params=["alone", "of many"])
def held(request: pytest.FixtureRequest, any_db: Any, queue: Any) -> Any:
    """Jobs put one by one, or with shared results; the last of them."""
    number = 1 if request.param == "alone" else 2 * defaults.SHARED_TOGETHER
    jobs = queue.put_many([zodbjobs.Job(sample.identity, n) for n in range(number)])
    mine.commit()
    return jobs[-1]


def check_once(db: Any, job: zodbjobs.Job) -> None:
    """The callback ran once, and nothing is left."""
    run_jobs(db)
    mine.begin()
    assert seen(job, *job.callbacks) == ["completed"] * 2
    assert sample.noted == [("late", job.result)]
    workers = job.queue.parent.workers.values()
    assert not any(list(worker.late.keys(0)) for worker in workers)


@pytest.mark.promise(38)
def test_added_while_it_runs(any_db: Any, queue: Any, held: Any, account: Any) -> None:
    serial = held._p_serial
    with bench(any_db) as worker:
        worker.run(100)
        add_elsewhere(any_db, held)
        mine.begin()
        held._p_activate()
        assert held._p_serial == serial  # not written: its worker needn't run it again
        worker.runner.flush()
        assert seen(held) == ["callbacks"]
        worker.dispatcher.step()
        assert seen(held) == ["callbacks"]
        mine.begin()
        assert [callback.status for callback in held.callbacks] == ["pending"]
    check_once(any_db, held)


@pytest.mark.promise(38)
def test_added_while_its_end_is_committed(any_db: Any, queue: Any, held: Any) -> None:
    """The end comes second: it doesn't conflict, and the callback is put."""
    with bench(any_db) as worker:
        worker.run(100)
        commits = count_commits(worker)
        commit_meanwhile(worker.manager, lambda: add_elsewhere(any_db, held))
        worker.runner.flush()
        assert commits == ["committed"]
        assert seen(held) == ["callbacks"]
    check_once(any_db, held)


@pytest.mark.promise(38)
def test_its_end_is_committed_while_one_is_added(any_db: Any, queue: Any, held: Any) -> None:
    """The adder comes second, and conflicts."""
    with bench(any_db) as worker:
        worker.run(100)
        mine.begin()
        held.add_callback(zodbjobs.Job(sample.note_all, "late"))
        worker.runner.flush()
        with pytest.raises(ConflictError):
            mine.commit()
        mine.abort()
        assert held.callbacks == ()
        held.add_callback(zodbjobs.Job(sample.note_all, "late"))
        assert held.status == "completed"
        mine.commit()
    check_once(any_db, held)


@pytest.mark.parametrize("writes", [False, True], ids=["returns", "writes"])
def test_the_running_job_is_not_run_again(
    any_db: Any, queue: Any, account: Any, writes: bool
) -> None:
    job = put(queue, sample.deposit_with_a_rival_that_adds, account if writes else None)
    mine.commit()
    with bench(any_db) as worker:
        worker.run(1)
        worker.runner.flush()
    run_jobs(any_db)
    mine.begin()
    assert sample.noted == ["ran", "added", ("late", job.result)]
    assert seen(job) == ["completed"]


def test_a_job_adds_one_to_itself(any_db: Any, queue: Any) -> None:
    job = put(queue, sample.add_callback_to_itself, "mine")
    mine.commit()
    assert run_jobs(any_db) == 2
    assert sample.noted == [("mine", "added")]
    assert seen(job) == ["completed"]


def test_added_to_a_callback_of_a_running_job(any_db: Any, queue: Any) -> None:
    job = put(queue, sample.identity, 1)
    first = job.add_callback(sample.identity)
    handle = job.add_callbacks(success=sample.identity)
    mine.commit()
    with bench(any_db) as worker:
        worker.run(1)
        with committed(any_db) as other:
            theirs = other.get(job.id)
            theirs.callbacks[0].add_callback(zodbjobs.Job(sample.note_all, "first"))
            theirs.callbacks[1].add_callback(zodbjobs.Job(sample.note_all, "handle"))
            theirs.callbacks[1].success.add_callbacks(zodbjobs.Job(sample.note_all, "branch"))
        commits = count_commits(worker)
        worker.runner.flush()
        assert commits == ["committed"]
    run_jobs(any_db)
    assert sorted(sample.noted) == [("branch", 1), ("first", 1), ("handle", 1)]
    assert seen(job, first, handle) == ["completed"] * 3


def leave(worker: Bench, how: str, db: Any) -> None:
    """Let the worker not end what it holds."""
    claims = worker.parts.workload.take_all()
    if how == "given back":
        worker.dispatcher.give_back(claims)
    elif how == "dropped":
        worker.registration.drop()
    else:
        with committed(db) as other:
            rescue(other._p_jar.transaction_manager, other.parent, worker.registration.id)
            other._p_jar.transaction_manager.begin()


@pytest.mark.parametrize("how", ["given back", "dropped", "rescued"])
def test_added_before_the_worker_leaves_it(any_db: Any, queue: Any, held: Any, how: str) -> None:
    with contextlib.suppress(Fenced), bench(any_db) as worker:
        worker.dispatcher.step(100)
        add_elsewhere(any_db, held)
        leave(worker, how, any_db)
        mine.begin()
        assert [callback.status for callback in held.callbacks] == ["new"]
    mine.begin()
    assert len(held.callbacks) == 1
    check_once(any_db, held)


@pytest.mark.parametrize("how", ["given back", "dropped", "rescued"])
def test_added_while_the_worker_leaves_it(any_db: Any, queue: Any, held: Any, how: str) -> None:
    """Whoever comes second conflicts, or its entry is found later."""
    with contextlib.suppress(Fenced), bench(any_db) as worker:
        worker.dispatcher.step(100)
        mine.begin()
        held.add_callback(zodbjobs.Job(sample.note_all, "late"))
        leave(worker, how, any_db)
        try:
            mine.commit()
        except ConflictError:
            mine.abort()
            add_elsewhere(any_db, held)
        worker.dispatcher.step()
    check_once(any_db, held)


@pytest.mark.parametrize("how", ["given back", "dropped", "rescued"])
def test_the_worker_leaves_it_while_one_is_added(
    any_db: Any, queue: Any, held: Any, how: str
) -> None:
    with contextlib.suppress(Fenced), bench(any_db) as worker:
        worker.dispatcher.step(100)
        manager = worker.registration.manager
        if how != "rescued":
            commit_meanwhile(manager, lambda: add_elsewhere(any_db, held))
        with contextlib.suppress(ConflictError):
            leave(worker, how, any_db)
        if how == "rescued":
            add_elsewhere(any_db, held)
        worker.dispatcher.step()
    check_once(any_db, held)


def test_a_worker_dies_between_the_end_and_the_booking(any_db: Any, queue: Any, held: Any) -> None:
    with contextlib.suppress(Fenced), bench(any_db) as worker:
        worker.run(100)
        add_elsewhere(any_db, held)
        worker.runner.flush()
        leave(worker, "rescued", any_db)
    check_once(any_db, held)


@pytest.mark.promise(128)
def test_a_worker_dies_in_a_callback(any_db: Any, queue: Any) -> None:
    """The end of the parent stays; the callback is interrupted as any job, the other goes on."""
    parent = zodbjobs.Job(sample.identity, "value")
    first = parent.add_callback(zodbjobs.Job(sample.note_all, "first"))
    chained = first.add_callback(zodbjobs.Job(sample.note_all, "chained"))
    second = parent.add_callback(zodbjobs.Job(sample.note_all, "second"))
    queue.put(parent)
    mine.commit()
    run_first = make_doomed(any_db)
    assert run_first.run(1) == 1
    run_first.runner.flush()
    assert len(run_first.claim(2)) >= 1  # a callback is begun, and its worker is gone
    die(run_first)
    mine.begin()
    assert (parent.status, parent.outcome, parent.result) == ("callbacks", "succeeded", "value")
    run_jobs(any_db)  # which rescues it; the policy of callbacks lets it wait
    with moving_clock() as now:
        now.advance(10)
        run_jobs(any_db)
    mine.begin()
    assert {job.outcome for job in (parent, first, second, chained)} == {"succeeded"}
    assert (parent.status, parent.attempts, parent.interruptions) == ("completed", 1, 0)
    assert max(first.interruptions, second.interruptions) == 1
    assert sorted(note[0] for note in sample.noted) == ["chained", "first", "second"]


def test_a_rescue_that_is_not_complete(
    any_db: Any, queue: Any, held: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The worker's record stays, for a job that can't be taken back; the others go on."""
    stuck = put(queue, sample.identity, "stuck")
    mine.commit()
    take_back = complete.take_back

    def fails(record: Any, key: int, job: Any, *args: Any) -> bool:
        if job._p_oid == stuck._p_oid:
            raise ValueError("it can't be taken back")
        return take_back(record, key, job, *args)

    with contextlib.suppress(Fenced), bench(any_db) as worker:
        worker.dispatcher.step(100)
        add_elsewhere(any_db, held)
        with monkeypatch.context() as patch:
            patch.setattr(complete, "take_back", fails)
            leave(worker, "rescued", any_db)
        mine.begin()
        assert [callback.status for callback in held.callbacks] == ["new"]
        leave(worker, "rescued", any_db)
    run_jobs(any_db)
    assert seen(stuck, held) == ["completed"] * 2
    assert sample.noted == [("late", held.result)]


def test_added_while_it_is_claimed(any_db: Any, queue: Any, held: Any) -> None:
    mine.begin()
    held.add_callback(zodbjobs.Job(sample.note_all, "late"))
    with bench(any_db) as worker:
        worker.run(100)
        mine.commit()
        worker.runner.flush()
    check_once(any_db, held)


def test_added_while_it_was_claimed_and_has_ended(any_db: Any, queue: Any, held: Any) -> None:
    mine.begin()
    held.add_callback(zodbjobs.Job(sample.note_all, "late"))
    with bench(any_db) as worker:
        worker.run(100)
        worker.runner.flush()
        with pytest.raises(ConflictError):
            mine.commit()
    mine.abort()
    add_elsewhere(any_db, held)
    check_once(any_db, held)


def count_commits(worker: Bench) -> list[str]:
    """How the runner's commits go, from now on."""
    seen: list[str] = []
    commit: Callable[[], None] = worker.manager.commit

    def counting() -> None:
        try:
            commit()
        except ConflictError:
            seen.append("conflict")
            raise
        seen.append("committed")

    worker.manager.commit = counting
    return seen


@pytest.mark.promise(41)
def test_without_a_policy_of_its_own_it_outlasts_any_conflicts(
    any_db: Any, queue: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(defaults, "CONFLICT_ATTEMPTS", 2)
    queue.retry_policy = zodbjobs.NeverRetry()
    job = put(queue, sample.nothing)
    stubborn = job.add_callback(zodbjobs.Job(sample.conflicts, 5))
    failing = job.add_callback(sample.note_and_fail)
    own = zodbjobs.Job(sample.conflicts, 500)
    own.retry_policy = zodbjobs.NeverRetry()
    job.add_callback(own)
    mine.commit()
    with moving_clock() as moved:
        while run_jobs(any_db):
            moved.advance(60)
    assert seen(job, stubborn, failing, own) == ["completed"] * 4
    assert (stubborn.outcome, failing.outcome, own.outcome) == ("succeeded", "failed", "failed")


def test_what_has_some_is_put_before_it_is_made_to_fail(any_db: Any, queue: Any) -> None:
    job = zodbjobs.Job(sample.nothing)
    callback = job.add_callback(zodbjobs.Job(sample.note_all, 1))
    with pytest.raises(BadArgument, match="put it first"):
        job.fail()
    queue.put(job)
    mine.commit()
    job.fail()
    mine.commit()
    assert seen(job, callback) == ["callbacks", "pending"]
    assert run_jobs(any_db) == 1
    assert seen(job, callback) == ["completed"] * 2
    assert job.outcome == "failed"


def test_a_retry_waits_for_one_that_was_added_after_the_end(any_db: Any, queue: Any) -> None:
    """It would be called without an end otherwise."""
    job = put(queue, sample.fail)
    mine.commit()
    run_jobs(any_db)
    mine.begin()
    late = job.add_callback(zodbjobs.Job(sample.note_all, 1))
    with pytest.raises(BadStatus, match="its callbacks haven't"):
        queue.retry(job)
    mine.commit()
    run_jobs(any_db)
    assert seen(job, late) == ["completed"] * 2
    queue.retry(job)
    mine.commit()
    assert seen(job) == ["pending"]


def test_a_parked_job_with_some_can_be_retried(any_db: Any, queue: Any) -> None:
    job = put(queue, sample.note, 1)
    callback = job.add_callback(zodbjobs.Job(sample.note_all, 1))
    mine.commit()
    job._shard.drain(clock.now(), 100)
    ((key, taken),) = job._shard.take(LAST, 1)
    job._shard.park(key, taken)
    mine.commit()
    queue.retry(job)
    mine.commit()
    run_jobs(any_db)
    assert seen(job, callback) == ["completed"] * 2


def test_the_end_of_one_that_is_not_booked_stays(db: Any, queue: Any) -> None:
    """Whoever wants to let it fail comes too late."""
    job = put(queue, sample.note, 1)
    callback = job.add_callback(zodbjobs.Job(sample.note_all, 1))
    mine.commit()
    with bench(db) as worker:
        assert worker.run() == 1
        worker.runner.flush()
        assert seen(job) == ["callbacks"]
        for end in (job.fail, job.cancel):
            with pytest.raises(BadStatus):
                end()
    assert seen(job, callback) == ["callbacks", "pending"]
    assert job.outcome == "succeeded"


@pytest.mark.parametrize("late", [False, True])
def test_one_that_was_taken_out_stays_out(any_db: Any, queue: Any, late: bool) -> None:
    """It can be added anew, and is called with one result."""
    job = put(queue, sample.fail)
    callback = zodbjobs.Job(sample.note_all, 1)
    if not late:
        job.add_callback(callback)
    mine.commit()
    job.fail() if not late else run_jobs(any_db)
    mine.commit()
    if late:
        job.add_callback(callback)
        mine.commit()
    queue.remove(callback)
    queue.retry(job)
    mine.commit()
    run_jobs(any_db)
    assert seen(job, callback) == ["completed", "new"]
    job.add_callback(callback)
    mine.commit()
    run_jobs(any_db)
    assert seen(job, callback) == ["completed"] * 2
    assert (callback.outcome, [len(values) for values in sample.noted]) == ("succeeded", [2])


@pytest.mark.promise(38)
@pytest.mark.parametrize("ended", [False, True], ids=["before the end", "after it"])
@pytest.mark.parametrize("pair", [False, True], ids=["alone", "of a pair"])
def test_an_aborted_addition_can_be_made_again_with_the_same_job(
    any_db: Any, queue: Any, ended: bool, pair: bool
) -> None:
    """As a transaction is that is tried again after a conflict."""
    job = put(queue, sample.note, 1)
    mine.commit()
    if ended:
        run_jobs(any_db)
        mine.begin()
    callback = zodbjobs.Job(sample.note_all, 2)
    for end in (mine.abort, mine.commit):
        job.add_callbacks(success=callback) if pair else job.add_callback(callback)
        end()
    with pytest.raises(BadStatus):
        job.add_callback(callback)
    run_jobs(any_db)
    assert seen(job, callback) == ["completed"] * 2
    assert (callback.outcome, len(sample.noted)) == ("succeeded", 2)
    assert len(sample.noted[1]) == 2


def test_an_aborted_addition_leaves_a_job_that_can_be_put(any_db: Any, queue: Any) -> None:
    job = put(queue, sample.note, 1)
    mine.commit()
    callback = zodbjobs.Job(sample.note_all, 2)
    job.add_callback(callback)
    mine.abort()
    queue.put(callback)
    mine.commit()
    run_jobs(any_db)
    assert seen(job, callback) == ["completed"] * 2
    assert len(sample.noted[1]) == 1


def test_a_job_of_which_the_end_was_aborted_is_new_for_its_callbacks(
    any_db: Any, queue: Any
) -> None:
    """Also when the callback takes it into the database."""
    job = put(queue, sample.note, 1)
    job.cancel()
    mine.abort()
    callback = job.add_callback(zodbjobs.Job(sample.note_all, 2))
    after = queue.put(zodbjobs.Job(sample.note, 3), after=[callback])
    mine.commit()
    assert seen(job, callback, after) == ["new", "new", "pending"]
    queue.put(job)
    mine.commit()
    assert run_jobs(any_db) == 3
    assert seen(job, callback, after) == ["completed"] * 3


def test_a_callback_whose_database_is_not_here_is_parked(any_db: Any, queue: Any) -> None:
    job = queue.put(zodbjobs.Job(sample.note, 1))
    callback = job.add_callback(zodbjobs.Job(sample.note_all, 2))
    callback._wanted_queue = ("", "elsewhere")
    transaction.commit()
    run_in_groups(any_db)
    transaction.begin()
    assert job.outcome == "succeeded"
    assert "no database 'elsewhere'" in str(callback.parked)


def test_what_is_added_to_a_callback_that_cannot_be_loaded_stops_no_rescue(
    any_db: Any, queue: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    job, other = (queue.put(zodbjobs.Job(sample.note, n)) for n in (1, 2))
    middle = job.add_callback(zodbjobs.Job(sample.note_all))
    callback = middle.add_callback(sample.SpecialJob(sample.note_all))
    transaction.commit()
    doomed = make_doomed(any_db)
    assert len(doomed.claim()) == 2
    transaction.begin()
    waiting = queue.put(zodbjobs.Job(sample.note, "last"), after=[callback])
    transaction.commit()
    die(doomed)  # what was added waits with its record, for a worker that has the code
    transaction.abort()
    queue._p_jar.close()
    with monkeypatch.context() as patch:
        patch.delattr(sample, "SpecialJob")
        resetCaches()
        run_jobs(any_db)
    resetCaches()
    with committed(any_db) as there:
        outcomes = [there.get(each.id).outcome for each in (job, other)]
        assert outcomes == ["succeeded", "succeeded"]
        there.retry(there._p_jar.get(middle._p_oid))  # parked before it was put
    run_jobs(any_db)
    with committed(any_db) as there:
        assert there.get(waiting.id).outcome == "succeeded"
        assert list(there.parent.workers) == []


@pytest.mark.parametrize("end", ["cancel", "fail"])
def test_what_an_aborted_end_has_started_is_started_by_the_next_one(
    any_db: Any, queue: Any, end: str
) -> None:
    """The parent isn't stored yet, so that the abort undoes nothing in it nor its callbacks."""
    parent = zodbjobs.Job(sample.note, "parent")
    queue.put(parent)
    callback = parent.add_callback(sample.identity)
    handle = parent.add_callbacks(success=sample.identity, failure=sample.identity)
    chained = handle.add_callback(sample.identity)
    getattr(parent, end)()
    late = parent.add_callback(sample.identity)
    transaction.abort()
    queue.put(parent)
    transaction.commit()
    run_jobs(any_db)
    transaction.begin()
    assert [job.result for job in (callback, late, handle.success, chained)] == ["parent"] * 4
    assert (parent.status, handle.failure.status) == ("completed", "new")


def test_one_that_an_aborted_end_has_started_can_be_put(any_db: Any, queue: Any) -> None:
    """As a job of its own it hasn't the result of the parent as an argument."""
    parent = queue.put(sample.nothing)
    transaction.commit()
    callback = parent.add_callback(zodbjobs.Job(sample.add, 1))
    parent.cancel()
    late = parent.add_callback(zodbjobs.Job(sample.add, 2))
    transaction.abort()
    queue.put_many([callback, late])
    transaction.commit()
    run_jobs(any_db)
    transaction.begin()
    assert [job.result for job in (callback, late)] == [1, 2]
    assert parent.callbacks == ()
