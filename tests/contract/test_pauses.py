"""Pauses: of a queue, or of the jobs that call something; and queues that are drained."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import patience
import pytest
import sample
import transaction
from bench import bench, die, make_doomed
from meanwhile import commit_meanwhile, committed

import zodbjobs
from zodbjobs import insights
from zodbjobs.errors import BadArgument, Draining
from zodbjobs.stored.lifecycle import delivery
from zodbjobs.testing import moving_clock, run_jobs


def note(value: Any) -> zodbjobs.Job:
    return zodbjobs.Job(sample.note, value)


def run(db: Any) -> list[Any]:
    """What has been noted once all that may run has run."""
    transaction.commit()
    run_jobs(db)
    transaction.begin()
    return sample.noted


# The queue


def test_a_paused_queue_begins_nothing_until_it_is_resumed(any_db: Any, queue: Any) -> None:
    with moving_clock() as clock:
        queue.put(note(1))
        queue.put(note("later"), begin_after=timedelta(minutes=1))
        queue.pause("the mail server is away")
        queue.put(note(2))
        assert run(any_db) == []
        assert queue.paused == "the mail server is away"
        ((reason, match, since),) = [(p.reason, p.match, p.since) for p in queue.pauses]
        assert (reason, match, since) == (queue.paused, None, clock.datetime())
        clock.advance(60)
        assert run(any_db) == []
        assert len(queue) == 3
        assert queue.resume() is True
        assert (queue.paused, queue.pauses) == (None, ())
        assert run(any_db) == [1, 2, "later"]
        assert queue.resume() is False


def test_other_queues_go_on(any_db: Any, queue: Any) -> None:
    other = queue.parent.create("other")
    queue.pause("for now")
    queue.put(note(1))
    other.put(note(2))
    assert run(any_db) == [2]


@pytest.mark.parametrize("reason", ["", "  ", None, 5])
def test_it_needs_a_reason(queue: Any, reason: Any) -> None:
    for refused in (queue.pause, queue.drain, lambda reason: queue.pause(reason, "sample:*")):
        with pytest.raises(BadArgument, match="for a reason"):
            refused(reason)
    assert queue.pauses == ()
    with pytest.raises(BadArgument, match="match is a glob"):
        queue.pause("why", match="")


def test_another_reason_replaces_the_first(queue: Any) -> None:
    queue.pause("one")
    queue.pause("other")
    assert [pause.reason for pause in queue.pauses] == ["other"]


def test_what_runs_goes_on_and_what_was_claimed_goes_back(
    any_db: Any, queue: Any, account: Any
) -> None:
    jobs = [queue.put(zodbjobs.Job(account.deposit, 1)) for _ in range(2)]
    transaction.commit()

    def pause() -> None:
        with committed(any_db) as found:
            found.pause("meanwhile")
        with any_db.transaction() as elsewhere:
            elsewhere.root()["account"].deposit(10)  # so that the commit conflicts

    with bench(any_db) as worker:
        first, second = worker.claim()
        commit_meanwhile(worker.manager, pause)
        worker.runner.run(first)
        worker.runner.run(second)
        worker.dispatcher.step()
        assert worker.claim() == []
        assert worker.registration.session.record.leased() == []
    transaction.begin()
    assert (jobs[0].outcome, jobs[0].conflicts, account.balance) == ("succeeded", 1, 11)
    assert (jobs[1].status, jobs[1].outcome, list(queue)) == ("pending", None, [jobs[1]])


def test_a_worker_with_busy_threads_gives_back_what_it_has(any_db: Any, queue: Any) -> None:
    with zodbjobs.Worker(any_db, threads=1):
        running = queue.put(sample.wait)
        transaction.commit()
        patience.until(lambda: transaction.begin() and running.status == "active")
        waiting = [queue.put(note(number)) for number in range(3)]
        transaction.commit()
        queue.pause("meanwhile")
        transaction.commit()
        patience.until(
            lambda: transaction.begin() and [job.status for job in waiting] == ["pending"] * 3
        )
        sample.gate.set()
        patience.wait_for(running)
        assert sample.noted == []
        queue.resume()
        transaction.commit()
        patience.wait_for(waiting)
    assert sample.noted == [0, 1, 2]


def test_a_deadline_goes_on_counting(any_db: Any, queue: Any) -> None:
    with moving_clock() as clock:
        job = queue.put(note("too late"), begin_by=timedelta(minutes=1))
        aside = queue.put(sample.nothing, begin_by=timedelta(minutes=1))
        queue.pause("for an hour", match="sample:nothing")
        queue.pause("for an hour")
        run(any_db)
        clock.advance(3600)
        run(any_db)
        assert (job.status, aside.status) == ("pending", "pending")
        queue.resume()
        queue.resume(match="sample:nothing")
        assert run(any_db) == []
        assert (job.outcome, aside.outcome) == ("expired", "expired")


def test_what_was_interrupted_stays_so(any_db: Any, queue: Any) -> None:
    """Few of these run together, also after a pause."""
    job = queue.put(note(1))
    transaction.commit()
    doomed = make_doomed(any_db)
    doomed.claim()
    die(doomed)
    queue.pause("meanwhile", match="sample:note")
    assert run(any_db) == []
    assert (job.interruptions, len(queue.pauses[0]), len(queue)) == (1, 1, 0)
    queue.resume(match="sample:note")
    transaction.commit()
    with bench(any_db) as worker:
        (claim,) = worker.claim()
        assert claim.interruptions == 1
        worker.runner.run(claim)
        worker.runner.flush()
    assert sample.noted == [1]


# Some jobs


def test_jobs_that_match_are_put_aside_and_come_back_in_order(any_db: Any, queue: Any) -> None:
    queue.pause("the printer is away", match="sample:note")
    held = [queue.put(note(number)) for number in range(3)]
    other = queue.put(zodbjobs.Job(sample.add, 1))
    run(any_db)
    assert (other.outcome, sample.noted) == ("succeeded", [])
    assert {job.status for job in held} == {"pending"}
    (pause,) = queue.pauses
    assert (pause.match, len(pause), queue.paused, len(queue)) == ("sample:note", 3, None, 0)
    assert [insights.job_info(job).state for job in held] == ["paused"] * 3
    found = insights.list_jobs(queue, status="paused")
    assert [info.id for info in found] == [job.id for job in reversed(held)]
    assert run(any_db) == []
    last = queue.put(note("last"))
    queue.resume(match="sample:note")
    assert run(any_db) == [0, 1, 2, "last"]
    assert last.outcome == "succeeded"
    with pytest.raises(BadArgument, match="isn't paused for 'sample:note'; it is for nothing"):
        queue.resume(match="sample:note")


def test_what_was_put_aside_can_be_cancelled_and_removed(any_db: Any, queue: Any) -> None:
    queue.pause("meanwhile", match="*:note")
    cancelled, removed, kept = (queue.put(note(number)) for number in range(3))
    run(any_db)
    cancelled.cancel()
    queue.remove(removed)
    transaction.commit()
    assert (cancelled.outcome, removed.status) == ("cancelled", "new")
    queue.resume(match="*:note")
    assert run(any_db) == [2]
    assert kept.outcome == "succeeded"


def test_what_has_a_quota_takes_a_slot_when_it_comes_back(any_db: Any, queue: Any) -> None:
    queue.quotas.create("one")
    queue.pause("meanwhile", match="sample:note")
    held = [queue.put(note(number), quota_names=["one"]) for number in range(3)]
    other = queue.put(zodbjobs.Job(sample.add, 1), quota_names=["one"])
    run(any_db)
    assert (other.outcome, len(queue.pauses[0])) == ("succeeded", 3)
    queue.resume(match="sample:note")
    transaction.commit()
    with bench(any_db) as worker:
        assert len([claim for claim in worker.claim() if claim.names]) == 1
    transaction.begin()
    run(any_db)
    assert sorted(sample.noted) == [0, 1, 2]
    assert {job.outcome for job in held} == {"succeeded"}


def test_several_pauses_each_have_their_own(any_db: Any, queue: Any) -> None:
    queue.pause("one", match="sample:note")
    queue.pause("two", match="sample:*")
    job = queue.put(note(1))
    run(any_db)
    assert [len(pause) for pause in queue.pauses] == [1, 0]
    queue.resume(match="sample:note")
    assert run(any_db) == []
    assert [len(pause) for pause in queue.pauses] == [1]
    queue.resume(match="sample:*")
    assert run(any_db) == [1]
    assert job.outcome == "succeeded"


def test_a_resume_loses_nothing_that_is_put_aside_meanwhile(any_db: Any, queue: Any) -> None:
    """Of a worker's step that puts a job aside and a resume one conflicts."""
    queue.pause("meanwhile", match="sample:note")
    queue.put(note(1))
    transaction.commit()

    def resume() -> None:
        with committed(any_db) as found:
            found.resume(match="sample:note")
        sample.noted.append("resumed")

    with bench(any_db) as worker:
        (claim,) = worker.claim()
        worker.runner.run(claim)
        commit_meanwhile(worker.registration.manager, resume)
        with pytest.raises(transaction.interfaces.TransientError):
            worker.dispatcher.step()
        worker.dispatcher.step()
    assert run(any_db) == ["resumed", 1]


def test_a_resume_loses_nothing_that_was_put_aside_just_before(any_db: Any, queue: Any) -> None:
    """The same if it is the worker that commits first."""
    queue.pause("meanwhile", match="sample:note")
    queue.put(note(1))
    transaction.commit()
    mine = transaction.manager.manager
    with bench(any_db) as worker:
        (claim,) = worker.claim()
        worker.runner.run(claim)
        mine.begin()
        queue.resume(match="sample:note")
        worker.dispatcher.step()
        with pytest.raises(transaction.interfaces.TransientError):
            mine.commit()
        mine.abort()
        queue.resume(match="sample:note")
        mine.commit()
    assert run(any_db) == [1]


def test_a_large_pause_is_lifted_at_once(any_db: Any, queue: Any) -> None:
    """Its jobs aren't looked at: their trees move."""
    queue.pause("meanwhile", match="sample:nothing")
    jobs = queue.put_many([sample.nothing] * 300)
    run(any_db)
    assert len(queue.pauses[0]) == 300
    queue.resume(match="sample:nothing")
    written = queue._p_jar._registered_objects
    assert len(written) < 50
    run(any_db)
    assert {job.outcome for job in jobs} == {"succeeded"}


# Draining


def test_a_queue_that_drains_takes_no_new_jobs(any_db: Any, queue: Any) -> None:
    job = queue.put(note(1))
    callback = job.add_callback(sample.identity)
    whole = queue.put(zodbjobs.parallel(note(2), note(3)))
    returns = queue.put(zodbjobs.Job(sample.returning, "inner"))
    transaction.commit()
    queue.drain("the release comes")
    transaction.commit()
    assert (queue.draining, queue.paused, queue.pauses) == ("the release comes", None, ())
    for refused in (lambda: queue.put(note(4)), lambda: queue.put_many([note(4)])):
        with pytest.raises(Draining, match="default queue takes no new jobs: the release comes"):
            refused()
    run(any_db)
    ended = (job, callback, whole, returns)
    assert [each.outcome for each in ended] == ["succeeded"] * 4
    assert insights.is_empty(queue, "")
    queue.resume()
    queue.put(note(5))
    assert queue.draining is None
    assert not insights.is_empty(queue, "")


def test_a_queue_is_empty_when_nothing_waits_or_runs(any_db: Any, queue: Any) -> None:
    def is_empty() -> bool:
        transaction.commit()
        return insights.is_empty(queue, "")

    assert is_empty()
    job = queue.put(sample.nothing, begin_after=timedelta(hours=1))
    queue.put(sample.nothing, after=[job])
    assert not is_empty()
    queue.remove(job)
    assert not is_empty()
    with bench(any_db) as worker:
        worker.claim()
        assert not is_empty()
    run(any_db)
    assert is_empty()
    queue.pause("meanwhile", match="sample:*")
    queue.put(sample.nothing)
    run(any_db)
    assert not is_empty()


def test_one_whose_key_is_taken_as_it_is_resumed_is_told(any_db: Any, queue: Any) -> None:
    queue.quotas.create("mail")
    job = queue.put(note(1), quota_names=["mail"])
    queue.pause("no mail", match="sample:note")
    assert run(any_db) == []
    (paused,) = queue.pauses
    assert len(paused) == 1
    other = queue.put(zodbjobs.Job(sample.nothing))
    inbox = delivery.own_inbox(job._shard)
    other._shard.discard(other._key, other)
    other._place(job._shard, job._key)
    inbox[job._key] = other
    queue.resume("sample:note")
    transaction.commit()
    assert (job.status, other.status) == ("pending", "pending")
    job.cancel()
    transaction.commit()
    assert run_jobs(any_db) == 1
