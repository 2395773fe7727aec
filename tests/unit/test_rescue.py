"""What a new worker finds of one that died, and what it makes of it."""

from __future__ import annotations

import contextlib
import errno
import importlib
import os
import subprocess
import sys
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import sample
import transaction
from bench import Bench, bench, die, make_doomed, record
from ZODB.Connection import resetCaches

import zodbjobs
from zodbjobs import defaults, insights
from zodbjobs.runtime import failure_detector
from zodbjobs.runtime.dispatcher import Fenced
from zodbjobs.runtime.failure_detector import is_dead, process_started
from zodbjobs.runtime.tasks.rescue import rescue
from zodbjobs.stored.lifecycle import complete
from zodbjobs.testing import moving_clock, run_jobs


@pytest.fixture
def doomed(db: Any) -> Bench:
    """A worker that a test lets die: what it wrote stays as it is."""
    return make_doomed(db, group_seconds=0)


@pytest.mark.promise(27, 65, 93, 94, 125, 130)
def test_claimed_jobs_come_back_in_front(db: Any, queue: Any, doomed: Bench) -> None:
    jobs = queue.put_many([zodbjobs.Job(sample.note, n) for n in range(3)])
    transaction.commit()
    assert len(doomed.claim()) == 3
    transaction.begin()
    assert {job.status for job in jobs} == {"assigned"}
    die(doomed)
    urgent = queue.put(zodbjobs.Job(sample.note, "urgent"), priority=7)
    transaction.commit()
    assert run_jobs(db) == 4
    assert sample.noted == [0, 1, 2, "urgent"]
    transaction.begin()
    assert {insights.job_info(job).interruptions for job in jobs} == {1}
    assert urgent.interruptions == 0
    assert {job.outcome for job in jobs} == {"succeeded"}


@pytest.mark.promise(27, 93)
def test_what_had_ended_is_booked(db: Any, queue: Any, account: Any, doomed: Bench) -> None:
    good = queue.put(zodbjobs.Job(account.deposit, 1))
    bad = queue.put(sample.fail)
    retried = zodbjobs.Job(sample.fail)
    retried.retry_policy = zodbjobs.Retry(1, delay=60.0, jitter=0)
    queue.put(retried)
    transaction.commit()
    doomed.run()
    die(doomed)
    with moving_clock() as clock:
        assert run_jobs(db) == 0
        transaction.begin()
        assert {job.outcome for job in queue.finished()} == {"succeeded", "failed"}
        assert (good.interruptions, bad.outcome, account.balance) == (0, "failed", 1)
        assert retried.status == "pending"
        clock.advance(61)
        assert run_jobs(db) == 1
    transaction.begin()
    assert (retried.outcome, retried.attempts) == ("failed", 2)
    assert sum(shard.history_length() for shard in queue.shards) == 3


def test_what_was_parked_stays_parked(
    db: Any, queue: Any, account: Any, doomed: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = queue.put(account.vanishing)
    transaction.commit()
    monkeypatch.delattr(sample.Account, "vanishing")
    doomed.run()
    die(doomed)
    assert run_jobs(db) == 0
    transaction.begin()
    assert "no method" in job.parked


@contextlib.contextmanager
def other_release(name: str, *value: Any) -> Iterator[None]:
    """What is opened meanwhile sees the sample module without that name, or with that value."""
    with pytest.MonkeyPatch.context() as patch:
        if value:
            patch.setattr(sample, name, *value)
        else:
            patch.delattr(sample, name)
        resetCaches()
        yield
    resetCaches()


def test_what_had_ended_is_booked_where_its_class_is_missing(
    db: Any, queue: Any, account: Any, doomed: Bench
) -> None:
    done = queue.put(sample.SpecialJob(account.deposit, 1))
    claimed = queue.put(sample.SpecialJob(account.deposit, 10))
    transaction.commit()
    doomed.runner.run(doomed.claim()[0])
    die(doomed)
    with other_release("SpecialJob"):
        assert run_jobs(db) == 0
    transaction.begin()
    assert list(queue.finished()) == [done]
    assert insights.queue_stats(queue, "").parked == 1
    queue.retry(claimed)
    with pytest.raises(zodbjobs.errors.BadStatus, match="is succeeded"):
        queue.retry(done)
    transaction.commit()
    assert run_jobs(db) == 1
    transaction.begin()
    assert account.balance == 11


def test_what_ends_after_it_was_parked_is_not_run_again(
    db: Any, queue: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = queue.put(sample.SpecialJob(sample.note, 1))
    transaction.commit()
    paused = make_doomed(db, group_seconds=3600)
    paused.run()
    manager = paused.manager
    commit = manager.commit

    def commit_after_a_pause() -> None:
        with other_release("SpecialJob"), bench(db) as rescuer:
            there = rescuer.registration
            rescue(there.manager, there.session.stored, paused.registration.id)
        commit()

    monkeypatch.setattr(manager, "commit", commit_after_a_pause)
    paused.runner.flush()
    die(paused)
    transaction.begin()
    assert job.outcome == "succeeded"
    assert insights.queue_stats(queue, "").parked == 1
    queue.retry(job)
    transaction.commit()
    assert list(queue.finished()) == [job]
    assert len(queue) == 0


@pytest.mark.parametrize("place", [0, 1])
def test_a_job_that_cannot_be_loaded_harms_no_other(
    db: Any, queue: Any, doomed: Bench, place: int
) -> None:
    jobs = [zodbjobs.Job(sample.note, "sound")]
    jobs.insert(place, zodbjobs.Job(sample.note, sample.Brittle()))
    brittle = queue.put_many(jobs)[place]
    transaction.commit()
    assert len(doomed.claim()) == 2
    die(doomed)
    with other_release("brittle", ValueError):
        assert run_jobs(db) == 1
        other = db.open()
        rows = insights.list_jobs(other)
        found = insights.find_job(other, brittle.id)
        assert found is not None
        text = "it can't be loaded in this process: ValueError('there is no Brittle')"
        assert insights.job_details(found).parked == text
        assert insights.job_details(found).queue == ""
        other.close()
    assert {row.parked for row in rows} == {None, text}
    transaction.begin()
    queue.retry(brittle)
    transaction.commit()
    assert run_jobs(db) == 1
    transaction.begin()
    assert {job.outcome for job in queue.finished()} == {"succeeded"}


def test_a_job_that_cannot_be_taken_back_harms_no_other(
    db: Any, queue: Any, doomed: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It stays with the record of its worker, for one that can."""
    jobs = queue.put_many([sample.nothing] * 3)
    transaction.commit()
    assert len(doomed.claim()) == 3
    die(doomed)
    take_back = complete.take_back

    def refuse_one(record: Any, key: int, job: Any, *rest: Any) -> bool:
        if job._p_oid == jobs[1]._p_oid:
            raise RuntimeError("not this one")
        return take_back(record, key, job, *rest)

    monkeypatch.setattr(complete, "take_back", refuse_one)
    assert run_jobs(db) == 2
    transaction.begin()
    assert [job.outcome for job in jobs] == ["succeeded", None, "succeeded"]
    assert list(queue.parent.workers) == [doomed.registration.id]
    monkeypatch.undo()
    assert run_jobs(db) == 1
    transaction.begin()
    assert jobs[1].outcome == "succeeded"
    assert list(queue.parent.workers) == []


@pytest.mark.parametrize("others", [1, 30])
def test_an_argument_whose_module_fails_harms_no_other(
    db: Any,
    queue: Any,
    doomed: Bench,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    others: int,
) -> None:
    module = tmp_path / "fragile.py"
    module.write_text("from persistent import Persistent\nclass Thing(Persistent): pass\n")
    monkeypatch.syspath_prepend(tmp_path)
    thing = importlib.import_module("fragile").Thing()
    queue.put_many([sample.nothing] * others)
    job = queue.put(zodbjobs.Job(sample.note, thing))
    transaction.commit()
    assert len(doomed.claim()) == others + 1
    die(doomed)
    module.write_text("raise RuntimeError('not today, and not in as many words as before')\n")
    monkeypatch.delitem(sys.modules, "fragile")
    resetCaches()
    assert run_jobs(db) == others
    transaction.begin()
    assert job._shard.has_parked(job._key, job)


def test_a_read_that_fails_once_parks_nothing(
    db: Any, queue: Any, doomed: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = queue.put(sample.nothing)
    transaction.commit()
    doomed.claim()
    die(doomed)
    load = db.storage.loadBefore

    def fail_once(oid: bytes, tid: bytes) -> Any:
        if oid == job._p_oid:
            monkeypatch.undo()
            raise OSError(errno.EIO, "broken disk")
        return load(oid, tid)

    monkeypatch.setattr(db.storage, "loadBefore", fail_once)
    with pytest.raises(OSError, match="broken disk"):
        run_jobs(db)
    assert run_jobs(db) == 1


def test_a_job_whose_record_is_lost_harms_no_other(db: Any, queue: Any, doomed: Bench) -> None:
    queue.put_many([sample.nothing] * 2)
    transaction.commit()
    lost, _ = doomed.claim()
    forget_record(db, lost.oid)
    die(doomed)
    resetCaches()
    assert run_jobs(db) == 1
    place = db.open()
    assert {row.state for row in insights.list_jobs(place)} == {"parked", "succeeded"}
    place.close()


def forget_record(db: Any, oid: bytes) -> None:
    """As after damage to the file."""
    del db.storage._index[oid]


def test_many_are_given_back_in_bounded_transactions(
    db: Any, queue: Any, doomed: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(defaults, "RESCUE_BATCH", 7)
    jobs = queue.put_many([sample.nothing] * 30)
    transaction.commit()
    assert len(doomed.claim()) == 30
    die(doomed)
    assert run_jobs(db) == 30
    transaction.begin()
    assert {job.interruptions for job in jobs} == {1}


@pytest.mark.promise(113)
def test_the_tenth_interruption_is_the_last(db: Any, queue: Any) -> None:
    job = queue.put(sample.nothing)
    transaction.commit()
    for number in range(10):
        assert (job.status, job.interruptions) == ("pending", number)
        worker = Bench(db, group_seconds=0)
        (claim,) = worker.claim()
        assert claim.interruptions == number
        die(worker)
        come_and_go(db)
        transaction.begin()
    assert job.outcome == "aborted"
    assert "died or was stopped 10 times" in job.failure.message
    assert list(queue.finished()) == [job]


def come_and_go(db: Any) -> None:
    """A worker that comes and goes: it rescues, and claims nothing."""
    worker = Bench(db, group_seconds=0)
    worker.registration.drop()
    die(worker)


@pytest.mark.process
def test_who_is_dead(monkeypatch: pytest.MonkeyPatch) -> None:
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    parent = os.getppid()
    assert is_dead(record("me"), only_process=False)  # this process has no such worker
    assert is_dead(record("me", pid=gone.pid), only_process=False)
    assert is_dead(record("me", pid=parent, process_started="long ago"), only_process=False)
    there = record("me", pid=parent, process_started=process_started(parent))
    assert not is_dead(there, only_process=False)
    assert is_dead(there, only_process=True)
    assert not is_dead(record("me", host="elsewhere", pid=gone.pid), only_process=False)
    # A container of the same name, or a machine that doesn't tell.
    assert not is_dead(record("me", machine="elsewhere", pid=gone.pid), only_process=False)
    assert not is_dead(record("me", machine="", pid=gone.pid), only_process=False)
    monkeypatch.setattr(failure_detector, "alive", {"me"})
    assert not is_dead(record("me"), only_process=True)
    assert process_started(gone.pid) == ""


def test_the_jobs_of_a_stopped_worker_are_not_interrupted(db: Any, queue: Any) -> None:
    job = queue.put(sample.nothing, begin_by=timedelta(hours=1))
    transaction.commit()
    worker = Bench(db, group_seconds=0)
    claims = worker.claim()
    worker.dispatcher.stop_claiming()
    worker.dispatcher.give_back(claims)
    worker.registration.drop()
    die(worker)
    transaction.begin()
    assert (job.status, job.interruptions) == ("pending", 0)
    assert run_jobs(db) == 1


def test_who_was_taken_for_dead_gives_nothing_back(db: Any, queue: Any, doomed: Bench) -> None:
    job = queue.put(sample.nothing)
    transaction.commit()
    claims = doomed.claim()
    failure_detector.alive.discard(doomed.registration.id)
    with bench(db) as worker:
        with pytest.raises(Fenced):
            doomed.dispatcher.give_back(claims)
        assert [claim.oid for claim in worker.claim()] == [job._p_oid]
    die(doomed)
