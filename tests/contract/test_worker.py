"""A worker with its threads: what users see while jobs run, and when it stops."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import patience
import pytest
import sample
import transaction
from bench import bench
from meanwhile import commit_meanwhile, committed
from patience import wait_for

import zodbjobs
from zodbjobs.errors import BadStatus, NotStored, WaitTimeout
from zodbjobs.runtime.assembly import Options
from zodbjobs.runtime.dispatcher import Dispatcher
from zodbjobs.runtime.incarnation import Incarnation
from zodbjobs.runtime.tasks.rescue import rescue
from zodbjobs.stored.lifecycle import completion
from zodbjobs.testing import run_jobs


def until(condition: Callable[[], Any]) -> Any:
    """Wait for a condition in fresh snapshots of this thread's connections."""

    def seen() -> Any:
        transaction.begin()
        return condition()

    return patience.until(seen)


@pytest.mark.promise(58, 89)
def test_it_runs_what_is_committed(any_db: Any, queue: Any, account: Any) -> None:
    with zodbjobs.Worker(any_db):
        jobs = [queue.put(zodbjobs.Job(account.deposit, 1)) for _ in range(20)]
        transaction.commit()
        wait_for(jobs)
    transaction.begin()
    assert account.balance == 20
    assert sorted(job.result for job in jobs) == list(range(1, 21))
    assert list(zodbjobs.get_queues(queue).workers) == []


@pytest.mark.promise(44)
def test_a_running_job_is_seen(any_db: Any, queue: Any) -> None:
    with zodbjobs.Worker(any_db, threads=1) as worker:
        job = queue.put(zodbjobs.ProgressableJob(sample.report_and_wait, 50))
        transaction.commit()
        until(lambda: job.log_lines)  # the last that it tells of itself
        assert job.status == "active"
        assert job.percent == 50.0
        assert job.annotations["phase"] == "middle"
        assert job.progress.message == "half way"
        assert job.log_lines[0].endswith("WARNING sample: a line of the log")
        assert job.started is not None
        assert completion.holder_of(queue, job).id == worker.id
        for change in (lambda: queue.remove(job), lambda: queue.forget(job)):
            with pytest.raises((LookupError, BadStatus), match="active"):
                change()
        sample.gate.set()
        wait_for(job)
    assert (job.outcome, job.percent) == ("succeeded", 50.0)
    assert len(job.log_lines) == 1


def test_claimed_jobs_are_assigned(any_db: Any, queue: Any) -> None:
    with zodbjobs.Worker(any_db, threads=1):
        running = queue.put(sample.wait)
        transaction.commit()
        until(lambda: running.status == "active")
        sample.gate.set()
        wait_for(running)
    assert running.result == "waited"


@pytest.mark.promise(78)
@pytest.mark.parametrize("threads", [None, 1, 3])
def test_threads_are_how_many_run_at_a_time(any_db: Any, queue: Any, threads: int | None) -> None:
    options = {} if threads is None else {"threads": threads}
    expected = 4 if threads is None else threads
    with zodbjobs.Worker(any_db, **options):
        jobs = queue.put_many([sample.count_those_that_run] * 8)
        transaction.commit()
        until(lambda: sum(job.status == "active" for job in jobs) == expected)
        assert sample.noted == list(range(1, expected + 1))
        sample.gate.set()
        wait_for(jobs)


def test_short_jobs_go_on_while_a_long_one_runs(any_db: Any, queue: Any) -> None:
    with zodbjobs.Worker(any_db, threads=2):
        long = queue.put(sample.wait)
        short = queue.put_many([zodbjobs.Job(sample.add, n) for n in range(2_000)])
        transaction.commit()
        wait_for(short)
        until(lambda: long.status == "active")
        assert {job.outcome for job in short} == {"succeeded"}
        sample.gate.set()
        wait_for(long)


@pytest.mark.promise(55)
def test_it_wakes_for_what_has_become_due(any_db: Any, queue: Any) -> None:
    with zodbjobs.Worker(any_db):
        job = queue.put(sample.nothing, begin_after=timedelta(seconds=0.3))
        transaction.commit()
        wait_for(job)
    assert job.started >= job.begin_after


def test_cancel_of_a_running_job(any_db: Any, queue: Any, account: Any) -> None:
    with zodbjobs.Worker(any_db):
        patient = queue.put(sample.wait_for_cancel)
        deaf = queue.put(zodbjobs.Job(sample.deposit_and_wait, account, 100))
        transaction.commit()
        until(lambda: patient.status == deaf.status == "active")
        patient.cancel()
        deaf.cancel()
        transaction.commit()
        assert (patient.status, patient.outcome) == ("completed", "cancelled")
        until(lambda: sample.noted == ["cancelled"])
        sample.gate.set()
        after = queue.put(sample.nothing)
        transaction.commit()
        wait_for(after)
    transaction.begin()
    assert deaf.outcome == "cancelled"
    assert account.balance == 0
    assert sum(1 for job in queue.finished()) == 3


def test_cancel_of_a_waiting_job(any_db: Any, queue: Any) -> None:
    job = queue.put(zodbjobs.Job(sample.note, "never"))
    later = queue.put(zodbjobs.Job(sample.note, "never"), begin_after=timedelta(hours=1))
    transaction.commit()
    job.cancel()
    later.cancel()
    transaction.commit()
    assert (job.outcome, later.outcome) == ("cancelled", "cancelled")
    assert "cancelled" in job.failure.message
    assert run_jobs(any_db) == 0
    with pytest.raises(BadStatus, match="completed"):
        job.cancel()
    with pytest.raises(BadStatus, match="new"):
        zodbjobs.Job(sample.nothing).cancel()
    queue.retry(job)
    transaction.commit()
    assert run_jobs(any_db) == 1


@pytest.mark.promise(124)
def test_stop_lets_running_jobs_end(
    any_db: Any, queue: Any, account: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker = zodbjobs.Worker(any_db, threads=1)
    waited: list[None] = []
    tick = Dispatcher.tick

    def watched(self: Dispatcher) -> None:
        if worker._stopping.is_set():
            waited.append(None)
        tick(self)

    monkeypatch.setattr(Dispatcher, "tick", watched)
    worker.start()
    running = queue.put(zodbjobs.Job(sample.deposit_and_wait, account, 5))
    waiting = queue.put(zodbjobs.Job(account.deposit, 1))
    transaction.commit()
    until(lambda: running.status == "active")
    stopping = threading.Thread(target=worker.stop)
    stopping.start()
    until(lambda: len(waited) > 3)  # it goes on with all but claiming
    sample.gate.set()
    stopping.join(patience.PATIENCE)
    transaction.begin()
    assert running.outcome == "succeeded"
    assert waiting.status == "pending"
    assert waiting.interruptions == 0
    assert account.balance == 5
    assert run_jobs(any_db) == 1


@pytest.mark.promise(124)
def test_stop_takes_away_what_does_not_end(any_db: Any, queue: Any, account: Any) -> None:
    worker = zodbjobs.Worker(any_db, threads=1)
    worker.start()
    job = queue.put(zodbjobs.Job(sample.deposit_and_wait, account, 5))
    transaction.commit()
    until(lambda: job.status == "active")
    worker.stop(seconds=0)
    transaction.begin()
    assert (job.status, job.interruptions) == ("pending", 1)
    sample.gate.set()
    patience.no_runner_is_left()
    transaction.begin()
    assert account.balance == 0
    assert run_jobs(any_db) == 1
    transaction.begin()
    assert account.balance == 5
    assert job.outcome == "succeeded"


@pytest.mark.promise(86, 88)
def test_what_it_never_began_is_not_interrupted_though_the_stop_conflicts(
    any_db: Any, queue: Any
) -> None:
    """Others take a job away in the midst of each of its first commits."""
    jobs = [queue.put(sample.nothing) for _ in range(6)]
    transaction.commit()
    incarnation = Incarnation(any_db, Options(), threading.Event())
    parts = incarnation._parts
    assert parts.dispatcher.step(10) == 6
    manager, commit, cancelled = parts.registration.manager, parts.registration.manager.commit, []

    def late_commit() -> None:
        if len(cancelled) < 3:
            cancelled.append(jobs[len(cancelled)].id)
            with committed(any_db) as there:
                there.get(cancelled[-1]).cancel()
        commit()

    manager.commit = late_commit
    incarnation._wind_up(0)
    manager.commit = commit
    parts.registration.close()
    transaction.begin()
    assert [job.interruptions for job in jobs] == [0] * 6
    assert list(zodbjobs.get_queues(queue).workers) == []
    assert run_jobs(any_db) == 3
    transaction.begin()
    assert [job.outcome for job in jobs] == ["cancelled"] * 3 + ["succeeded"] * 3


def test_the_last_booking_is_made_again_after_a_conflict(any_db: Any, queue: Any) -> None:
    """What ended and wasn't committed yet would be run a second time."""
    jobs = [queue.put(zodbjobs.Job(sample.note, number)) for number in range(2)]
    transaction.commit()
    with bench(any_db) as worker:
        claims = worker.claim()
        worker.runner.run(claims[0])
        worker.dispatcher._unwritten = worker.slot.group.take()

        def cancel_the_other() -> None:
            with committed(any_db) as there:
                there.get(jobs[1].id).cancel()

        commit_meanwhile(worker.registration.manager, cancel_the_other)
        worker.dispatcher.book()
    transaction.begin()
    assert sorted(job.outcome for job in jobs) == ["cancelled", "succeeded"]
    assert [job.interruptions for job in jobs] == [0, 0]


def test_it_can_be_started_again(any_db: Any, queue: Any) -> None:
    worker = zodbjobs.Worker(any_db, threads=3)
    size = any_db.getPoolSize()
    for _ in range(2):
        with worker:
            with pytest.raises(RuntimeError, match="already"):
                worker.start()
            assert any_db.getPoolSize() >= size + 3 + 1  # its own record has one as well
            job = queue.put(sample.nothing)
            transaction.commit()
            wait_for(job)
        worker.stop()
        assert any_db.getPoolSize() == size


@pytest.mark.promise(84)
def test_it_works_for_the_queues_that_it_is_given(
    any_db: Any, connection: Any, queue: Any
) -> None:
    mail = zodbjobs.get_queues(connection).create("mail")
    other = queue.put(zodbjobs.Job(sample.note, "other"))
    transaction.commit()
    with zodbjobs.Worker(any_db, queues=["mail"], threads=1):
        for number in range(3):  # what was claimed with the first has run before the last
            job = mail.put(zodbjobs.Job(sample.note, number))
            transaction.commit()
            wait_for(job)
    assert sample.noted == [0, 1, 2]
    assert (other.status, list(queue)) == ("pending", [other])


@pytest.mark.promise(87, 89, 105, 106, 126)
def test_each_start_has_an_id_of_its_own(any_db: Any, connection: Any, queue: Any) -> None:
    workers = zodbjobs.get_queues(connection).workers
    ids: set[str] = set()
    for number in (1, 2):
        with zodbjobs.Worker(any_db) as one, zodbjobs.Worker(any_db) as other:
            transaction.begin()
            assert one.id != other.id
            assert set(workers) == {one.id, other.id}
            assert not ids & set(workers)
            ids |= set(workers)
            jobs = queue.put_many([zodbjobs.Job(sample.note, n) for n in range(50)])
            transaction.commit()
            wait_for(jobs)
        transaction.begin()
        assert list(workers) == []
        assert sorted(sample.noted) == sorted(list(range(50)) * number)


@pytest.mark.promise(96, 129)
def test_who_was_taken_for_dead_goes_on_under_another_id(
    any_db: Any, queue: Any, account: Any, caplog: pytest.LogCaptureFixture
) -> None:
    with zodbjobs.Worker(any_db, threads=1, heartbeat_seconds=0.1) as worker:
        before = worker.id
        job = queue.put(zodbjobs.Job(sample.deposit_slowly_at_first, account, 5))
        transaction.commit()
        until(lambda: job.status == "active")
        (thread,) = [t for t in threading.enumerate() if t.name.startswith("zodbjobs runner")]
        declare_dead(any_db, worker.id)
        until(lambda: job.outcome)
        assert worker.id != before
        ended = (job.result, job.started, job.finished, account.balance)
        assert thread.is_alive()  # in the job, and only now it gets to its commit
        sample.gate.set()
        thread.join(60)
        after = queue.put(zodbjobs.Job(account.deposit, 1))
        transaction.commit()
        wait_for(after)
        assert list(zodbjobs.get_queues(queue).workers) == [worker.id]
    transaction.begin()
    assert sample.noted == ["ran", "ran"]
    assert (job.outcome, job.interruptions, job.attempts) == ("succeeded", 1, 1)
    assert (job.result, job.started, job.finished, account.balance - 1) == ended
    assert ended[0] == ended[3] == 5
    errors = [record.message for record in caplog.records if record.levelno == logging.ERROR]
    assert errors == [
        f"worker {before} was thought dead, and others have taken its jobs",
        f"job {job.id} was taken from this worker; what it did here is dropped",
    ]


def declare_dead(db: Any, worker_id: str) -> None:
    """What another worker does with the jobs of one that it takes for dead."""
    manager = transaction.TransactionManager()
    connection = db.open(manager)
    try:
        assert rescue(manager, zodbjobs.get_queues(connection), worker_id) == 1
    finally:
        connection.close()


@pytest.mark.promise(149)
def test_start_and_stop_are_logged(
    any_db: Any, queue: Any, caplog: pytest.LogCaptureFixture
) -> None:
    with zodbjobs.Worker(any_db, threads=2) as worker:
        until(lambda: f"worker {worker.id} works with 2 threads" in caplog.text)
        failing = queue.put(zodbjobs.Job(sample.fail, "no luck"))
        transaction.commit()
        wait_for(failing)
        assert "has stopped" not in caplog.text
    ours = [record for record in caplog.records if record.name == "zodbjobs"]
    told = [(record.levelname, record.message) for record in ours]
    assert ("INFO", f"worker {worker.id} has stopped") in told
    assert [line for level, line in told if level == "ERROR" and "no luck" in line]


def test_it_works_for_queues_that_are_made_later(any_db: Any, connection: Any) -> None:
    with zodbjobs.Worker(any_db):
        job = zodbjobs.get_queues(connection).create("new").put(sample.nothing)
        transaction.commit()
        wait_for(job)


def test_bad_options_are_refused(any_db: Any) -> None:
    with pytest.raises(ValueError, match="at least one thread"):
        zodbjobs.Worker(any_db, threads=0)
    with pytest.raises(TypeError, match=r"queues=\['mail'\]"):
        zodbjobs.Worker(any_db, queues="mail")


@pytest.mark.parametrize("group_commit", [0, 0.01])
def test_with_and_without_group_commit(
    any_db: Any, queue: Any, account: Any, group_commit: float
) -> None:
    with zodbjobs.Worker(any_db, group_commit=group_commit):
        jobs = [
            *queue.put_many([zodbjobs.Job(sample.add, n) for n in range(200)]),
            *queue.put_many([zodbjobs.Job(account.deposit, 1) for _ in range(20)]),
            *queue.put_many([sample.fail] * 10),
        ]
        transaction.commit()
        wait_for(jobs)
    assert [job.result for job in jobs[:200]] == list(range(200))
    assert account.balance == 20
    assert [job.outcome for job in jobs[220:]] == ["failed"] * 10


def test_history_is_pruned_by_count(any_db: Any, queue: Any) -> None:
    queue.put_many([sample.nothing] * 300)
    transaction.commit()
    run_jobs(any_db)
    with zodbjobs.Worker(any_db, history_count=40):
        until(lambda: len(list(queue.finished())) <= 40)
    assert sum(shard.history_length() for shard in queue.shards) == len(list(queue.finished()))


def test_history_is_pruned_by_age(any_db: Any, queue: Any) -> None:
    job = queue.put(sample.nothing)
    transaction.commit()
    run_jobs(any_db)
    with zodbjobs.Worker(any_db, history_seconds=0.0):
        until(lambda: not list(queue.finished()))
    assert job.outcome == "succeeded"


@pytest.mark.promise(156)
def test_wait_for_says_what_it_waited_for(any_db: Any, queue: Any) -> None:
    job = queue.put(sample.nothing)
    with pytest.raises(NotStored, match="commit first"):
        zodbjobs.testing.wait_for(job, 0)
    transaction.commit()
    with pytest.raises(WaitTimeout, match="still pending after 0 s; is a worker running"):
        zodbjobs.testing.wait_for(job, 0)
    with pytest.raises(NotStored, match="put it into a queue"):
        zodbjobs.testing.wait_for(zodbjobs.Job(sample.nothing))
    zodbjobs.testing.wait_for([])
