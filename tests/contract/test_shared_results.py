"""Jobs put together that only return something end together: in one record, not in theirs."""

from __future__ import annotations

import contextlib
import itertools
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
import sample
import transaction
from bench import Bench, bench, run_in_groups
from meanwhile import commit_meanwhile, committed
from ZODB.POSException import ConflictError

import zodbjobs
from zodbjobs import clock, defaults, insights
from zodbjobs.errors import BadStatus
from zodbjobs.runtime.context import logs_are_kept
from zodbjobs.runtime.dispatcher import Fenced
from zodbjobs.runtime.tasks.rescue import rescue
from zodbjobs.stored.lifecycle import claim as lifecycle_claim
from zodbjobs.stored.lifecycle import history, keys
from zodbjobs.stored.lifecycle.claim import Claim
from zodbjobs.testing import run_jobs

NUMBER = 100

# Nobody knows when these are put that there will be more in the transaction.
ALONE = defaults.SHARED_TOGETHER - 1


# A lease of so many is one leaf, and several.
small_and_large = pytest.mark.parametrize("number", [NUMBER, 400])


@pytest.fixture
def number() -> int:
    return NUMBER


@pytest.fixture(autouse=True)
def _groups_are_flushed_by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(defaults, "GROUP_JOBS", 1_000)


@pytest.fixture
def jobs(queue: Any, number: int) -> list[zodbjobs.Job]:
    """Put in one transaction, and committed."""
    made = [zodbjobs.Job(sample.identity, n) for n in range(number)]
    queue.put_many(made)
    transaction.commit()
    return made


def check_history(queue: Any, jobs: list[zodbjobs.Job]) -> None:
    """Each of `jobs` is there once, and nothing else; no worker holds one."""
    queue._p_jar.transaction_manager.begin()
    assert Counter(queue.finished()) == Counter(jobs)
    assert sum(shard.history_length() for shard in queue.shards) == len(jobs)
    minutes = [counts for s in queue.shards for _, counts in history.minutes_of(s)]
    assert sum(done for done, *_ in minutes) == len(jobs)
    assert not any(worker.leased() for worker in queue.parent.workers.values())
    assert len(queue) == 0


def written_anew(jobs: list[zodbjobs.Job], serials: list[bytes]) -> int:
    """How many of the jobs' records aren't those of the put."""
    for job in jobs:
        job._p_activate()
    return sum(job._p_serial != serial for job, serial in zip(jobs, serials, strict=True))


def serials_of(jobs: list[zodbjobs.Job]) -> list[bytes]:
    transaction.begin()
    for job in jobs:
        job._p_activate()
    return [job._p_serial for job in jobs]


def test_they_look_as_any_other(any_db: Any, queue: Any, jobs: list[zodbjobs.Job]) -> None:
    serials = serials_of(jobs)
    assert run_in_groups(any_db) == NUMBER
    check_history(queue, jobs)
    assert written_anew(jobs, serials) == ALONE
    for number, job in enumerate(jobs):
        assert (job.status, job.outcome, job.result) == ("completed", "succeeded", number)
        assert (job.attempts, job.failure, job.interruptions) == (1, None, 0)
        assert job.created <= job.started <= job.finished
    info = insights.job_details(jobs[-1])
    assert (info.outcome, info.result, info.worker) == ("succeeded", str(NUMBER - 1), None)


@pytest.mark.promise(28)
def test_nothing_can_be_done_with_them_any_more(
    any_db: Any, queue: Any, jobs: list[zodbjobs.Job]
) -> None:
    run_in_groups(any_db)
    transaction.begin()
    job = jobs[-1]
    for refused in (
        job,
        job.cancel,
        lambda: queue.retry(job),
        lambda: queue.put(job),
        lambda: job.args.__setitem__(0, 1),
        lambda: setattr(job, "priority", 1),
    ):
        with pytest.raises(BadStatus):
            refused()
    with pytest.raises(LookupError):
        queue.remove(job)
    queue.forget(job)
    transaction.commit()
    assert job not in set(queue.finished())
    assert (job.outcome, job.result) == ("succeeded", NUMBER - 1)


@pytest.mark.parametrize(
    "odd",
    [
        lambda: zodbjobs.Job(sample.identity, "x" * 1_000),
        lambda: zodbjobs.Job(sample.identity, 1 << 1_000),
        lambda: zodbjobs.Job(sample.identity, [1]),
        lambda: zodbjobs.Job(sample.identity, datetime.now(UTC)),
        lambda: zodbjobs.Job(sample.fail, "no luck"),
        lambda: zodbjobs.Job(sample.report, 50),
        lambda: zodbjobs.Job(sample.log_lines, 1),
    ],
    ids=["long", "large", "list", "time", "failure", "progress", "log"],
)
def test_what_has_more_to_tell_has_it_in_its_own_record(
    any_db: Any, queue: Any, odd: Callable[[], zodbjobs.Job]
) -> None:
    jobs = queue.put_many([odd() for _ in range(NUMBER)])
    transaction.commit()
    serials = serials_of(jobs)
    with logs_are_kept():
        run_in_groups(any_db)
    transaction.begin()
    assert written_anew(jobs, serials) == NUMBER
    assert {job.status for job in jobs} == {"completed"}


def test_a_few_are_written_one_by_one(any_db: Any, queue: Any) -> None:
    jobs = queue.put_many([zodbjobs.Job(sample.identity, n) for n in range(10)])
    transaction.commit()
    serials = serials_of(jobs)
    run_in_groups(any_db)
    check_history(queue, jobs)
    assert written_anew(jobs, serials) == 10


def test_the_next_claim_writes_them_as_well(
    any_db: Any, queue: Any, jobs: list[zodbjobs.Job]
) -> None:
    serials = serials_of(jobs)
    with bench(any_db) as worker:
        worker.run()
        worker.dispatcher.fetch(worker.parts.lanes[0], worker.runner)
        check_history(queue, jobs)
    assert written_anew(jobs, serials) == ALONE


def test_a_job_that_writes_takes_them_along_each_in_its_own(
    any_db: Any, queue: Any, account: Any, jobs: list[zodbjobs.Job]
) -> None:
    """What they have in common is written by others as well: the writer would be run again."""
    writer = queue.put(zodbjobs.Job(account.deposit, 1))
    transaction.commit()
    serials = serials_of(jobs)
    with bench(any_db) as worker:
        for claim in claimed(worker, NUMBER + 1):
            worker.runner.run(claim)
        transaction.begin()
        assert len(worker.results) == NUMBER + 1
    check_history(queue, [*jobs, writer])
    assert written_anew(jobs, serials) == NUMBER


# Who takes a job away while its end waits, or is being committed


def claimed(worker: Bench, number: int, name: str = "") -> list[Claim]:
    """Claim so many, whoever owns the shard that they are in."""
    session = worker.registration.session
    with session.manager:
        queue = session.stored[name]
        return lifecycle_claim.claim(queue, session.record, number, clock.now(), queue.shards)


def flush(worker: Bench, change: Callable[[], None], meanwhile: bool) -> None:
    """Flush; `change` is committed by another before, or in the middle of the commit."""
    if meanwhile:
        commit_meanwhile(worker.manager, change)
    else:
        change()
    worker.runner.flush()


@small_and_large
@pytest.mark.parametrize("meanwhile", [False, True], ids=["before", "meanwhile"])
def test_a_cancelled_one_does_not_end_again(
    any_db: Any, queue: Any, jobs: list[zodbjobs.Job], meanwhile: bool
) -> None:
    def cancel() -> None:
        with committed(any_db) as other:
            other.get(jobs[50].id).cancel()

    with bench(any_db) as worker:
        worker.run(len(jobs))
        flush(worker, cancel, meanwhile)
    check_history(queue, jobs)
    outcomes = Counter(job.outcome for job in jobs)
    assert outcomes == {"succeeded": len(jobs) - 1, "cancelled": 1}
    assert jobs[50].outcome == "cancelled"


@pytest.mark.promise(93)
@small_and_large
@pytest.mark.parametrize("meanwhile", [False, True], ids=["before", "meanwhile"])
def test_rescued_ones_end_once(
    any_db: Any, queue: Any, jobs: list[zodbjobs.Job], meanwhile: bool
) -> None:
    def give_to_others() -> None:
        with committed(any_db) as other:
            queues, manager = other.parent, other._p_jar.transaction_manager
            assert rescue(manager, queues, paused.registration.id) == len(jobs)
            manager.begin()

    with contextlib.suppress(Fenced), bench(any_db) as paused:
        paused.run(len(jobs))
        flush(paused, give_to_others, meanwhile)
    transaction.begin()
    assert len(queue) == len(jobs)
    assert {job.status for job in jobs} == {"pending"}
    assert run_jobs(any_db) == len(jobs)
    check_history(queue, jobs)
    assert {(job.outcome, job.interruptions) for job in jobs} == {("succeeded", 1)}


def test_two_workers_end_jobs_of_one_bundle(
    any_db: Any, queue: Any, jobs: list[zodbjobs.Job]
) -> None:
    with bench(any_db) as one, bench(any_db) as other:
        for worker in (one, other):
            for claim in claimed(worker, NUMBER // 2):
                worker.runner.run(claim)
        commit_meanwhile(one.manager, other.runner.flush)
        one.runner.flush()
    check_history(queue, jobs)
    assert [job.result for job in jobs] == list(range(len(jobs)))


def test_an_answer_that_was_lost(any_db: Any, queue: Any, jobs: list[zodbjobs.Job]) -> None:
    with bench(any_db) as worker:
        worker.run()
        manager = worker.manager
        commit = manager.commit

        def lost() -> None:
            manager.commit = commit
            commit()
            raise ConflictError("what is told, though all is committed")

        manager.commit = lost
        worker.runner.flush()
    check_history(queue, jobs)
    assert [job.result for job in jobs] == list(range(len(jobs)))


def test_a_job_with_another_key_is_not_taken_for_the_one_that_had_it(
    any_db: Any, queue: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(defaults, "SHARED_TOGETHER", 1)
    first = keys.key_for_now(0, clock.now())

    def put(where: Any, number: int) -> Any:
        following = itertools.count(first)
        monkeypatch.setattr(keys, "key_for_now", lambda *args: next(following))
        return where.put_many([zodbjobs.Job(sample.identity, n) for n in range(number)])

    put(queue.parent.create("other"), 11)
    jobs = put(queue, 30)
    transaction.commit()
    with bench(any_db) as worker:
        claims = claimed(worker, 11, "other") + claimed(worker, 2)
        assert [claim.key for claim in claims] == [first + n for n in range(13)]
        for claim in claims:
            worker.runner.run(claim)
        worker.runner.flush()
    transaction.begin()
    assert [job.status for job in jobs] == ["completed"] * 2 + ["pending"] * 28
    run_in_groups(any_db)
    check_history(queue, jobs)
    assert [job.result for job in jobs] == list(range(30))
