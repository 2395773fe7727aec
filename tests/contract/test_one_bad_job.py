"""One bad job harms no other: it is parked or fails, and everything else goes on."""

from __future__ import annotations

import logging
import sys
import types
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import sample
import together_jobs
import transaction
from bench import bench, die, make_doomed
from patience import wait_for

import zodbjobs
from zodbjobs import clock
from zodbjobs.errors import BadStatus
from zodbjobs.runtime import threadpool
from zodbjobs.stored.lifecycle.keys import LAST
from zodbjobs.testing import run_jobs


@pytest.fixture
def gone(monkeypatch: pytest.MonkeyPatch) -> Any:
    """A function of a module that the next release hasn't any more; call it to release."""
    module = types.ModuleType("this_release")
    exec("def old(): pass", vars(module))
    monkeypatch.setitem(sys.modules, "this_release", module)

    def release() -> None:
        del module.old  # type: ignore[attr-defined]

    release.old = module.old  # type: ignore[attr-defined]
    return release


def put_three(queue: Any, gone: Any) -> list[zodbjobs.Job]:
    """The second one can be loaded, and not stored again after the release."""
    jobs = [queue.put(zodbjobs.Job(sample.note, n)) for n in (1, [gone.old], 3)]
    transaction.commit()
    for job in jobs:
        job._p_activate()
    gone()
    return jobs


def test_what_cannot_be_stored_again_is_parked_and_can_be_removed(
    any_db: Any, queue: Any, gone: Any
) -> None:
    first, bad, last = put_three(queue, gone)
    run_jobs(any_db)
    transaction.begin()
    assert (first.outcome, last.outcome) == ("succeeded", "succeeded")
    assert (bad.status, bad.outcome) == ("pending", None)
    assert bad.parked is not None
    assert sample.noted == [1, 3]
    with pytest.raises(BadStatus, match="remove"):
        bad.cancel()
    queue.remove(bad)
    transaction.commit()
    assert bad.status == "new"


def test_what_cannot_be_stored_again_stops_no_rescue(any_db: Any, queue: Any, gone: Any) -> None:
    jobs = [queue.put(zodbjobs.Job(sample.identity, n)) for n in (1, [gone.old], 3)]
    transaction.commit()
    dead = make_doomed(any_db)
    assert len(dead.claim()) == 3
    die(dead)
    gone()
    run_jobs(any_db)
    transaction.begin()
    assert [job.outcome for job in jobs] == ["succeeded", None, "succeeded"]
    assert list(queue.parent.workers) == []


@pytest.mark.parametrize("raised", [ValueError, SystemExit])
def test_a_job_that_cannot_be_loaded_is_parked(
    any_db: Any, queue: Any, monkeypatch: pytest.MonkeyPatch, raised: type[BaseException]
) -> None:
    """A module that is imported for it may call sys.exit."""
    args = (1, sample.Brittle(), 3)
    jobs = [queue.put(zodbjobs.Job(sample.identity, value)) for value in args]
    transaction.commit()
    monkeypatch.setattr(sample, "brittle", raised)
    run_jobs(any_db)
    transaction.begin()
    assert [job.outcome for job in jobs] == ["succeeded", None, "succeeded"]
    assert jobs[1].parked is not None


def test_a_job_that_exits_as_it_is_loaded_takes_no_other_along(
    any_db: Any, queue: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A worker's thread loads many at once, before it runs the first one."""
    args = (1, sample.Brittle(), 3)
    jobs = [queue.put(zodbjobs.Job(sample.identity, value)) for value in args]
    transaction.commit()
    monkeypatch.setattr(sample, "brittle", SystemExit)
    with zodbjobs.Worker(any_db, threads=1):
        wait_for([jobs[0], jobs[2]])
    assert "a runner thread fails" not in caplog.text
    monkeypatch.undo()
    assert jobs[1].parked is not None


def test_one_of_which_the_effects_exit_as_they_are_stored_fails(
    any_db: Any, queue: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """Its commit would end the thread, and the job be begun again, for ever."""
    counters = queue._p_jar.root()["counters"] = [together_jobs.Counter() for _ in range(3)]
    deeds = [together_jobs.count, together_jobs.exit_when_stored, together_jobs.count]
    calls = [zodbjobs.Job(*each) for each in zip(deeds, counters, strict=True)]
    jobs = queue.put_many(calls, transactional=False)
    transaction.commit()
    with zodbjobs.Worker(any_db, threads=1):
        wait_for(jobs)
    assert [job.outcome for job in jobs] == ["succeeded", "failed", "succeeded"]
    assert [counter.value for counter in counters] == [1, 0, 1]
    assert "SystemExit" in str(jobs[1].failure)
    assert "the job is begun again" not in caplog.text


def make_unstorable(monkeypatch: pytest.MonkeyPatch) -> None:
    """Jobs with a Brittle can be loaded from now on, and not stored again."""
    monkeypatch.setattr(sample, "unstorable", True)


def test_a_job_that_could_not_be_stored_again_is_not_begun(
    any_db: Any, queue: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = queue.put(zodbjobs.Job(sample.note, [sample.Brittle()]))
    transaction.commit()
    make_unstorable(monkeypatch)
    run_jobs(any_db)
    transaction.begin()
    assert (job.status, sample.noted) == ("pending", [])
    assert "not store it again" in job.parked
    with pytest.raises(BadStatus, match="mend the code"):
        queue.retry(job)
    monkeypatch.undo()
    queue.retry(job)
    transaction.commit()
    run_jobs(any_db)
    transaction.begin()
    assert job.outcome == "succeeded"


@pytest.mark.parametrize("taken_in", ["ready", "lease"])
def test_one_whose_key_is_taken_and_that_cannot_be_stored_again_is_parked(
    any_db: Any, queue: Any, monkeypatch: pytest.MonkeyPatch, taken_in: str
) -> None:
    """It can't be told of another key."""
    other = queue.put(sample.nothing)
    transaction.commit()
    job = queue.put(zodbjobs.Job(sample.note, sample.Brittle()))
    transaction.commit()
    make_unstorable(monkeypatch)
    worker = make_doomed(any_db)
    transaction.begin()
    record = queue.parent.workers[worker.registration.id]
    tree = job._shard.ready if taken_in == "ready" else record.lease
    tree[job._key] = other
    transaction.commit()
    worker.claim()
    transaction.begin()
    assert job._shard.has_parked(job._key, job)
    queue.remove(job)
    tree.pop(job._key, None)
    transaction.commit()
    worker.close()


def test_a_job_that_writes_pays_for_no_other(
    any_db: Any, queue: Any, account: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither in its own commit, which takes the results of others along, nor by another run."""
    reader = queue.put(zodbjobs.Job(sample.identity, sample.Brittle()))
    writer = queue.put(zodbjobs.Job(account.deposit, 1))
    transaction.commit()
    worker = make_doomed(any_db, group_seconds=3600.0)
    for claim in worker.claim():
        worker.runner.run(claim)
        make_unstorable(monkeypatch)
    transaction.begin()
    assert (writer.outcome, writer.attempts, account.balance) == ("succeeded", 1, 1)
    worker.runner.flush()
    worker.close()
    transaction.begin()
    assert (reader.outcome, reader.parked is None) == (None, False)


def test_a_step_for_many_stores_each_alone_if_one_cannot_be(
    any_db: Any, queue: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A runner that has nothing to do has all results that wait written by one step."""
    args = (1, sample.Brittle(), 3)
    jobs = [queue.put(zodbjobs.Job(sample.identity, value)) for value in args]
    transaction.commit()
    worker = make_doomed(any_db, group_seconds=3600.0)
    assert worker.run() == 3
    make_unstorable(monkeypatch)
    with pytest.raises(TypeError, match="Brittle"):
        worker.dispatcher.fetch(worker.parts.lanes[0], worker.runner)
    worker.dispatcher.fetch(worker.parts.lanes[0], worker.runner)
    transaction.begin()
    assert [job.outcome for job in jobs] == ["succeeded", None, "succeeded"]
    worker.dispatcher.step()
    transaction.begin()
    assert jobs[1].parked is not None
    assert len(list(queue.finished())) == 2
    worker.close()


def test_two_connections_in_one_transaction_fail_the_job(
    any_db: Any, queue: Any, account: Any
) -> None:
    job = queue.put(zodbjobs.Job(sample.write_through_another_connection, account))
    after = queue.put(zodbjobs.Job(account.deposit, 1))
    transaction.commit()
    run_jobs(any_db)
    transaction.begin()
    assert job.outcome == "failed"
    assert "two connections in one transaction" in job.failure.message
    assert (after.outcome, account.balance) == ("succeeded", 1)


def test_a_job_that_closes_the_workers_connection_fails(
    any_db: Any, queue: Any, account: Any
) -> None:
    job = queue.put(zodbjobs.Job(sample.close_connection, account))
    after = queue.put(zodbjobs.Job(account.deposit, 1))
    transaction.commit()
    with zodbjobs.Worker(any_db, threads=1):
        wait_for([job, after])
    assert job.outcome == "failed"
    assert "connection is the worker's" in job.failure.message
    assert after.outcome == "succeeded"


def test_a_thread_that_ends_is_replaced(
    db: Any, queue: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    turn = threadpool.ThreadPool._turn
    left = [SystemExit]

    def end_once(*args: Any) -> None:
        if left:
            raise left.pop()
        turn(*args)

    monkeypatch.setattr(threadpool.ThreadPool, "_turn", end_once)
    job = queue.put(sample.nothing)
    transaction.commit()
    with zodbjobs.Worker(db, threads=1):
        wait_for(job)
    assert "another one takes its place" in caplog.text


def test_a_job_that_cancels_itself_ends_once(any_db: Any, queue: Any, account: Any) -> None:
    job = queue.put(zodbjobs.Job(sample.cancel_itself, account))
    transaction.commit()
    assert run_jobs(any_db) == 1
    transaction.begin()
    assert (job.outcome, account.balance) == ("cancelled", 0)
    assert list(queue.finished()) == [job]


def test_a_job_that_cancels_and_retries_itself_fails(any_db: Any, queue: Any) -> None:
    job = queue.put(sample.cancel_and_retry_itself)
    transaction.commit()
    assert run_jobs(any_db) == 1
    transaction.begin()
    assert job.outcome == "failed"
    assert list(queue.finished()) == [job]


def test_a_job_cancels_one_whose_result_waits(
    db: Any, queue: Any, caplog: pytest.LogCaptureFixture
) -> None:
    waiting = queue.put(zodbjobs.Job(sample.note, "ran"))
    canceller = queue.put(zodbjobs.Job(sample.cancel, waiting))
    transaction.commit()
    with bench(db) as worker:
        worker.run()
        worker.dispatcher.step()
        assert worker.dispatcher.is_idle
    transaction.begin()
    assert (waiting.outcome, canceller.outcome) == ("cancelled", "succeeded")
    assert [r for r in caplog.records if r.levelno > logging.INFO] == []
    assert len(list(queue.finished())) == 2


@pytest.mark.parametrize(
    "answer",
    [
        *(float("inf"), 1e300, 1e12, 3e9, float("nan"), "soon", None, (), 10**400),
        *(datetime(2030, 1, 1), datetime.max.replace(tzinfo=UTC), timedelta.max),
    ],
)
def test_whatever_a_policy_answers_it_harms_nobody(db: Any, queue: Any, answer: Any) -> None:
    job = zodbjobs.Job(sample.fail, "once")
    job.retry_policy = sample.OwnPolicy(answer)
    queue.put(job)
    after = queue.put(sample.nothing)
    transaction.commit()
    assert run_jobs(db) == 2
    transaction.begin()
    assert (job.outcome, job.failure.type) == ("failed", "zodbjobs.errors.BadPolicy")
    assert [failure.message for failure in job.failure.chain()][2] == "once"
    assert after.outcome == "succeeded"


def put_into_inboxes(queue: Any, later: timedelta | None) -> list[zodbjobs.Job]:
    """A bundle, and jobs put one by one."""
    jobs: list[zodbjobs.Job] = queue.put_many([sample.nothing] * 50, begin_after=later)
    for _ in range(50):
        transaction.commit()
        jobs.append(queue.put(sample.nothing, begin_after=later))
    transaction.commit()
    return jobs


def interrupt(queue: Any) -> None:
    """As a rescue does."""
    for shard in queue.shards:
        for key, job in shard.take(LAST, 1000):
            shard.make_ready(key, (1, job))
    transaction.commit()


@pytest.mark.parametrize("where", ["inbox", "ready", "interrupted", "later", "scheduled"])
def test_each_one_of_a_queue_can_be_cancelled(any_db: Any, queue: Any, where: str) -> None:
    is_later = where in ("later", "scheduled")
    jobs = put_into_inboxes(queue, timedelta(hours=1) if is_later else None)
    if where not in ("inbox", "later"):
        for shard in queue.shards:
            shard.drain(clock.now(), 1000)
        transaction.commit()
    if where == "interrupted":
        interrupt(queue)
    for job in queue:
        job.cancel()
    transaction.commit()
    assert {job.outcome for job in jobs} == {"cancelled"}
    assert len(queue) == 0


@pytest.mark.parametrize("newest_first", [True, False])
def test_each_one_of_the_history_can_be_forgotten(
    any_db: Any, queue: Any, newest_first: bool
) -> None:
    for job in put_into_inboxes(queue, None):
        job.cancel()
    transaction.commit()
    for job in queue.finished(newest_first):
        queue.forget(job)
    assert list(queue.finished()) == []
