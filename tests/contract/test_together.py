"""Transactional jobs share a commit, and none of them pays for that."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from typing import Any

import patience
import pytest
import together_jobs
import transaction
from bench import bench
from BTrees.Length import Length
from BTrees.OOBTree import OOBTree
from storages import WITH_BLOBS
from together_jobs import Counter, Rude
from ZODB.POSException import ConflictError

import zodbjobs
from zodbjobs import defaults, events, local
from zodbjobs.errors import BadArgument, BadStatus
from zodbjobs.stored.lifecycle import complete
from zodbjobs.stored.lifecycle.attempts import Verdict
from zodbjobs.stored.lifecycle.completion import shard_of


@pytest.fixture(autouse=True)
def _fresh(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    # However slow the machine is, none of the jobs is.
    monkeypatch.setattr(defaults, "MOST_GROUP_SECONDS", 3600.0)
    together_jobs.called.clear()
    together_jobs.meeting = dict
    together_jobs.entered.clear()
    together_jobs.leave.clear()
    yield
    together_jobs.leave.set()


@pytest.fixture
def counters(any_db: Any, queue: Any) -> list[Counter]:
    made = [Counter() for _ in range(10)]
    queue._p_jar.root()["counters"] = made
    transaction.commit()
    return made


def commits(worker: Any) -> list[int]:
    """An entry for each commit of the worker's runner."""
    seen: list[int] = []
    commit = worker.manager.commit

    def counted() -> None:
        commit()
        seen.append(1)

    worker.manager.commit = counted
    return seen


def values(db: Any) -> list[int]:
    with db.transaction() as connection:
        return [counter.value for counter in connection.root()["counters"]]


def outcomes(db: Any, jobs: list[Any]) -> list[Any]:
    with db.transaction() as connection:
        return [connection.get(job._p_oid).outcome for job in jobs]


def put(queue: Any, *calls: Any) -> list[Any]:
    """Put a job for each call and its arguments, and commit."""
    jobs = queue.put_many([zodbjobs.Job(*call) for call in calls])
    transaction.commit()
    return list(jobs)


def test_they_share_a_commit(any_db: Any, queue: Any, counters: list[Counter]) -> None:
    jobs = put(queue, *[(counter.add,) for counter in counters])
    with bench(any_db) as worker:
        made = commits(worker)
        worker.run()
        assert not made
        assert values(any_db) == [0] * 10
        assert set(outcomes(any_db, jobs)) == {None}
        worker.runner.flush()
        assert len(made) == 1
        assert values(any_db) == [1] * 10
        assert outcomes(any_db, jobs) == ["succeeded"] * 10
    transaction.begin()
    assert [(job.result, job.attempts, job.conflicts) for job in jobs] == [(1, 1, 0)] * 10
    assert len(list(queue.finished())) == 10


def test_one_that_raises_is_rolled_back_alone(
    any_db: Any, queue: Any, counters: list[Counter]
) -> None:
    calls = [together_jobs.refuse if n in (3, 7) else together_jobs.count for n in range(10)]
    jobs = put(queue, *zip(calls, counters, strict=True))
    with bench(any_db) as worker:
        made = commits(worker)
        worker.run()
        worker.runner.flush()
        assert len(made) == 1
    assert values(any_db) == [int(n not in (3, 7)) for n in range(10)]
    expected = ["failed" if n in (3, 7) else "succeeded" for n in range(10)]
    assert outcomes(any_db, jobs) == expected
    assert len(together_jobs.called) == 10


def elsewhere(db: Any, obj: Any) -> None:
    """Somebody else changes an object, in another connection."""
    with db.transaction() as connection:
        connection.get(obj._p_oid).other = True


def conflict(db: Any, obj: Any, times: int) -> None:
    """Let `meet` conflict about an object, so often."""
    left = [True] * times

    def write() -> None:
        if left:
            left.pop()
            elsewhere(db, obj)

    together_jobs.meeting = write


def run(db: Any) -> int:
    """Run all that is due in one group; how many commits that were."""
    with bench(db) as worker:
        made = commits(worker)
        worker.run()
        worker.runner.flush()
        return len(made)


def test_they_see_what_those_before_them_did(
    any_db: Any, queue: Any, counters: list[Counter]
) -> None:
    first = counters[0]
    jobs = put(queue, (first.add,), (together_jobs.look, first), (first.add,))
    assert run(any_db) == 1
    transaction.begin()
    assert [job.result for job in jobs] == [1, 1, 2]


# Conflicts


def test_a_conflict_costs_the_innocent_nothing(
    any_db: Any, queue: Any, counters: list[Counter]
) -> None:
    calls = [(together_jobs.count, counter, n) for n, counter in enumerate(counters)]
    calls[6] = (together_jobs.meet, counters[6], 6)
    jobs = put(queue, *calls)
    conflict(any_db, counters[6], times=1)
    assert run(any_db) == 2  # the halves
    assert values(any_db) == [1] * 10
    transaction.begin()
    assert {(job.outcome, job.attempts, job.conflicts) for job in jobs} == {("succeeded", 1, 0)}
    assert {len(job.past_attempts) for job in jobs} == {1}
    assert together_jobs.called == [*range(10), *range(10)]


def test_the_guilty_is_found_alone(any_db: Any, queue: Any, counters: list[Counter]) -> None:
    calls = [(together_jobs.count, counter, n) for n, counter in enumerate(counters)]
    calls[6] = (together_jobs.meet, counters[6], 6)
    jobs = put(queue, *calls)
    conflict(any_db, counters[6], times=6)
    run(any_db)
    assert values(any_db) == [1] * 10
    transaction.begin()
    innocent = [job for job in jobs if job is not jobs[6]]
    assert {(job.outcome, job.attempts, job.conflicts) for job in innocent} == {
        ("succeeded", 1, 0)
    }
    assert (jobs[6].outcome, jobs[6].attempts) == ("succeeded", 1)
    assert jobs[6].conflicts == 6 - 4  # before, it was in groups of 10, 5, 3 and 2


def test_its_policy_answers_for_it_alone(any_db: Any, queue: Any, counters: list[Counter]) -> None:
    jobs = [zodbjobs.Job(counter.add) for counter in counters]
    jobs[3] = zodbjobs.Job(together_jobs.meet, counters[3])
    for job in jobs:
        job.retry_policy = zodbjobs.NeverRetry
    queue.put_many(jobs)
    transaction.commit()
    conflict(any_db, counters[3], times=100)
    run(any_db)
    assert values(any_db) == [int(n != 3) for n in range(10)]
    assert outcomes(any_db, jobs) == ["failed" if n == 3 else "succeeded" for n in range(10)]


def test_one_alone_conflicts_as_any_other(
    any_db: Any, queue: Any, counters: list[Counter]
) -> None:
    (job,) = put(queue, (together_jobs.meet, counters[0]))
    conflict(any_db, counters[0], times=2)
    run(any_db)
    transaction.begin()
    assert (job.outcome, job.attempts, job.conflicts) == ("succeeded", 1, 2)
    assert values(any_db)[0] == 1


@pytest.mark.parametrize("deed", ["spoil", "exit_when_stored"])
@pytest.mark.parametrize("place", [0, 4])
def test_what_cannot_be_stored_fails_alone(
    any_db: Any, queue: Any, counters: list[Counter], deed: str, place: int
) -> None:
    calls = [(together_jobs.count, counter, n) for n, counter in enumerate(counters)]
    calls[place] = (getattr(together_jobs, deed), counters[place])
    jobs = put(queue, *calls)
    run(any_db)
    assert values(any_db) == [int(n != place) for n in range(10)]
    expected = ["failed" if n == place else "succeeded" for n in range(10)]
    assert outcomes(any_db, jobs) == expected
    transaction.begin()
    assert {job.attempts for job in jobs} == {1}


def test_a_storage_without_room_is_waited_for(
    db: Any, queue: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    counters = [Counter() for _ in range(4)]
    queue._p_jar.root()["counters"] = counters
    jobs = put(queue, *[(counter.add,) for counter in counters])
    with bench(db) as worker:
        worker.run()
        commit, full = worker.manager.commit, [1, 1]

        def failing() -> None:
            if full:
                full.pop()
                raise OSError(errno.ENOSPC, "no room")
            commit()

        monkeypatch.setattr(worker.manager, "commit", failing)
        made = commits(worker)
        worker.runner.flush()
        assert len(made) == 1  # it isn't halved
    assert "the storage is unavailable" in caplog.text
    assert values(db) == [1] * 4
    assert outcomes(db, jobs) == ["succeeded"] * 4


def test_a_commit_that_seemed_to_fail_counts(
    db: Any, queue: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    counters = [Counter() for _ in range(4)]
    queue._p_jar.root()["counters"] = counters
    jobs = put(queue, *[(counter.add,) for counter in counters])
    with bench(db) as worker:
        worker.run()
        commit = worker.manager.commit

        def lost() -> None:
            commit()
            monkeypatch.setattr(worker.manager, "commit", commit)
            raise ConflictError("the answer is lost")

        monkeypatch.setattr(worker.manager, "commit", lost)
        worker.runner.flush()
        worker.dispatcher.step()
    assert values(db) == [1] * 4
    transaction.begin()
    assert [(job.outcome, job.attempts) for job in jobs] == [("succeeded", 1)] * 4
    assert len(list(queue.finished())) == 4


# What ends a group


def between(db: Any, queue: Any, counters: list[Counter], job: zodbjobs.Job, **said: Any) -> int:
    """Run `job` between others; how many commits these were."""
    queue.put_many([zodbjobs.Job(counter.add) for counter in counters[:4]])
    queue.put(job, **said)
    queue.put_many([zodbjobs.Job(counter.add) for counter in counters[5:]])
    transaction.commit()
    made = run(db)
    assert values(db) == [1] * 10
    transaction.begin()
    assert {each.outcome for each in queue.finished()} == {"succeeded"}
    assert {(each.attempts, each.conflicts) for each in queue.finished()} == {(1, 0)}
    return made


def test_one_that_is_not_transactional_is_committed_alone(
    any_db: Any, queue: Any, counters: list[Counter]
) -> None:
    assert between(any_db, queue, counters, zodbjobs.Job(counters[4].add_alone)) == 3


def test_one_that_says_no_is_committed_alone(
    any_db: Any, queue: Any, counters: list[Counter]
) -> None:
    job = zodbjobs.Job(counters[4].add)
    assert between(any_db, queue, counters, job, transactional=False) == 3


def test_one_that_says_yes_is_not(any_db: Any, queue: Any, counters: list[Counter]) -> None:
    job = zodbjobs.Job(counters[4].add_alone)
    assert between(any_db, queue, counters, job, transactional=True) == 1


@pytest.mark.parametrize("leave", ["hook", "note", "rude", "data"])
def test_what_a_savepoint_does_not_undo_ends_the_group(
    any_db: Any, queue: Any, counters: list[Counter], leave: str
) -> None:
    rude, hooked = Rude(), []

    def leave_it() -> None:
        txn = transaction.get()
        if leave == "hook":
            txn.addAfterCommitHook(hooked.append)
        elif leave == "note":
            txn.note("a note")
        elif leave == "data":
            txn.set_data(rude, "something")
        else:
            txn.join(rude)

    together_jobs.meeting = leave_it
    job = zodbjobs.Job(together_jobs.meet, counters[4])
    assert between(any_db, queue, counters, job) == 2
    assert hooked == ([True] if leave == "hook" else [])
    assert rude.calls[-1:] == (["tpc_finish"] if leave == "rude" else [])


@pytest.mark.parametrize("leave", ["hook", "rude"])
def test_who_leaves_that_and_fails_harms_no_other(
    any_db: Any, queue: Any, counters: list[Counter], leave: str
) -> None:
    rude, hooked = Rude(), []

    def fail() -> None:
        if leave == "hook":
            transaction.get().addAfterCommitHook(hooked.append)
        else:
            transaction.get().join(rude)
        raise ValueError("no")

    together_jobs.meeting = fail
    calls = [(together_jobs.count, counter, n) for n, counter in enumerate(counters)]
    calls[4] = (together_jobs.meet, counters[4])
    jobs = put(queue, *calls)
    run(any_db)
    assert values(any_db) == [int(n != 4) for n in range(10)]
    assert outcomes(any_db, jobs) == ["failed" if n == 4 else "succeeded" for n in range(10)]
    assert hooked == []
    assert "tpc_finish" not in rude.calls
    transaction.begin()
    assert {job.attempts for job in jobs} == {1}


def test_hooks_of_the_job_are_called_outside_of_a_group(
    any_db: Any, queue: Any, counters: list[Counter]
) -> None:
    job = together_jobs.Hooked(counters[4].add)
    assert between(any_db, queue, counters, job) == 3
    assert together_jobs.called == ["set_up", "tear_down"]


def test_one_that_holds_a_slot_is_committed_alone(
    any_db: Any, queue: Any, counters: list[Counter]
) -> None:
    queue.quotas.create("one")
    job = zodbjobs.Job(counters[4].add)
    assert between(any_db, queue, counters, job, quota_names=["one"]) >= 2


def test_one_with_callbacks_is_committed_alone(
    any_db: Any, queue: Any, counters: list[Counter]
) -> None:
    job = zodbjobs.Job(counters[4].add)
    callback = job.add_callback(together_jobs.note)
    assert between(any_db, queue, counters, job) >= 3
    with bench(any_db) as worker:
        worker.run()
    transaction.begin()
    assert callback.outcome == "succeeded"


def test_one_that_adds_a_callback_ends_the_group(
    any_db: Any, queue: Any, counters: list[Counter]
) -> None:
    together_jobs.meeting = lambda: local.get_job().add_callback(together_jobs.note)
    job = zodbjobs.Job(together_jobs.meet, counters[4])
    assert between(any_db, queue, counters, job) == 2
    with bench(any_db) as worker:
        worker.run()
    assert together_jobs.called[-1] == 1


def test_one_that_leaves_a_file_runs_again_alone(db: Any, queue: Any) -> None:
    counters = [Counter() for _ in range(10)]
    queue._p_jar.root()["counters"] = counters
    job = zodbjobs.Job(together_jobs.attach, counters[4])
    assert between(db, queue, counters, job) == 3
    assert together_jobs.called == ["attach"] * 2
    assert list(job.attachments) == ["a.txt"]


def test_one_that_makes_a_checkpoint_runs_again_alone(
    any_db: Any, queue: Any, counters: list[Counter]
) -> None:
    job = zodbjobs.Job(together_jobs.check, counters[4])
    assert between(any_db, queue, counters, job) >= 3
    assert together_jobs.called == ["check"] * 2


def test_a_sweep_is_no_transactional_job(any_db: Any, queue: Any, counters: list[Counter]) -> None:
    job = zodbjobs.Sweep(counters[4:5], together_jobs.count)
    assert between(any_db, queue, counters, job, transactional=True) >= 3


def test_one_that_returns_a_job_ends_the_group(
    any_db: Any, queue: Any, counters: list[Counter]
) -> None:
    calls = [(counter.add,) for counter in counters]
    calls[4] = (together_jobs.delegate, counters[4])
    jobs = put(queue, *calls)
    with bench(any_db) as worker:
        made = commits(worker)
        worker.run()
        worker.runner.flush()
        assert len(made) == 2
        while worker.run():
            worker.runner.flush()
        worker.dispatcher.step()
    assert outcomes(any_db, jobs) == ["succeeded"] * 10
    assert values(any_db) == [1] * 10


@pytest.mark.parametrize("how", ["commit", "abort", "begin"])
def test_one_that_ends_the_transaction_harms_no_other(
    any_db: Any, queue: Any, counters: list[Counter], how: str
) -> None:
    calls = [(together_jobs.count, counter, n) for n, counter in enumerate(counters)]
    calls[4] = (together_jobs.end_transaction, counters[4], how)
    jobs = put(queue, *calls)
    run(any_db)
    assert values(any_db) == [int(n != 4 or how == "commit") for n in range(10)]
    assert outcomes(any_db, jobs) == ["succeeded"] * 10
    transaction.begin()
    assert {job.attempts for job in jobs} == {1}


def test_one_that_goes_back_to_the_savepoint_of_another_harms_no_other(
    any_db: Any, queue: Any, counters: list[Counter]
) -> None:
    """It takes along what those between them did."""
    kept: list[Any] = []

    def go_back() -> None:
        if kept:
            kept.pop().rollback()
        else:
            kept.append(transaction.savepoint())

    together_jobs.meeting = go_back
    calls = [(together_jobs.count, counter, n) for n, counter in enumerate(counters)]
    for n in (2, 5):
        calls[n] = (together_jobs.meet, counters[n])
    jobs = put(queue, *calls)
    run(any_db)
    assert values(any_db) == [int(n != 5) for n in range(10)]
    assert outcomes(any_db, jobs) == ["failed" if n == 5 else "succeeded" for n in range(10)]


@pytest.mark.parametrize("how", ["attach", "commit", "abort"])
def test_one_that_hides_what_it_did_harms_no_other(db: Any, queue: Any, how: str) -> None:
    counters = [Counter() for _ in range(10)]
    queue._p_jar.root()["counters"] = counters
    calls = [(together_jobs.count, counter, n) for n, counter in enumerate(counters)]
    calls[4] = (together_jobs.swallow, counters[4], how)
    jobs = put(queue, *calls)
    run(db)
    assert values(db) == [int(n != 4 or how != "abort") for n in range(10)]
    assert outcomes(db, jobs) == ["succeeded"] * 10
    transaction.begin()
    assert list(jobs[4].attachments) == (["a.txt"] if how == "attach" else [])
    assert together_jobs.called.count(how) == 2


def test_what_wrote_nothing_waits_with_those_before_it(
    any_db: Any, queue: Any, counters: list[Counter]
) -> None:
    """It has seen what they did."""
    first = counters[0]
    jobs = put(queue, (together_jobs.meet, first), (together_jobs.look, first))
    conflict(any_db, first, times=1)
    with bench(any_db) as worker:
        worker.run()
        assert not worker.slot.group.take()
        worker.runner.flush()
    transaction.begin()
    assert [job.result for job in jobs] == [1, 1]


@pytest.mark.parametrize("place", [0, 1])
@pytest.mark.parametrize("deed", ["spoil", "attach", "check", "refuse", "meet"])
def test_each_attempt_that_is_told_to_begin_is_told_to_end(
    any_db: Any, queue: Any, counters: list[Counter], deed: str, place: int
) -> None:
    """Also one that is dropped, and run again; else its span would stay open."""
    calls: list[Any] = [(counter.add,) for counter in counters[:3]]
    calls.insert(place, (getattr(together_jobs, deed), counters[4]))
    put(queue, *calls)
    conflict(any_db, counters[4], times=1)
    seen: list[Any] = []
    end = events.subscribe(seen.append, events.JobStarted, events.AttemptEnded)
    try:
        run(any_db)
    finally:
        end()
    begun = [each.job_id for each in seen if isinstance(each, events.JobStarted)]
    ended = [each.job_id for each in seen if isinstance(each, events.AttemptEnded)]
    assert sorted(begun) == sorted(ended)
    assert len(set(begun)) == 4


# Who is taken away meanwhile


def test_one_that_is_cancelled_meanwhile_is_left_out(
    any_db: Any, queue: Any, counters: list[Counter]
) -> None:
    jobs = put(queue, *[(counter.add,) for counter in counters])
    with bench(any_db) as worker:
        worker.run()
        with any_db.transaction() as connection:
            connection.get(jobs[2]._p_oid).cancel()
        worker.runner.flush()
    assert values(any_db) == [int(n != 2) for n in range(10)]
    assert outcomes(any_db, jobs) == ["cancelled" if n == 2 else "succeeded" for n in range(10)]
    transaction.begin()
    assert {job.attempts for n, job in enumerate(jobs) if n != 2} == {1}
    assert len(list(queue.finished())) == 10


def test_one_that_another_one_of_the_group_cancels(
    any_db: Any, queue: Any, counters: list[Counter]
) -> None:
    """That had ended before, though it wasn't committed."""
    first = zodbjobs.Job(counters[0].add)
    queue.put(first)
    (second,) = put(queue, (together_jobs.cancel, counters[1], first))
    run(any_db)
    assert values(any_db)[:2] == [1, 0]
    assert outcomes(any_db, [first, second]) == ["succeeded", "failed"]


def test_a_rescue_takes_all(any_db: Any, queue: Any, counters: list[Counter]) -> None:
    jobs = put(queue, *[(counter.add,) for counter in counters])
    with bench(any_db) as worker:
        worker.run()
        with any_db.transaction() as connection:
            stored = zodbjobs.get_queues(connection)
            record = stored.workers[worker.registration.session.record.id]
            for key, job in list(record.leased()):
                complete.take_back(record, key, job, shard_of(job), lambda job, now: Verdict(0))
        worker.runner.flush()
        assert values(any_db) == [0] * 10
    while run(any_db):
        pass
    assert values(any_db) == [1] * 10
    assert outcomes(any_db, jobs) == ["succeeded"] * 10


def test_those_to_be_run_again_do_not_wait_for_a_long_one(
    any_db: Any, queue: Any, counters: list[Counter]
) -> None:
    """Other threads may have them, as those that wait to be committed."""
    taken: list[Any] = []
    runs: list[int] = []

    def meet_twice() -> None:
        runs.append(1)
        if len(runs) == 1:
            elsewhere(any_db, counters[1])
        elif len(runs) == 2:
            taken.extend(worker.runner.take_group())

    together_jobs.meeting = meet_twice
    calls: list[Any] = [(counter.add,) for counter in counters[:4]]
    calls[1] = (together_jobs.meet, counters[1])
    jobs = put(queue, *calls)
    with bench(any_db) as worker:
        worker.run()
        worker.runner.flush()
        assert [claim.oid for claim in taken] == [jobs[n]._p_oid for n in (0, 2, 3)]
        assert values(any_db)[:4] == [0, 1, 0, 0]
        for claim in taken:
            worker.runner.run(claim)
        worker.runner.flush()
    assert values(any_db)[:4] == [1] * 4
    transaction.begin()
    assert {(job.outcome, job.attempts) for job in jobs} == {("succeeded", 1)}


# What they write


def test_short_results_of_a_bundle_end_together(any_db: Any, queue: Any) -> None:
    counters = [Counter() for _ in range(60)]
    queue._p_jar.root()["counters"] = counters
    jobs = put(queue, *[(counter.add,) for counter in counters])
    with any_db.transaction() as connection:
        before = [
            connection.get(job._p_oid)._p_serial
            for job in jobs
            if connection.get(job._p_oid)._p_activate() is None
        ]
    assert run(any_db) == 1
    assert values(any_db) == [1] * 60
    with any_db.transaction() as connection:
        there = [connection.get(job._p_oid) for job in jobs]
        assert [job.result for job in there] == [1] * 60
        unwritten = [job._p_serial == serial for job, serial in zip(there, before, strict=True)]
    assert sum(unwritten) >= 40  # the first 20 of a bundle have no shared results
    transaction.begin()
    assert len(list(queue.finished())) == 60


def test_jobs_that_they_put_are_there_once(
    any_db: Any, queue: Any, counters: list[Counter]
) -> None:
    calls = [(together_jobs.beget, counter, n % 3 == 1) for n, counter in enumerate(counters)]
    put(queue, *calls)
    assert run(any_db) == 1
    assert values(any_db) == [int(n % 3 != 1) for n in range(10)]
    while run(any_db):
        pass
    assert together_jobs.called == ["child"] * 7
    transaction.begin()
    assert len(list(queue.finished())) == 17


def test_one_that_is_unique_until_it_has_ended_has_ended_for_those_behind_it(
    any_db: Any, queue: Any, counters: list[Counter]
) -> None:
    """Else what is put behind it, for what it hasn't seen, would be left out as put already."""
    first = zodbjobs.Job(together_jobs.count, counters[0], "first")
    queue.put(first, unique="count", unique_until="ended")
    put(queue, (together_jobs.put_unique, counters[0], "count"))
    while run(any_db):
        pass
    assert together_jobs.called == ["first", "again"]


@pytest.mark.parametrize("number", [3, 60])
def test_one_may_put_others_behind_one_before_it(any_db: Any, queue: Any, number: int) -> None:
    """Also if that has ended in shared results."""
    counters = [Counter() for _ in range(number)]
    queue._p_jar.root()["counters"] = counters
    jobs = put(queue, *[(counter.add,) for counter in counters])
    put(queue, (together_jobs.put_after, counters[0], jobs[-1]))
    assert run(any_db) == 1
    while run(any_db):
        pass
    assert together_jobs.called == ["after"]
    transaction.begin()
    assert len(queue) == 0


@pytest.mark.parametrize("any_db", WITH_BLOBS, indirect=True)
def test_trees_and_blobs_are_rolled_back_and_resolved(
    any_db: Any, queue: Any, request: pytest.FixtureRequest
) -> None:
    name = request.node.callspec.params["any_db"]
    root = queue._p_jar.root()
    tree = root["tree"] = OOBTree({n * 10: n for n in range(1_000)})
    length = root["length"] = Length()
    put(queue, *[(together_jobs.grow, tree, n * 100 + 1, length) for n in range(30)])
    with bench(any_db) as worker:
        worker.run()
        with any_db.transaction() as connection:  # what can be resolved conflicts with nobody
            connection.root()["tree"][9_995] = 1
            connection.root()["length"].change(1)
        worker.runner.flush()
    with any_db.transaction() as connection:
        tree, length = connection.root()["tree"], connection.root()["length"]
        tree._check()
        assert (len(tree), length()) == (1_016, 16)
        for n in range(1, 30, 2):
            with tree[n * 100 + 1].file.open() as file:
                assert (file.read(), tree[n * 100 + 1].value) == (b"%d" % (n * 100 + 1), 1)
    if name != "MappingStorage":  # which resolves nothing, so that all run again
        assert len(together_jobs.called) == 30


def test_the_undo_log_tells_whose_they_are(
    any_db: Any, queue: Any, counters: list[Counter]
) -> None:
    seen = []

    def tell() -> None:
        transaction.get().addBeforeCommitHook(
            lambda txn: seen.append((txn.user, txn.description)), (transaction.get(),)
        )

    together_jobs.meeting = tell
    jobs = [zodbjobs.Job(counter.add) for counter in counters[:4]]
    jobs.append(zodbjobs.Job(together_jobs.meet, counters[4]))
    queue.put_many(jobs, owner="bob", title="A count")
    transaction.commit()
    run(any_db)
    assert seen == [("bob", "A count and 4 more jobs")]


def test_what_a_person_undoes_is_the_whole_commit(db: Any, queue: Any) -> None:
    counters = [Counter() for _ in range(3)]
    queue._p_jar.root()["counters"] = counters
    put(queue, *[(counter.add,) for counter in counters])
    with bench(db) as worker:
        worker.run()
        worker.runner.flush()
        assert values(db) == [1] * 3
        (last,) = db.undoInfo(0, 1)
        db.undo(last["id"], transaction.get())
        worker.manager.commit()
        assert values(db) == [0] * 3


# Who says so


def test_who_says_that_a_job_is_transactional(queue: Any) -> None:
    counter = Counter()
    assert zodbjobs.Job(counter.add).transactional
    assert zodbjobs.Job(together_jobs.count, counter).transactional
    assert not zodbjobs.Job(counter.add_alone).transactional
    job = zodbjobs.Job(counter.add)
    job.transactional = False
    assert not job.transactional
    job.transactional = None
    assert job.transactional
    assert together_jobs.Kind(counter.add_alone).transactional
    assert queue.put(counter.add_alone, transactional=True).transactional
    assert not any(job.transactional for job in queue.put_many([counter.add], transactional=False))


def test_what_is_refused(queue: Any) -> None:
    job = zodbjobs.Job(together_jobs.count, Counter())
    with pytest.raises(BadArgument, match="transactional must be True, False or None, not 1"):
        job.transactional = 1
    with pytest.raises(BadArgument, match="transactional must be"):
        queue.put(job, transactional="yes")
    assert job.status == "new"
    queue.put(job)
    with pytest.raises(BadStatus, match="transactional can be set"):
        job.transactional = True
    for wrong in (Counter, 1, len):
        with pytest.raises(TypeError, match="transactional"):
            zodbjobs.transactional(wrong)


# In threads


def test_they_wait_for_a_long_one_only_for_some_time(
    db: Any, queue: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(defaults, "TOGETHER_SECONDS", 0.0)
    counters = [Counter() for _ in range(3)]
    queue._p_jar.root()["counters"] = counters
    calls: list[Any] = [(counter.add,) for counter in counters]
    calls[1] = (together_jobs.wait, counters[1])
    jobs = put(queue, *calls)
    with zodbjobs.Worker(db, threads=2, group_commit=3600):
        assert together_jobs.entered.wait(60)
        patience.until(lambda: values(db) == [1, 0, 1])
        together_jobs.leave.set()
        patience.wait_for(jobs[1])
    assert values(db) == [1] * 3
    transaction.begin()
    assert {(job.outcome, job.attempts) for job in jobs} == {("succeeded", 1)}


def test_they_do_not_stay_with_a_stuck_thread(
    db: Any, queue: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(defaults, "STUCK_SECONDS", 0.0)
    counters = [Counter() for _ in range(2)]
    queue._p_jar.root()["counters"] = counters
    first = queue.put(counters[0].add)
    stuck = queue.put(zodbjobs.Job(together_jobs.wait, counters[1]), timeout=0.05)
    transaction.commit()
    with zodbjobs.Worker(db, threads=1, stuck_threads=3, group_commit=3600):
        patience.wait_for(first)
        patience.wait_for(stuck)
        together_jobs.leave.set()
    assert values(db) == [1, 0]
    transaction.begin()
    assert (first.outcome, first.attempts, stuck.outcome) == ("succeeded", 1, "failed")


def test_those_before_it_have_not_ended_for_it(
    any_db: Any, queue: Any, counters: list[Counter]
) -> None:
    """So what takes an end is refused, as for any job that runs; alone it isn't."""
    (failed,) = put(queue, (together_jobs.refuse, counters[0]))
    (behind,) = put(queue, (together_jobs.retry, failed.id))
    with bench(any_db) as worker:
        worker.run()
        worker.runner.flush()
    transaction.begin()
    assert (failed.outcome, behind.outcome) == ("failed", "failed")
    assert "; only a parked job, or one that ended without success" in behind.failure.message
    (alone,) = put(queue, (together_jobs.retry, failed.id))
    with bench(any_db) as worker:
        worker.run(1)
        worker.runner.flush()
    transaction.begin()
    assert (alone.outcome, failed.status) == ("succeeded", "pending")
