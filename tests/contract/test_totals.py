"""What is counted for ever: exact, whoever runs the jobs and whatever becomes of them."""

from __future__ import annotations

import contextlib
import dataclasses
from datetime import timedelta
from typing import Any

import pytest
import sample
import transaction
from bench import bench, die, make_doomed
from patience import wait_for
from ZODB.POSException import ConflictError

import zodbjobs
from zodbjobs import insights
from zodbjobs.runtime.measures import JOB, RESULTS, STEP, TOGETHER, Measures
from zodbjobs.runtime.tasks.heartbeat import Heartbeat
from zodbjobs.runtime.tasks.rescue import rescue
from zodbjobs.stored.counters import Counters
from zodbjobs.testing import conflict_once, moving_clock, run_jobs


def totals(place: Any) -> insights.Totals:
    place._p_jar.transaction_manager.begin()
    return insights.read_totals(place)


def of_queue(queue: Any) -> insights.QueueTotals:
    (found,) = (each for each in totals(queue).queues if each.name == queue.name)
    return found


def finished(queue: Any) -> dict[str, int]:
    """By outcome, those that there are."""
    return {outcome: n for outcome, n in of_queue(queue).finished.items() if n}


def put_count(queue: Any) -> int:
    queue._p_jar.transaction_manager.begin()
    return sum(insights.count_shard(shard).put for shard in queue.shards)


def put_many(queue: Any, number: int, **options: Any) -> list[zodbjobs.Job]:
    jobs = queue.put_many([zodbjobs.Job(sample.identity, n) for n in range(number)], **options)
    transaction.commit()
    return list(jobs)


# What was put


def test_each_put_is_counted_once(any_db: Any, queue: Any) -> None:
    put_many(queue, 30)
    queue.put(sample.nothing)
    queue.put(sample.nothing, begin_after=timedelta(hours=1))
    transaction.commit()
    assert put_count(queue) == 32
    assert run_jobs(any_db) == 31
    assert put_count(queue) == 32
    put_many(queue, 3)
    assert put_count(queue) == 35


def test_a_put_that_is_rolled_back_is_none(any_db: Any, queue: Any) -> None:
    queue.put(sample.nothing)
    savepoint = transaction.savepoint()
    queue.put_many([sample.nothing] * 3)
    savepoint.rollback()
    queue.put(sample.nothing)
    transaction.commit()
    queue.put_many([sample.nothing] * 3)
    transaction.abort()
    assert put_count(queue) == 2
    run_jobs(any_db)
    assert put_count(queue) == 2


@pytest.mark.parametrize("number", [1, 3])
@pytest.mark.parametrize("drained", [False, True])
def test_what_is_taken_out_was_put_all_the_same(
    any_db: Any, queue: Any, number: int, drained: bool
) -> None:
    jobs = put_many(queue, number, begin_after=timedelta(hours=1))
    if drained:
        assert run_jobs(any_db) == 0
        transaction.begin()
    jobs[0].cancel()
    if number > 1:
        queue.remove(jobs[1])
    transaction.commit()
    assert put_count(queue) == number
    run_jobs(any_db)
    assert put_count(queue) == number


def test_what_waits_for_others_was_put(any_db: Any, queue: Any) -> None:
    first = queue.put(sample.fail)
    followers = [queue.put(sample.nothing, after=[first]) for _ in range(2)]
    skipped = queue.put(sample.nothing, after=[first], on_failure="skip")
    late = queue.put(sample.nothing, after=[first], begin_by=timedelta(hours=1))
    transaction.commit()
    assert put_count(queue) == 5
    followers[0].cancel()
    transaction.commit()
    assert put_count(queue) == 5
    run_jobs(any_db)
    transaction.begin()
    assert (skipped.outcome, late.outcome) == ("skipped", "succeeded")
    assert put_count(queue) == 5


def test_what_expires_while_it_waits_for_others_was_put(any_db: Any, queue: Any) -> None:
    with moving_clock() as clock:
        first = queue.put(sample.nothing, begin_after=timedelta(hours=2))
        job = queue.put(sample.nothing, after=[first], begin_by=timedelta(hours=1))
        transaction.commit()
        clock.advance(3_700)
        run_jobs(any_db)
        transaction.begin()
        assert job.outcome == "expired"
        assert put_count(queue) == 2


def test_to_change_what_waits_is_no_put(any_db: Any, queue: Any) -> None:
    queue.quotas.create("one")
    job = queue.put(sample.nothing, begin_after=timedelta(hours=1))
    transaction.commit()
    for _ in range(2):
        job.quota_names = () if job.quota_names else ("one",)
        transaction.commit()
        assert put_count(queue) == 1
        run_jobs(any_db)
        assert put_count(queue) == 1


def test_a_parked_one_that_is_retried_is_no_put(
    any_db: Any, queue: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = queue.put(zodbjobs.Job(sample.vanishing, 1))
    transaction.commit()
    with monkeypatch.context() as patch:
        patch.delattr(sample, "vanishing")
        patch.setattr("zodbjobs.stored.lifecycle.calls._found", {})
        run_jobs(any_db)
    transaction.begin()
    assert job.parked
    queue.retry(job)
    transaction.commit()
    assert put_count(queue) == 1
    assert run_jobs(any_db) == 1
    assert put_count(queue) == 1


@pytest.mark.parametrize("limited", [False, True])
def test_to_pause_and_resume_is_no_put(any_db: Any, queue: Any, limited: bool) -> None:
    queue.quotas.create("one")
    queue.pause("for the test", match="sample:*")
    names = ["one"] if limited else None
    for _ in range(3):
        queue.put(sample.nothing, quota_names=names)
    transaction.commit()
    run_jobs(any_db)
    transaction.begin()
    queue.resume(match="sample:*")
    transaction.commit()
    assert put_count(queue) == 3
    assert run_jobs(any_db) == 3
    assert put_count(queue) == 3


def test_a_retry_by_hand_is_another_put(any_db: Any, queue: Any) -> None:
    job = queue.put(sample.fail)
    transaction.commit()
    run_jobs(any_db)
    transaction.begin()
    queue.retry(job)
    transaction.commit()
    assert put_count(queue) == 2
    run_jobs(any_db)
    assert put_count(queue) == 2
    assert finished(queue) == {"failed": 2}


# What ended


def test_each_end_is_counted_by_its_outcome(any_db: Any, queue: Any) -> None:
    put_many(queue, 25)
    queue.put(sample.fail)
    queue.put(sample.nothing).cancel()
    transaction.commit()
    run_jobs(any_db)
    assert finished(queue) == {"succeeded": 25, "failed": 1, "cancelled": 1}
    found = of_queue(queue)
    assert (sum(found.waited.classes), sum(found.ran.classes)) == (26, 26)


def test_the_history_may_be_forgotten(any_db: Any, queue: Any) -> None:
    jobs = put_many(queue, 3)
    run_jobs(any_db)
    transaction.begin()
    for job in jobs:
        queue.forget(job)
    transaction.commit()
    assert finished(queue) == {"succeeded": 3}


def test_times_go_to_their_classes(db: Any, queue: Any) -> None:
    with moving_clock() as clock:
        queue.put(zodbjobs.Job(sample.take, 7))
        transaction.commit()
        clock.advance(45)
        run_jobs(db)
    found = of_queue(queue)
    bounds = zodbjobs.defaults.SECONDS_BUCKETS
    assert found.waited.classes.index(1) == bounds.index(60)
    assert found.ran.classes.index(1) == bounds.index(10)
    assert (found.waited.total, found.ran.total) == (45_000_000, 7_000_000)


def test_what_a_dead_worker_had_ended_is_counted_when_it_is_booked(db: Any, queue: Any) -> None:
    doomed = make_doomed(db)
    queue.put(sample.fail)
    put_many(queue, 2)
    doomed.run()
    die(doomed)
    run_jobs(db)
    assert finished(queue) == {"succeeded": 2, "failed": 1}
    assert put_count(queue) == 3


def test_a_put_beside_a_claim_is_counted(
    any_db: Any, queue: Any, request: pytest.FixtureRequest
) -> None:
    """Both write the inbox; neither conflicts where the storage can merge that."""
    put_many(queue, 1)
    queue.put(sample.nothing)
    with bench(any_db) as worker:
        assert len(worker.claim()) == 1
        with contextlib.suppress(ConflictError):
            queue._p_jar.transaction_manager.commit()
    transaction.abort()
    merges = request.node.callspec.params["any_db"] != "MappingStorage"
    assert put_count(queue) == (2 if merges else 1)
    run_jobs(any_db)
    assert put_count(queue) == (2 if merges else 1)


# Workers


def retried(job: zodbjobs.Job, **options: Any) -> zodbjobs.Job:
    job.retry_policy = zodbjobs.Retry(**options)
    return job


def test_attempts_that_another_one_follows(any_db: Any, queue: Any) -> None:
    queue.put(retried(zodbjobs.Job(sample.fail_until, 3), times=5))
    queue.put(retried(zodbjobs.Job(sample.fail), times=1, delay=3600))
    transaction.commit()
    run_jobs(any_db)
    assert of_queue(queue).retried == 3
    assert finished(queue) == {"succeeded": 1}


@pytest.mark.parametrize("seconds", [0, 1])
def test_a_snooze_is_no_retry(any_db: Any, queue: Any, seconds: int) -> None:
    with moving_clock() as moved:
        queue.put(zodbjobs.Job(sample.snooze_once, timedelta(seconds=seconds)))
        transaction.commit()
        run_jobs(any_db)
        moved.advance(2)
        run_jobs(any_db)
    assert finished(queue) == {"succeeded": 1}
    assert of_queue(queue).retried == 0


def test_jobs_that_are_taken_back(any_db: Any, queue: Any) -> None:
    doomed = make_doomed(any_db)
    put_many(queue, 3)
    assert len(doomed.claim()) == 3
    die(doomed)
    run_jobs(any_db)
    assert of_queue(queue).rescued == 3
    assert finished(queue) == {"succeeded": 3}


def test_totals_outlive_who_counted_them(any_db: Any, queue: Any) -> None:
    """They are never smaller than before, not even between a rescue and its end."""
    doomed = make_doomed(any_db)
    queue.put(retried(zodbjobs.Job(sample.fail_until, 2), times=1))
    put_many(queue, 2)
    doomed.run()
    doomed.registration.measures.conflicted(STEP)
    doomed.dispatcher.book()
    with doomed.registration.manager:
        doomed.registration.measures.write(doomed.registration.session.record.counters)
    before = totals(queue)
    assert (before.queues[0].retried, before.conflicts[STEP]) == (1, 1)
    die(doomed)
    with contextlib.closing(any_db.open(manager := transaction.TransactionManager())) as other:
        rescue(manager, zodbjobs.get_queues(other), doomed.registration.id)
    after = totals(queue)
    assert not after.workers
    assert dataclasses.replace(after, queues=(), workers=()) == dataclasses.replace(
        before, queues=(), workers=()
    )
    assert after.queues[0].retried == 1


def test_an_orderly_stop_writes_what_was_measured(db: Any, queue: Any, account: Any) -> None:
    deposits = queue.put_many([zodbjobs.Job(account.deposit, 1) for _ in range(3)])
    jobs = put_many(queue, 30)
    with conflict_once(), zodbjobs.Worker(db, threads=1):
        wait_for([*deposits, *jobs])
    found = totals(queue)
    assert not found.workers
    assert found.conflicts[JOB] == 1
    assert sum(found.commits[JOB].classes) == 3
    assert sum(found.commits[STEP].classes) >= 1
    assert found.commit_jobs.total == 33


def test_results_that_are_committed_together(db: Any, queue: Any) -> None:
    put_many(queue, 5)
    with bench(db) as worker:
        worker.run()
        worker.runner.flush()
    found = totals(queue)
    assert sum(found.commits[RESULTS].classes) == 1
    bounds = zodbjobs.defaults.COMMIT_JOBS_BUCKETS
    assert found.commit_jobs.classes.index(1) == bounds.index(5)


def test_jobs_that_share_a_commit_are_a_kind(db: Any, queue: Any, account: Any) -> None:
    jobs = [zodbjobs.Job(account.deposit, 1) for _ in range(5)]
    for job in jobs:
        job.transactional = True
    queue.put_many(jobs)
    transaction.commit()
    with bench(db) as worker:
        worker.run()
        worker.runner.flush()
    found = totals(queue)
    assert sum(found.commits[TOGETHER].classes) == 1
    assert found.commit_jobs.total == 5
    assert JOB not in found.commits


def test_the_heartbeat_writes_what_was_measured(db: Any, queue: Any) -> None:
    with bench(db) as worker:
        worker.registration.measures.conflicted(JOB)
        beat = Heartbeat(0, worker.registration.measures)
        with worker.registration.manager:
            beat.write(worker.registration.session)
        assert totals(queue).conflicts == {JOB: 1}
        with worker.registration.manager:
            beat.write(worker.registration.session)
        assert totals(queue).conflicts == {JOB: 1}
    assert totals(queue).conflicts == {JOB: 1}


def test_plain_jobs_write_no_counters(any_db: Any, queue: Any) -> None:
    """What is counted of them stands in records that they write anyway."""
    worker = make_doomed(any_db, group_seconds=3600)
    transaction.begin()
    (record,) = queue.parent.workers.values()
    counters = [record.counters, queue.parent.counters]

    def serials() -> list[bytes]:
        for each in counters:
            each._p_activate()
        return [each._p_serial for each in counters]

    before = serials()
    put_many(queue, 3)
    worker.run()
    worker.runner.flush()
    worker.dispatcher.book()
    assert finished(queue) == {"succeeded": 3}
    assert serials() == before
    worker.close()
    assert finished(queue) == {"succeeded": 3}
    assert serials() != before


def test_a_worker_without_work_writes_no_counters(db: Any, queue: Any) -> None:
    worker = make_doomed(db)
    put_many(queue, 1)
    worker.run()
    worker.dispatcher.book()
    record = worker.registration.session.record
    beat = Heartbeat(0, worker.registration.measures)
    serials = []
    for _ in range(3):
        with worker.registration.manager:
            beat.write(worker.registration.session)
        with worker.registration.manager:
            record.counters._p_activate()
            serials.append((record.heartbeat, record.counters._p_serial))
        worker.dispatcher.step()
    assert [beats for beats, _ in serials] == [1, 2, 3]
    assert len({serial for _, serial in serials}) == 1
    worker.close()


def test_an_end_that_was_not_booked_is_counted_when_it_is_forgotten(db: Any, queue: Any) -> None:
    worker = make_doomed(db)
    job = queue.put(sample.fail)
    transaction.commit()
    worker.run()
    worker.runner.flush()
    transaction.begin()
    queue.retry(job)
    transaction.commit()
    assert finished(queue) == {"failed": 1}
    worker.close()
    run_jobs(db)
    assert finished(queue) == {"failed": 2}
    assert put_count(queue) == 2


def test_many_commits_are_counted_before_they_are_written() -> None:
    measures, counters = Measures(), Counters()
    for _ in range(25_000):
        measures.committed(JOB, 0.001, 1)
    assert len(measures._noted) < 10_000
    measures.write(counters)
    assert sum(counters.commits[JOB][1]) == counters.commit_jobs[0] == 25_000


def test_what_two_have_measured_is_added() -> None:
    one, other = Counters(), Counters()
    one.show({"a": 1}, {"a": (5, (1, 2))}, (7, (1, 0)))
    other.show({"a": 2, "b": 1}, {"b": (1, (0, 1))}, (0, ()))
    other.count_retried("q")
    one.add(other)
    assert (one.conflicts, one.retried) == ({"a": 3, "b": 1}, {"q": 1})
    assert one.commits == {"a": (5, (1, 2)), "b": (1, (0, 1))}
    assert one.commit_jobs == (7, (1, 0))
    one.add(one)
    assert one.commit_jobs == (14, (2, 0))
