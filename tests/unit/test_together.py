"""Transactional jobs in one thread: when they are committed, and who waits for whom."""

from __future__ import annotations

import contextlib
from typing import Any

import patience
import pytest
import together_jobs
import transaction
from bench import Bench, bench
from together_jobs import Counter
from ZODB.POSException import ConflictError

import zodbjobs
from zodbjobs import defaults, local
from zodbjobs.runtime import rerun, threadpool
from zodbjobs.testing import moving_clock


@pytest.fixture(autouse=True)
def _fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    # However slow the machine is, none of the jobs is.
    monkeypatch.setattr(defaults, "MOST_GROUP_SECONDS", 3600.0)
    together_jobs.called.clear()
    together_jobs.meeting = dict


@pytest.fixture
def counters(queue: Any) -> list[Counter]:
    made = [Counter() for _ in range(10)]
    queue._p_jar.root()["counters"] = made
    transaction.commit()
    return made


def put(queue: Any, *calls: Any, **options: Any) -> list[zodbjobs.Job]:
    jobs = queue.put_many([zodbjobs.Job(*call) for call in calls], **options)
    transaction.commit()
    return list(jobs)


def values(db: Any) -> list[int]:
    with db.transaction() as connection:
        return [counter.value for counter in connection.root()["counters"]]


def outcome(db: Any, job: zodbjobs.Job) -> str | None:
    with db.transaction() as connection:
        found: str | None = connection.get(job._p_oid).outcome
        return found


def commits(worker: Bench) -> list[int]:
    """How many counters had been counted after each commit of the runner."""
    seen: list[int] = []
    commit = worker.manager.commit

    def counted() -> None:
        commit()
        seen.append(len(worker.results))

    worker.manager.commit = counted
    return seen


# When they are committed


def test_a_group_is_full_at_some_number(
    db: Any, queue: Any, counters: list[Counter], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(defaults, "GROUP_JOBS", 4)
    put(queue, *[(counter.add,) for counter in counters])
    with bench(db) as worker:
        made = commits(worker)
        worker.run()
        assert len(made) == 2
        assert values(db) == [1] * 8 + [0] * 2
        worker.runner.flush()
        assert len(made) == 3


def test_without_groups_each_is_committed_alone(
    db: Any, queue: Any, counters: list[Counter]
) -> None:
    put(queue, *[(counter.add,) for counter in counters])
    with bench(db, group_seconds=0) as worker:
        made = commits(worker)
        worker.run()
        assert len(made) == 10


def test_jobs_are_loaded_ahead_in_a_transaction_of_their_own(
    db: Any, queue: Any, counters: list[Counter]
) -> None:
    put(queue, *[(counter.add,) for counter in counters])
    with bench(db) as worker:
        claims = worker.claim()
        for claim in claims[:5]:
            worker.runner.run(claim)
        worker.runner.load_ahead(claims[5:])
        assert values(db) == [1] * 5 + [0] * 5
        for claim in claims[5:]:
            worker.runner.run(claim)
        worker.runner.flush()
    assert values(db) == [1] * 10


def test_nothing_waits_for_what_was_slow_lately(
    db: Any, queue: Any, counters: list[Counter], monkeypatch: pytest.MonkeyPatch
) -> None:
    slow = (together_jobs.meet, counters[0])
    fast = (together_jobs.count, counters[1])
    put(queue, slow, fast, slow, fast, fast, slow, fast)
    with bench(db) as worker:
        made = commits(worker)
        first, *claims = worker.claim()
        with monkeypatch.context() as patch:
            patch.setattr(defaults, "MOST_GROUP_SECONDS", -1)
            worker.runner.run(first)
        assert len(made) == 1
        for claim in claims[:3]:
            worker.runner.run(claim)
        assert len(made) == 2  # before the slow one
        for claim in claims[3:]:  # it wasn't slow any more
            worker.runner.run(claim)
        worker.runner.flush()
        assert len(made) == 3
    assert values(db)[:2] == [3, 4]


def test_a_commit_is_divided_among_some_jobs_at_least(
    db: Any, queue: Any, counters: list[Counter], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else few of them would seem to be slow, few be claimed, and these be few again."""
    put(queue, (counters[0].add,), (counters[1].add,))
    with bench(db) as worker:
        for claim in worker.claim():
            monkeypatch.setattr(worker.runner._committer, "commit", lambda *a, **kw: 20.0)
            worker.runner.run(claim)
        worker.runner.end_group()
        assert worker.runner._together._seconds_each == 1.0
        assert worker.slot.shareable < 1.0


def test_groups_do_without_shared_results_after_one_that_failed(
    db: Any, queue: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    queue._p_jar.root()["counters"] = counters = [Counter() for _ in range(200)]
    put(queue, *[(counter.add,) for counter in counters])
    with bench(db) as worker:
        claims = worker.claim(200)
        for claim in claims[:100]:
            worker.runner.run(claim)
        errors, commit = [ConflictError()], worker.manager.commit

        def failing() -> None:
            if errors:
                raise errors.pop()
            commit()

        monkeypatch.setattr(worker.manager, "commit", failing)
        worker.runner.end_group()
        for claim in claims[100:]:
            worker.runner.run(claim)
        worker.runner.end_group()
        assert {result.shared for result in worker.results} == {None}
    assert values(db) == [1] * 200


# Who is given to others


def test_what_was_given_away_is_not_committed(
    db: Any, queue: Any, counters: list[Counter]
) -> None:
    put(queue, *[(counter.add,) for counter in counters])
    with bench(db) as worker:
        claims = worker.claim()
        for claim in claims[:3]:
            worker.runner.run(claim)
        assert worker.runner.take_group() == claims[:3]
        assert worker.runner.take_group() == []
        worker.runner.end_group()
        assert values(db) == [0] * 10
        assert worker.results == []
        for claim in claims:
            worker.runner.run(claim)
        worker.runner.flush()
    assert values(db) == [1] * 10


def test_one_that_lets_go_of_itself_is_dropped(
    db: Any, queue: Any, counters: list[Counter]
) -> None:
    put(queue, (counters[0].add,), (together_jobs.meet, counters[1]))
    with bench(db) as worker:
        claims = worker.claim()
        record = worker.runner.thread_session.session.record
        together_jobs.meeting = lambda: record.release(claims[1].key)
        for claim in claims:
            worker.runner.run(claim)
        worker.runner.flush()
        assert values(db)[:2] == [1, 0]


def test_who_was_not_waited_for_runs_again_alone(
    db: Any, queue: Any, counters: list[Counter]
) -> None:
    calls = [(together_jobs.meet, counter, n) for n, counter in enumerate(counters)]
    put(queue, *calls)
    taken: list[Any] = []
    with bench(db) as worker:
        together_jobs.meeting = lambda: (
            taken.extend(worker.runner.take_group()) if together_jobs.called == [0, 1, 2] else None
        )
        claims = worker.claim()
        for claim in claims[:3]:
            worker.runner.run(claim)
        assert taken == claims[:2]
        assert together_jobs.called == [0, 1, 2, 2]
        assert values(db) == [0, 0, 1] + [0] * 7
        for claim in (*taken, *claims[3:]):
            worker.runner.run(claim)
        worker.runner.flush()
    assert values(db) == [1] * 10


# Time limits, and who is told to stop


def test_the_wait_for_others_is_not_held_against_a_job(
    db: Any, queue: Any, counters: list[Counter]
) -> None:
    with moving_clock() as clock:
        (job,) = put(queue, (counters[0].add,), timeout=5)
        with bench(db) as worker:
            worker.run()
            clock.advance(100)
            worker.dispatcher.tick()
            worker.runner.flush()
        assert outcome(db, job) == "succeeded"


def test_one_that_times_out_behind_others_harms_none(
    db: Any, queue: Any, counters: list[Counter]
) -> None:
    with contextlib.ExitStack() as stack:
        clock = stack.enter_context(moving_clock())
        jobs = put(queue, *[(together_jobs.meet, counter) for counter in counters], timeout=5)
        worker = stack.enter_context(bench(db))

        def be_late() -> None:
            if len(together_jobs.called) == 5:
                clock.advance(100)
                worker.dispatcher.tick()

        together_jobs.meeting = be_late
        made = commits(worker)
        worker.run()
        worker.runner.flush()
        assert len(made) == 1
    assert values(db) == [int(n != 4) for n in range(10)]
    assert [outcome(db, job) for job in jobs] == [
        "failed" if n == 4 else "succeeded" for n in range(10)
    ]
    assert len(together_jobs.called) == 10


def test_one_that_is_told_to_stop_behind_others_harms_none(
    db: Any, queue: Any, counters: list[Counter]
) -> None:
    jobs = put(queue, *[(together_jobs.meet, counter) for counter in counters])
    with bench(db) as worker:

        def be_cancelled() -> None:
            if len(together_jobs.called) == 5:
                with db.transaction() as connection:
                    connection.get(jobs[4]._p_oid).cancel()
                worker.dispatcher.tick()
                worker.dispatcher.tick()
                local.check()

        together_jobs.meeting = be_cancelled
        worker.run()
        worker.runner.flush()
    assert values(db) == [int(n != 4) for n in range(10)]
    assert outcome(db, jobs[4]) == "cancelled"
    assert len(together_jobs.called) == 10


# A thread that fails


def test_what_is_not_committed_is_begun_again_in_its_order(
    db: Any, queue: Any, counters: list[Counter]
) -> None:
    put(queue, *[(counter.add,) for counter in counters])
    with bench(db) as worker:
        claims = worker.claim()
        for claim in claims[:3]:
            worker.runner.run(claim)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(worker.runner._groups, "_attempt", _break)
            with pytest.raises(GeneratorExit):
                worker.runner.run(claims[3])
        assert worker.runner.unfinished() == claims[:4]
        assert worker.runner.unfinished() == []
        for claim in claims:
            worker.runner.run(claim)
        worker.runner.flush()
    assert values(db) == [1] * 10


def _break(claim: object) -> None:
    raise GeneratorExit


def test_a_thread_that_fails_gives_back_what_waits_in_it(
    db: Any, queue: Any, counters: list[Counter], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(threadpool, "_PAUSE_SECONDS", 0.0)
    broken: list[bool] = []

    def end(self: Any) -> None:
        if not broken and self._together.is_open:
            broken.append(True)
            raise GeneratorExit
        end_group(self)

    end_group = threadpool.Runner.end_group
    monkeypatch.setattr(threadpool.Runner, "end_group", end)
    jobs = put(queue, *[(counter.add,) for counter in counters])
    with zodbjobs.Worker(db, threads=1, group_commit=3600):
        for job in jobs:
            patience.wait_for(job)
    assert broken
    assert values(db) == [1] * 10


def test_a_thread_that_fails_in_a_job_gives_back_those_before_it(
    db: Any, queue: Any, counters: list[Counter], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(threadpool, "_PAUSE_SECONDS", 0.0)
    broken: list[bool] = []

    def run_behind(self: Any, claim: Any) -> None:
        self._current = claim
        if not broken:
            broken.append(True)
            raise GeneratorExit
        behind(self, claim)

    behind = rerun.Groups._run_behind
    monkeypatch.setattr(rerun.Groups, "_run_behind", run_behind)
    jobs = put(queue, *[(counter.add,) for counter in counters])
    with zodbjobs.Worker(db, threads=1, group_commit=3600):
        for job in jobs:
            patience.wait_for(job)
    assert broken
    assert values(db) == [1] * 10
