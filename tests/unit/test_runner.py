"""The runner at its edges: groups of results, conflicts in their commit, jobs that are gone."""

from __future__ import annotations

import errno
import logging
from pathlib import Path
from typing import Any

import pytest
import sample
import transaction
from bench import bench
from storages import open_file
from ZODB.POSException import ConflictError, POSKeyError

import zodbjobs
from zodbjobs import defaults
from zodbjobs.runtime.transactions import Stopped
from zodbjobs.runtime.workload import Workload
from zodbjobs.testing import run_jobs


def fail_once(monkeypatch: pytest.MonkeyPatch, manager: Any, error: Exception) -> list[Exception]:
    """Let the next commit of `manager` fail; returns what is still to be raised."""
    errors = [error]
    commit = manager.commit

    def failing() -> None:
        if errors:
            raise errors.pop()
        commit()

    monkeypatch.setattr(manager, "commit", failing)
    return errors


def lose_an_answer(monkeypatch: pytest.MonkeyPatch, manager: Any, error: Exception) -> None:
    """Let the next commit of `manager` succeed, and seem to fail."""
    commit = manager.commit

    def failing() -> None:
        commit()
        monkeypatch.setattr(manager, "commit", commit)
        raise error

    monkeypatch.setattr(manager, "commit", failing)


@pytest.mark.promise(93)
def test_a_commit_that_seemed_to_fail_counts(
    db: Any, queue: Any, account: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = queue.put(zodbjobs.Job(account.deposit, 1))
    transaction.commit()
    with bench(db) as worker:
        lose_an_answer(monkeypatch, worker.manager, RuntimeError("connection lost"))
        worker.run()
        worker.runner.flush()
        worker.dispatcher.step()
    transaction.begin()
    assert (job.outcome, job.result, account.balance) == ("succeeded", 1, 1)
    assert list(queue.finished()) == [job]
    queue.forget(job)
    assert list(queue.finished()) == []


def test_several_threads_find_the_jobs_in_the_clients_cache(
    db: Any, queue: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else each thread waits for the server, job by job, while another one computes."""
    jobs = queue.put_many([sample.nothing] * 3)
    transaction.commit()
    fetched: list[Any] = []
    with bench(db) as worker:
        connection = worker.dispatcher._session.connection
        monkeypatch.setattr(connection, "prefetch", fetched.append)
        monkeypatch.setattr(Workload, "jobs_are_short", False)
        worker.run()
    assert fetched == [[job._p_oid for job in jobs]]


def test_results_wait_for_each_other(db: Any, queue: Any) -> None:
    jobs = queue.put_many([zodbjobs.Job(sample.note, n) for n in range(5)])
    transaction.commit()
    before = db.lastTransaction()
    with bench(db) as worker:
        worker.claim(0)
        worker.run()
        claimed = db.lastTransaction()
        assert claimed != before
        assert worker.results == []
        worker.runner.flush()
        assert len(worker.results) == 5
    transaction.begin()
    assert [job.result for job in jobs] == [0, 1, 2, 3, 4]


def test_a_group_is_full_at_some_number_of_records(db: Any, queue: Any) -> None:
    for _ in range(defaults.GROUP_JOBS + 1):
        queue.put(sample.nothing)
        transaction.commit()
    with bench(db) as worker:
        worker.run(defaults.GROUP_JOBS + 1)
        assert len(worker.results) == defaults.GROUP_JOBS


def test_what_ends_in_one_record_does_not_fill_a_group(db: Any, queue: Any) -> None:
    queue.put_many([sample.nothing] * (defaults.GROUP_JOBS + 1))
    transaction.commit()
    with bench(db) as worker:
        worker.run(defaults.GROUP_JOBS + 1)
        assert not worker.results


def test_a_conflict_of_a_group_runs_nothing_again(
    db: Any, queue: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    queue.put_many([zodbjobs.Job(sample.note, n) for n in range(5)])
    transaction.commit()
    with bench(db) as worker:
        worker.run()
        errors = fail_once(monkeypatch, worker.manager, ConflictError())
        worker.runner.flush()
        assert not errors
        assert len(worker.results) == 5
    assert sample.noted == [0, 1, 2, 3, 4]


def test_a_worker_that_stops_keeps_the_result_that_waits_for_the_storage(
    db: Any, queue: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """It isn't made a second one, of a job that failed."""
    queue.put(zodbjobs.Job(sample.note, 1))
    transaction.commit()
    with bench(db, group_seconds=0.0) as worker:
        (claim,) = worker.claim()
        fail_once(monkeypatch, worker.manager, OSError(errno.ENOSPC, "no room"))
        worker.stopping.set()
        with pytest.raises(Stopped):
            worker.runner.run(claim)
        assert [result.outcome for result in worker.slot.group.take()] == ["succeeded"]
    assert not [record for record in caplog.records if "failed" in record.message]


def test_a_conflict_of_a_writer_runs_only_the_writer_again(
    db: Any, queue: Any, account: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    queue.put_many([zodbjobs.Job(sample.note, n) for n in range(5)])
    job = queue.put(zodbjobs.Job(account.deposit, 1))
    transaction.commit()
    with bench(db) as worker:
        claims = worker.claim()
        for claim in claims[:-1]:
            worker.runner.run(claim)
        errors = fail_once(monkeypatch, worker.manager, ConflictError())
        worker.runner.run(claims[-1])
        assert not errors
        # The group and the writer are one commit.
        assert len(worker.results) == 6
    transaction.begin()
    assert sample.noted == [0, 1, 2, 3, 4]
    assert (account.balance, job.attempts, job.conflicts) == (1, 1, 1)


def test_what_cannot_be_committed_is_a_failure_of_that_job_alone(
    db: Any, queue: Any, monkeypatch: pytest.MonkeyPatch, account: Any
) -> None:
    jobs = queue.put_many([zodbjobs.Job(sample.note, n) for n in range(3)])
    transaction.commit()
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    with bench(db) as worker:
        worker.run()
        # Nobody can say how such a result came so far; it must not stop the others.
        worker.slot.group._results[1].result = sample.Unpicklable()
        worker.runner.flush()
        assert len(worker.results) == 3
    transaction.begin()
    assert [job.outcome for job in jobs] == ["succeeded", "failed", "succeeded"]
    assert "can't be stored" in jobs[1].failure.message


def test_a_job_that_was_taken_away_before_it_began(db: Any, queue: Any) -> None:
    job = queue.put(zodbjobs.Job(sample.note, "never"))
    transaction.commit()
    with bench(db) as worker:
        (claim,) = worker.claim()
        transaction.manager.begin()
        with db.transaction() as connection:
            zodbjobs.get_queue(connection).get(job.id).cancel()
        worker.runner.run(claim)
    transaction.begin()
    assert sample.noted == []
    assert job.outcome == "cancelled"


def test_a_job_that_was_taken_away_while_it_waits_for_its_group(db: Any, queue: Any) -> None:
    jobs = queue.put_many([zodbjobs.Job(sample.note, n) for n in range(3)])
    transaction.commit()
    with bench(db) as worker:
        worker.run()
        with db.transaction() as connection:
            zodbjobs.get_queue(connection).get(jobs[1].id).cancel()
        worker.runner.flush()
    transaction.begin()
    assert [job.outcome for job in jobs] == ["succeeded", "cancelled", "succeeded"]
    assert len(list(queue.finished())) == 3


@pytest.mark.promise(108)
def test_a_job_that_had_ended_already(
    db: Any, queue: Any, caplog: pytest.LogCaptureFixture
) -> None:
    job = queue.put(zodbjobs.Job(sample.note, "never"))
    other = queue.put(zodbjobs.Job(sample.note, "other"))
    transaction.commit()
    with bench(db) as worker:
        claim, following = worker.claim()
        transaction.begin()
        with db.transaction() as connection:
            zodbjobs.get_queue(connection).get(job.id)._end("succeeded", "done", 1, 2)
        worker.runner.run(claim)
        worker.runner.run(following)
        worker.runner.flush()
        worker.dispatcher.step()
        assert worker.registration.session.record.leased() == []
    (told,) = [r for r in caplog.records if "had already ended" in r.message]
    assert told.levelno == logging.ERROR
    transaction.begin()
    assert sample.noted == ["other"]
    assert set(queue.finished()) == {job, other}


def test_a_record_that_is_lost_disturbs_nobody(
    db: Any, queue: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    lost = queue.put(zodbjobs.Job(sample.note, "lost"))
    other = queue.put(zodbjobs.Job(sample.note, "other"))
    transaction.commit()
    storage_load = type(db.storage).loadBefore

    def load_before(self: Any, oid: bytes, tid: bytes) -> Any:
        if oid == lost._p_oid:
            raise POSKeyError(oid)
        return storage_load(self, oid, tid)

    monkeypatch.setattr(type(db.storage), "loadBefore", load_before)
    assert run_jobs(db) == 2
    assert run_jobs(db) == 0
    monkeypatch.undo()
    transaction.begin()
    assert sample.noted == ["other"]
    assert other.outcome == "succeeded"
    assert lost in [job for shard in queue.shards for job in shard.parked.values()]


def test_a_class_of_job_that_is_missing_is_parked(
    db: Any, connection: Any, queue: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    job = queue.put(sample.Selfish(4))
    other = queue.put(zodbjobs.Job(sample.note, "other"))
    transaction.commit()
    with monkeypatch.context() as patch:
        patch.delattr(sample, "Selfish")
        assert run_jobs(db) == 2
        assert run_jobs(db) == 0
    transaction.begin()
    assert sample.noted == ["other"]
    assert other.outcome == "succeeded"
    assert job.status == "pending"
    assert "could not load it" in job.parked
    assert job not in queue
    queue.retry(job)
    transaction.commit()
    job_id = job.id
    connection.close()
    db.close()
    # The next start of the process, with the code in place.
    again = open_file(str(tmp_path / "Data.fs"))
    assert run_jobs(again) == 1
    with again.transaction() as fresh:
        assert zodbjobs.get_queue(fresh).get(job_id).result == 8
    again.close()


def test_a_job_that_was_taken_away_makes_room_for_the_next(
    db: Any, queue: Any, account: Any
) -> None:
    """At once: else a worker whose job was cancelled has nothing to do until its heartbeat."""
    job = queue.put(zodbjobs.Job(account.deposit, 1))
    other = queue.put(sample.nothing)
    transaction.commit()
    with bench(db) as worker:
        (claim,) = worker.claim(1)
        with queue._p_jar.transaction_manager:
            job.cancel()
        worker.runner.run(claim)
        worker.dispatcher.fetch(worker.parts.lanes[0], worker.runner)
        (claim,) = worker.parts.workload.take_all()
        assert claim.oid == other._p_oid
        worker.dispatcher.give_back([claim])
