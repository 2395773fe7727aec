"""Agents: which jobs a worker takes, and how many at a time."""

from __future__ import annotations

import threading
from datetime import timedelta
from typing import Any

import patience
import pytest
import sample
import transaction
from bench import Bench, bench, die, make_doomed
from meanwhile import committed
from ZODB.Connection import resetCaches
from ZODB.POSException import ConflictError

import zodbjobs
from zodbjobs import Agent, clock, defaults, insights, operations
from zodbjobs.errors import BadArgument, MissingCode, UnknownQueue, ZodbjobsError
from zodbjobs.runtime.assembly import Options
from zodbjobs.runtime.incarnation import Incarnation
from zodbjobs.runtime.ownership import Ownership
from zodbjobs.runtime.session import Session
from zodbjobs.testing import moving_clock, run_jobs

ODD = [Agent("", filter=sample.is_odd)]
LARGE = [Agent("", filter="sample:is_large")]


def put(queue: Any, *numbers: int, **options: Any) -> list[zodbjobs.Job]:
    jobs = [queue.put(zodbjobs.Job(sample.identity, n), **options) for n in numbers]
    transaction.commit()
    return jobs


def put_meanwhile(db: Any, *numbers: int, **options: Any) -> None:
    """Put in a transaction of its own; a bench has the thread's."""
    with committed(db) as queue:
        for number in numbers:
            queue.put(zodbjobs.Job(sample.identity, number), **options)


def numbers(db: Any, worker: Bench, most: int = 100) -> list[int]:
    """The arguments of what a worker claims, in that order."""
    claims = worker.claim(most)
    with db.transaction() as connection:
        return [connection.get(claim.oid).args[0] for claim in claims]


# What they are made of


@pytest.mark.parametrize(
    ("bad", "why"),
    [
        ({"queue": 5}, "has the name of a queue"),
        ({"size": 0}, "is an int from 1"),
        ({"size": True}, "is an int from 1"),
        ({"filter": "nothing"}, "a filter is a function of a module"),
        ({"filter": lambda job: True}, "can't be stored"),
        ({"filter": 5}, "a filter is a function"),
    ],
)
def test_what_can_not_be_is_refused(bad: dict[str, Any], why: str) -> None:
    with pytest.raises(BadArgument, match=why):
        Agent(**{"queue": "", **bad})


def test_agents_stand_in_place_of_queues_and_threads(db: Any) -> None:
    for more in ({"queues": [""]}, {"threads": 2}):
        with pytest.raises(TypeError, match="leave out queues and threads"):
            zodbjobs.Worker(db, agents=[Agent("")], **more)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="agents is empty"):
        zodbjobs.Worker(db, agents=[])
    with pytest.raises(TypeError, match=r"a list of zodbjobs\.Agent"):
        zodbjobs.Worker(db, agents=["mail"])  # type: ignore[list-item]


def test_a_queue_or_a_filter_that_is_not_there_is_told_at_the_start(db: Any) -> None:
    with pytest.raises(UnknownQueue, match="there is no queue 'mail'"):
        zodbjobs.Worker(db, agents=[Agent("mail")]).start()
    with pytest.raises(MissingCode, match="sample:no_filter can't be loaded"):
        zodbjobs.Worker(db, agents=[Agent("", filter="sample:no_filter")]).start()
    with db.transaction() as connection:
        assert insights.stored_agents(connection) == []


# Filters


@pytest.mark.promise(82)
def test_a_filter_says_which_jobs_are_taken_and_is_asked_once(any_db: Any, queue: Any) -> None:
    put(queue, 1, 2, 3, 4)
    with bench(any_db, agents=ODD) as worker:
        assert numbers(any_db, worker) == [1, 3]
        assert sample.noted == ["odd 1?", "odd 2?", "odd 3?", "odd 4?"]
        put_meanwhile(any_db, 5)
        assert numbers(any_db, worker) == [5]
        assert sample.noted[4:] == ["odd 5?"]
    with bench(any_db, agents=ODD) as another:
        sample.noted.clear()
        numbers(any_db, another)
        assert "odd 2?" not in sample.noted


@pytest.mark.promise(83)
def test_what_one_refuses_others_get_in_order(any_db: Any, queue: Any) -> None:
    put(queue, 2, 4)
    put(queue, 6, priority=1)
    with bench(any_db, agents=ODD) as worker:
        assert numbers(any_db, worker) == []
        put_meanwhile(any_db, 8)
        put_meanwhile(any_db, 10, priority=2)
        sample.noted.clear()
        with bench(any_db, agents=LARGE) as other:
            other.parts.lanes[0].claimer._ownership._owns_all = True
            assert numbers(any_db, other, 3) == [10, 6, 4]
        assert sample.noted == ["large 10?", "large 6?", "large 2?", "large 4?"]
        with bench(any_db) as any_jobs:
            any_jobs.parts.lanes[0].claimer._ownership._owns_all = True
            # Those that were claimed before have been interrupted.
            assert numbers(any_db, any_jobs) == [10, 6, 4, 2, 8]


@pytest.mark.promise(82)
def test_without_one_all_are_taken(any_db: Any, queue: Any) -> None:
    put(queue, 1, 2)
    with bench(any_db, agents=[Agent("")]) as worker:
        assert numbers(any_db, worker) == [1, 2]


def test_many_that_are_refused_stand_in_nobodys_way(
    any_db: Any, queue: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(defaults, "MOST_ASKED", 10)
    queue.put_many([zodbjobs.Job(sample.identity, 2) for _ in range(100)])
    put(queue, 1)
    with bench(any_db, agents=ODD) as worker:
        claimed: list[int] = []
        claims = 1
        assert (numbers(any_db, worker), len(sample.noted)) == ([], 10)
        while not claimed:
            claimed += numbers(any_db, worker)
            claims += 1
        assert (claimed, len(sample.noted)) == ([1], 101)
        assert claims <= 11
        put_meanwhile(any_db, 3)
        assert numbers(any_db, worker) == [3]
        assert len(sample.noted) == 102
    transaction.begin()
    assert len(queue) == 102


def test_a_worker_goes_on_asking_by_itself(
    any_db: Any, queue: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(defaults, "MOST_ASKED", 10)
    queue.put_many([zodbjobs.Job(sample.identity, 2) for _ in range(100)])
    (odd,) = put(queue, 1)
    with zodbjobs.Worker(any_db, agents=ODD):
        patience.wait_for(odd)


def test_one_that_raises_is_told_and_harms_nobody(any_db: Any, queue: Any, caplog: Any) -> None:
    put(queue, 1, 2)
    with bench(any_db, agents=[Agent("", filter=sample.is_broken)]) as worker:
        assert numbers(any_db, worker) == []
        assert caplog.text.count("the filter sample:is_broken raised for") == 2
        assert "the filter is broken" in caplog.text
        assert numbers(any_db, worker) == []
        assert caplog.text.count("the filter sample:is_broken raised for") == 2
    assert run_jobs(any_db) == 2


def test_one_that_interrupts_ends_no_worker(any_db: Any, queue: Any, caplog: Any) -> None:
    """It isn't the Ctrl-C of a person, which reaches the main thread only."""
    (job,) = put(queue, 1)
    agents = [Agent("", filter=sample.is_interrupting), Agent("", filter=sample.is_odd)]
    with zodbjobs.Worker(any_db, agents=agents):
        patience.wait_for(job)
        patience.until(lambda: "the filter sample:is_interrupting raised for" in caplog.text)


def test_one_that_always_conflicts_stops_no_claim_for_ever(any_db: Any, queue: Any) -> None:
    put(queue, 1)
    with bench(any_db, agents=[Agent("", filter=sample.is_in_conflict)]) as worker:
        for _ in range(4):
            with pytest.raises(ConflictError):
                worker.claim()
        assert numbers(any_db, worker) == []
    assert run_jobs(any_db) == 1


def test_a_claim_moves_few_with_quotas_that_a_filter_has_refused(
    any_db: Any, queue: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And those that it moves don't go to and fro between workers of which none begins them."""
    monkeypatch.setattr(defaults, "REFUSALS", 10)
    queue.quotas.create("mail", 3)
    put(queue, *([2] * 50), quota_names=["mail"])
    with bench(any_db, agents=ODD) as odd, bench(any_db) as worker:

        def refused() -> int:
            with any_db.transaction() as connection:
                shards = zodbjobs.get_queue(connection).shards
                return sum(len(tree) for s in shards for tree in (s.refused or {}).values())

        monkeypatch.setattr(Ownership, "own", lambda self, session, queue: list(queue.shards))
        assert numbers(any_db, odd) == []
        assert refused() == 10
        for _ in range(4):
            assert numbers(any_db, odd) == []
        assert refused() == 50
        for number in range(3):
            assert numbers(any_db, worker) == [2]
            assert numbers(any_db, odd) == []
            assert refused() == 49 - number
            worker.dispatcher._lanes[0].outstanding.clear()
        assert numbers(any_db, worker) == []
        assert refused() == 37  # the others wait for a slot now


def test_what_was_interrupted_is_asked_for_once(any_db: Any, queue: Any) -> None:
    put(queue, 1, 2)
    doomed = make_doomed(any_db)
    doomed.claim()
    die(doomed)
    with bench(any_db, agents=ODD) as worker:
        (claim,) = worker.claim()
        assert claim.interruptions == 1
        assert worker.claim() == []
        assert sorted(sample.noted) == ["odd 1?", "odd 2?"]
    transaction.begin()
    assert len(queue) == 2


def test_agents_that_claim_at_once_count_what_was_interrupted_together(
    any_db: Any, queue: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(queue, 1, 2)
    doomed = make_doomed(any_db)
    assert len(doomed.claim()) == 2
    die(doomed)
    monkeypatch.setattr(defaults, "INTERRUPTED_TOGETHER", 1)
    with bench(any_db, agents=[Agent(""), Agent("")]) as worker:
        lanes = worker.dispatcher._lanes
        worker.dispatcher._step(worker.dispatcher._session, [(lane, 1) for lane in lanes])
        assert [len(lane.outstanding) for lane in lanes] == [1, 0]


def test_what_was_interrupted_is_found_behind_many_that_are_refused(
    any_db: Any, queue: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(defaults, "CLAIM_MOST", 10)
    monkeypatch.setattr(defaults, "MOST_ASKED", 10)
    monkeypatch.setattr(Ownership, "own", lambda self, session, queue: list(queue.shards))
    queue.put_many([zodbjobs.Job(sample.identity, 2) for _ in range(30)])
    put(queue, 1)
    doomed = make_doomed(any_db)
    assert len(doomed.claim()) == 31
    die(doomed)
    with bench(any_db, agents=ODD) as worker:
        found = [numbers(any_db, worker) for _ in range(3)]
        assert (found, len(sample.noted)) == ([[], [], []], 30)
        (claim,) = worker.claim()
        assert (claim.interruptions, len(sample.noted)) == (1, 31)
        assert worker.claim() == []
        assert len(sample.noted) == 31
    transaction.begin()
    assert (len(queue), insights.queue_stats(queue, "").waiting) == (31, 31)
    with bench(any_db, agents=LARGE) as other:
        sample.noted.clear()
        claims = [claim for _ in range(4) for claim in other.claim()]
        assert (claims, len(sample.noted)) == ([], 31)
    assert run_jobs(any_db) == 31


def test_what_was_interrupted_and_is_refused_by_all_expires(any_db: Any, queue: Any) -> None:
    with moving_clock() as now:
        (job,) = put(queue, 2, begin_by=timedelta(seconds=5))
        doomed = make_doomed(any_db)
        doomed.claim()
        die(doomed)
        with bench(any_db, agents=ODD) as worker:
            assert worker.claim() == []
            now.advance(6)
            (claim,) = worker.claim()
            assert (claim.oid, claim.too_late) == (job._p_oid, True)


def test_a_job_that_can_not_be_loaded_is_taken_and_parked(
    any_db: Any, queue: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    (job,) = [queue.put(sample.SpecialJob(sample.identity, 2))]
    transaction.commit()
    with monkeypatch.context() as patch:
        patch.delattr(sample, "SpecialJob")
        resetCaches()
        with bench(any_db, agents=ODD) as worker:
            (claim,) = worker.claim()
            worker.runner.run(claim)
            worker.dispatcher.step()
    resetCaches()
    with any_db.transaction() as connection:
        assert connection.get(job._p_oid).parked
    assert sample.noted == []


def test_what_was_refused_waits_as_before(any_db: Any, queue: Any) -> None:
    jobs = put(queue, 2, 4, 6, 8)
    with bench(any_db, agents=ODD) as worker:
        worker.claim()
    transaction.begin()
    assert ({job.status for job in jobs}, list(queue)) == ({"pending"}, jobs)
    assert [info.id for info in insights.list_jobs(queue, status="waiting")] == [
        job.id for job in reversed(jobs)
    ]
    assert insights.queue_stats(queue, "").waiting == 4
    assert not insights.is_empty(queue, "")
    jobs[0].cancel()
    queue.remove(jobs[1])
    transaction.commit()
    assert run_jobs(any_db) == 2
    transaction.begin()
    assert [job.outcome for job in jobs] == ["cancelled", None, "succeeded", "succeeded"]


def test_bundles_are_chosen_from(any_db: Any, queue: Any) -> None:
    """Many that were put together."""
    queue.put_many([zodbjobs.Job(sample.identity, n) for n in range(40)])
    transaction.commit()
    with bench(any_db, agents=ODD) as worker:
        assert numbers(any_db, worker, 5) == [1, 3, 5, 7, 9]
        assert numbers(any_db, worker) == list(range(11, 40, 2))
    assert run_jobs(any_db) == 40


# What all of them refuse


@pytest.mark.parametrize("others", [ODD, LARGE])
@pytest.mark.parametrize("options", [{}, {"quota_names": ["mail"]}])
def test_what_all_refuse_expires(
    any_db: Any,
    queue: Any,
    others: list[Agent],
    options: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """No filter is asked for it again, and others stay."""
    monkeypatch.setattr(Ownership, "own", lambda self, session, queue: list(queue.shards))
    queue.quotas.create("mail", 3)
    with moving_clock() as now:
        (job,) = put(queue, 2, begin_by=timedelta(seconds=5), **options)
        (stays,) = put(queue, 0, begin_by=timedelta(seconds=50), **options)
        with bench(any_db, agents=ODD) as worker, bench(any_db, agents=others) as other:
            for _ in range(3):
                assert worker.claim() + other.claim() == []
            asked = list(sample.noted)
            assert len(asked) == (2 if others is ODD else 4)
            now.advance(6)
            (claim,) = [claim for _ in range(3) for claim in worker.claim()]
            assert (claim.oid, claim.too_late) == (job._p_oid, True)
            worker.runner.run(claim)
            worker.runner.flush()
            worker.dispatcher.step()
            assert sample.noted == asked
        transaction.begin()
        assert (job.outcome, stays.status, list(queue)) == ("expired", "pending", [stays])


def test_it_expires_in_a_worker_that_has_nothing_else_to_do(any_db: Any, queue: Any) -> None:
    (job,) = put(queue, 2, begin_by=timedelta(milliseconds=1))
    with zodbjobs.Worker(any_db, agents=ODD):
        patience.wait_for(job)
    transaction.begin()
    assert (job.outcome, sample.noted) == ("expired", ["odd 2?"])


def test_a_time_that_is_set_once_it_is_refused_counts(any_db: Any, queue: Any) -> None:
    with moving_clock() as now:
        sooner, later = put(queue, 2, 4, begin_by=timedelta(seconds=50))
        with bench(any_db, agents=ODD) as worker:
            assert worker.claim() == []
            with committed(any_db) as there:
                there.get(sooner.id).begin_by = timedelta(seconds=5)
                there.get(later.id).begin_by = timedelta(seconds=500)
            now.advance(6)
            assert [claim.oid for claim in worker.claim()] == [sooner._p_oid]
            now.advance(60)
            assert worker.claim() == []


def test_what_waited_for_others_too_long_is_ended_by_any_agent(any_db: Any, queue: Any) -> None:
    with moving_clock() as now:
        (before,) = put(queue, 4)
        (job,) = put(queue, 2, after=[before], begin_by=timedelta(seconds=5))
        now.advance(6)
        with bench(any_db, agents=ODD) as worker:
            (claim,) = [claim for _ in range(2) for claim in worker.claim()]
            assert (claim.oid, claim.too_late, sample.noted) == (job._p_oid, True, ["odd 4?"])


def test_it_expires_too_if_another_agent_has_begun_to_look_at_it(any_db: Any, queue: Any) -> None:
    """It has quotas, and was admitted again when its time was over, by a claim without room."""
    queue.quotas.create("mail")
    with moving_clock() as now:
        (job,) = put(queue, 2, begin_by=timedelta(seconds=5), quota_names=["mail"])
        with bench(any_db, agents=ODD) as worker:
            assert worker.claim() == []
            with any_db.transaction() as connection:
                shard = connection.get(job._p_oid)._shard
                (((_, *names), tree),) = shard.refused.items()
                key = tree.minKey()
                entry = (*tree.pop(key)[:-1], tuple(names))
                shard.make_ready(key, entry)
            now.advance(6)
            (claim,) = [claim for _ in range(3) for claim in worker.claim()]
            assert (claim.oid, claim.too_late, sample.noted) == (job._p_oid, True, ["odd 2?"])


def test_many_of_one_deadline_are_found_in_bounded_steps(
    any_db: Any, queue: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(defaults, "DRAIN_PER_INBOX", 10)
    monkeypatch.setattr(Ownership, "own", lambda self, session, queue: [queue.shards[0]])
    with moving_clock() as now:
        shard = queue.shards[0]
        jobs = [zodbjobs.Job(sample.identity, 2) for _ in range(1_500)]
        for number, job in enumerate(jobs):
            shard.add_deadline(clock.now(), number, job)
        assert len(shard.deadlines) == 1 + len(jobs)
        now.advance(1)
        shard.drain(clock.now(), 1)
        assert len(shard.deadlines) == 1 + len(jobs) - 10
        transaction.abort()


# Many agents, and changes


@pytest.mark.promise(78)
def test_an_agent_runs_no_more_than_its_size(any_db: Any, queue: Any) -> None:
    mail = queue.parent.create("mail")
    jobs = [mail.put(sample.wait) for _ in range(5)]
    others = [queue.put(sample.nothing) for _ in range(20)]
    transaction.commit()
    with zodbjobs.Worker(any_db, agents=[Agent("mail", 2), Agent("")]):
        patience.wait_for(others)
        transaction.begin()
        patience.until(lambda: transaction.begin() and active(jobs) == 2)
        sample.gate.set()
        patience.wait_for(jobs)
    assert Agent("").size == 3


def test_an_agent_takes_jobs_of_its_queue_only(any_db: Any, queue: Any) -> None:
    mail = queue.parent.create("mail")
    (wanted,) = put(mail, 1)
    put(queue, 2)
    with bench(any_db, agents=[Agent("mail"), Agent("")]) as worker:
        assert [claim.oid for claim in worker.claim()] == [wanted._p_oid]


def active(jobs: list[zodbjobs.Job]) -> int:
    return [job.status for job in jobs].count("active")


@pytest.mark.promise(86)
def test_a_size_can_be_changed_while_it_works(any_db: Any, queue: Any) -> None:
    before = any_db.getPoolSize()
    with zodbjobs.Worker(any_db, agents=[Agent("", 1)]):
        assert any_db.getPoolSize() == before + 2
        jobs = [queue.put(sample.wait) for _ in range(5)]
        transaction.commit()
        patience.until(lambda: transaction.begin() and active(jobs) == 1)
        (agent,) = insights.stored_agents(queue)
        agent.size = 3
        transaction.commit()
        patience.until(lambda: transaction.begin() and active(jobs) == 3)
        assert any_db.getPoolSize() == before + 4
        agent.size = 1
        transaction.commit()
        patience.until(lambda: any_db.getPoolSize() == before + 2)
        sample.gate.set()
        patience.wait_for(jobs)
        (worker,) = insights.list_workers(queue)
        assert worker.threads == 1
    assert any_db.getPoolSize() == before


def test_fewer_threads_run_fewer_jobs(any_db: Any, queue: Any) -> None:
    with zodbjobs.Worker(any_db, agents=[Agent("", 3)]):
        patience.until(lambda: len(runners()) == 3)
        transaction.begin()
        (agent,) = insights.stored_agents(queue)
        agent.size = 1
        transaction.commit()
        patience.until(lambda: len(runners()) == 1)
        jobs = [queue.put(sample.wait) for _ in range(3)]
        transaction.commit()
        patience.until(lambda: transaction.begin() and active(jobs) == 1)
        sample.gate.set()
        patience.wait_for(jobs)


def runners() -> list[threading.Thread]:
    return [t for t in threading.enumerate() if t.name.startswith("zodbjobs runner")]


def test_another_filter_asks_anew(any_db: Any, queue: Any) -> None:
    odd, even = put(queue, 1, 4)
    with zodbjobs.Worker(any_db, agents=ODD):
        patience.wait_for(odd)
        transaction.begin()
        (agent,) = insights.stored_agents(queue)
        assert (agent.filter, agent.queue, agent.worker is None) == ("sample:is_odd", "", False)
        agent.filter = sample.is_large
        transaction.commit()
        patience.wait_for(even)
        agent.filter = "sample:no_filter"
        transaction.commit()


@pytest.mark.promise(86)
def test_an_agent_is_added_while_it_works(any_db: Any, queue: Any) -> None:
    before = any_db.getPoolSize()
    mail = queue.parent.create("mail")
    jobs = [mail.put(sample.wait) for _ in range(3)]
    (later,) = put(queue, 1)
    with zodbjobs.Worker(any_db, agents=[Agent("", 1)]) as worker:
        patience.wait_for(later)
        operations.add_agent(any_db, worker.id, "mail", 2)
        patience.until(lambda: transaction.begin() and active(jobs) == 2)
        assert any_db.getPoolSize() == before + 4
        (info,) = insights.list_workers(queue)
        assert info.threads == 3
        sample.gate.set()
        patience.wait_for(jobs)
        patience.wait_for(put(queue, 1))
        patience.wait_for(put(mail, 1))
    assert any_db.getPoolSize() == before


@pytest.mark.promise(85)
def test_an_agent_is_removed_while_it_works(any_db: Any, queue: Any) -> None:
    """What runs goes on to its end, and nothing more is begun."""
    before = any_db.getPoolSize()
    mail = queue.parent.create("mail")
    runs = mail.put(sample.wait)
    transaction.commit()
    with zodbjobs.Worker(any_db, agents=[Agent("", 1), Agent("mail", 1)]) as worker:
        patience.until(lambda: transaction.begin() and runs.status == "active")
        operations.remove_agent(any_db, worker.id, "mail")
        parts = worker._incarnation._parts
        patience.until(lambda: any_db.getPoolSize() == before + 2)
        waits = mail.put(sample.nothing)
        transaction.commit()
        patience.wait_for(put(queue, 1))
        sample.gate.set()
        patience.wait_for(runs)
        patience.until(lambda: len(parts.lanes) == len(parts.slots) == 1)
        patience.wait_for(put(queue, 1))
        transaction.begin()
        assert (waits.status, [a.queue for a in insights.stored_agents(queue)]) == (
            "pending",
            [""],
        )
        operations.add_agent(any_db, worker.id, "mail", 1)
        patience.wait_for(waits)
        transaction.begin()
        assert (runs.outcome, runs.interruptions) == ("succeeded", 0)


def test_a_sweep_of_a_removed_agent_goes_on_elsewhere(any_db: Any, queue: Any) -> None:
    """It is given back at its next checkpoint, as when its worker stops."""
    mail = queue.parent.create("mail")
    job = mail.put(zodbjobs.Sweep([1, 2, 3], sample.wait_with, seconds=1e-6))
    transaction.commit()
    with zodbjobs.Worker(any_db, agents=[Agent("", 1), Agent("mail", 1)]) as worker:
        patience.until(lambda: transaction.begin() and job.status == "active")
        operations.remove_agent(any_db, worker.id, "mail")
        sample.gate.set()
        patience.until(lambda: transaction.begin() and job.status == "pending")
        assert (job.done, job.attempts, job.interruptions) == (1, 0, 0)
        operations.add_agent(any_db, worker.id, "mail", 1)
        patience.wait_for(job)
    transaction.begin()
    assert (job.result.done, job.attempts) == (3, 1)


def test_what_a_removed_agent_has_claimed_is_given_back(any_db: Any, queue: Any) -> None:
    """Also if that conflicts at first."""
    mail = queue.parent.create("mail")
    jobs = put(mail, 1, 2, 3, 4)
    options = Options(agents=[Agent(""), Agent("mail")])
    incarnation = Incarnation(any_db, options, threading.Event())
    parts, manager = incarnation._parts, incarnation._parts.registration.manager
    _, lane = parts.lanes
    parts.dispatcher._step(parts.registration.session, [(lane, 10)])
    assert len(lane.outstanding) == 4
    first, *claims = lane.workload.take_all()
    lane.workload.hand_out(claims)
    operations.remove_agent(any_db, incarnation.id, number=2)

    def cancel_one() -> None:
        with any_db.transaction() as connection:
            connection.get(claims[0].oid).cancel()

    commits = [lambda: None, cancel_one]  # it looks, then it gives back

    def late_commit() -> None:
        if commits:
            commits.pop(0)()
        commit()

    commit, manager.commit = manager.commit, late_commit
    with pytest.raises(ConflictError):
        incarnation._follow_agents()
    assert len(lane.workload) == 3
    incarnation._follow_agents()
    assert (commits, lane.is_leaving, len(lane.outstanding)) == ([], True, 1)
    incarnation._pools[1]._see_off()
    lane.workload.take_again(first)  # its thread has failed
    incarnation._follow_agents()
    assert [lane.queues for lane in parts.lanes] == [("",)]
    with manager:
        removed = parts.registration.session.record.agent(lane.oid)
        assert (removed.queue, removed.worker) == ("mail", incarnation.id)
    transaction.begin()
    assert sorted(job.status for job in jobs) == ["completed", "pending", "pending", "pending"]
    assert {job.interruptions for job in jobs} == {0}
    parts.registration.drop()
    parts.registration.close()


def test_others_take_over_the_shards_of_a_removed_agent(any_db: Any, queue: Any) -> None:
    # Who has a shard is drawn by the ids of the workers: of so many each has some.
    queue.parent.create("mail", shards=64)
    transaction.commit()
    agents = [Agent(""), Agent("mail")]
    with bench(any_db, agents=agents) as one, bench(any_db, agents=[Agent("mail")]) as other:
        ownership = other.parts.lanes[0].claimer._ownership

        def owned() -> int:
            with any_db.transaction() as connection:
                session = Session(connection, other.registration.id)
                return len(ownership.own(session, session.stored["mail"]))

        assert owned() < 64
        operations.remove_agent(any_db, one.registration.id, "mail")
        assert owned() == 64
        operations.add_agent(any_db, one.registration.id, "mail")
        assert owned() < 64


def test_what_is_refused_of_agents(any_db: Any, queue: Any) -> None:
    queue.parent.create("mail")
    transaction.commit()
    agents = [Agent(""), Agent("", 1, sample.is_odd)]
    with bench(any_db, agents=agents) as one, bench(any_db) as other:
        me, only = one.registration.id, other.registration.id
        for refused, why in (
            (lambda: operations.remove_agent(any_db, only), "would have no agent left"),
            (lambda: operations.remove_agent(any_db, me, ""), "would have no agent left"),
            (lambda: operations.remove_agent(any_db, me), "has 2 agents; say which one"),
            (
                lambda: operations.change_agent(any_db, me, number=3, size=1),
                "agent with the n",
            ),
            (
                lambda: operations.change_agent(any_db, me, "mail", size=1),
                "agent with queue",
            ),
            (lambda: operations.change_agent(any_db, "none", size=1), "0 workers have ids that"),
            (lambda: operations.change_agent(any_db, only, size=0), "is an int from 1"),
            (lambda: operations.change_agent(any_db, only, filter="no"), "a filter is a function"),
            (lambda: operations.add_agent(any_db, me, "nosuch"), "there is no queue 'nosuch'"),
        ):
            with pytest.raises(ZodbjobsError, match=why):
                refused()
        with any_db.transaction() as connection:
            found = {(a.worker, a.size, a.filter) for a in insights.stored_agents(connection)}
        assert found == {(me, 3, None), (me, 1, "sample:is_odd"), (only, 1, None)}
        operations.change_agent(any_db, me, number=2, filter=None)
        operations.change_agent(any_db, only, size=2, filter=sample.is_large)
        with any_db.transaction() as connection:
            found = {(a.worker, a.size, a.filter) for a in insights.stored_agents(connection)}
        assert found == {(me, 3, None), (me, 1, None), (only, 2, "sample:is_large")}


def test_a_filter_that_is_missing_takes_nothing(any_db: Any, queue: Any, caplog: Any) -> None:
    with zodbjobs.Worker(any_db, agents=[Agent("")]):
        transaction.begin()
        (agent,) = insights.stored_agents(queue)
        agent.filter = "sample:no_filter"
        transaction.commit()
        patience.until(lambda: "an agent claims nothing, as its filter is missing" in caplog.text)
        (job,) = put(queue, 1)
        agent.filter = None
        transaction.commit()
        patience.wait_for(job)


@pytest.mark.promise(85)
def test_no_job_is_lost_with_an_agent(any_db: Any, queue: Any) -> None:
    jobs = put(queue, 1, 2, 3)
    with bench(any_db, agents=ODD) as worker:
        assert len(worker.claim()) == 2
        transaction.begin()
    transaction.begin()
    assert insights.stored_agents(queue) == []
    assert len(queue) == 3
    run_jobs(any_db)
    transaction.begin()
    assert {job.outcome for job in jobs} == {"succeeded"}


@pytest.mark.promise(147)
def test_what_a_worker_takes_is_in_the_code_of_the_application(any_db: Any, queue: Any) -> None:
    """Each start has what it says there, whatever was changed before."""
    for _ in range(2):
        with zodbjobs.Worker(any_db, agents=[Agent("", 2, sample.is_odd)]):
            transaction.begin()
            (agent,) = insights.stored_agents(queue)
            assert (agent.queue, agent.size, agent.filter) == ("", 2, "sample:is_odd")
            agent.size = 5
            transaction.commit()


@pytest.mark.promise(155)
def test_it_can_be_asked_what_an_agent_would_take(any_db: Any, queue: Any) -> None:
    jobs = put(queue, 1, 2, 3)
    with bench(any_db, agents=ODD):
        transaction.begin()
        with any_db.transaction() as connection:
            (agent,) = insights.stored_agents(connection)
            found = insights.jobs_for(agent)
            assert [info.id for info in found] == [jobs[0].id, jobs[2].id]
            assert len(insights.jobs_for(agent, limit=1)) == 1


@pytest.mark.promise(50)
def test_a_job_can_reach_its_agent(any_db: Any, queue: Any) -> None:
    job = queue.put(sample.tell_agent)
    transaction.commit()
    with bench(any_db, agents=[Agent("", 2)]) as worker:
        worker.run()
        worker.runner.flush()
    transaction.begin()
    assert job.result == (("",), 2, None)
    by_short_form = queue.put(sample.tell_agent)
    transaction.commit()
    run_jobs(any_db)
    transaction.begin()
    assert by_short_form.result == (None, 1, None)


def test_jobs_with_quotas_are_chosen_from(any_db: Any, queue: Any) -> None:
    """What a filter refuses makes way for the next one of the quota, and others take it."""
    queue.quotas.create("one")
    put(queue, 2, 4, 1, quota_names=["one"])
    with bench(any_db, agents=ODD) as worker:
        claims = [claim for _ in range(3) for claim in worker.claim()]
        assert [claim.names for claim in claims] == [("one",)]
        assert sorted(sample.noted) == ["odd 1?", "odd 2?", "odd 4?"]
    transaction.begin()
    assert run_jobs(any_db) == 3
    transaction.begin()
    assert [job.outcome for job in queue.finished()] == ["succeeded"] * 3


def test_a_slot_is_not_kept_for_what_is_refused(any_db: Any, queue: Any) -> None:
    queue.quotas.create("one")
    put(queue, 1, quota_names=["one"])
    with bench(any_db, agents=ODD) as worker:
        (claim,) = worker.claim()
        put_meanwhile(any_db, 2, 3, quota_names=["one"])
        assert worker.claim() == []
        worker.runner.run(claim)
        worker.runner.flush()
        claims = [claim for _ in range(4) for claim in worker.claim()]
        assert len(claims) == 1
        assert sample.noted == ["odd 1?", "odd 2?", "odd 3?"]


def test_a_unique_key_goes_with_what_is_refused(any_db: Any, queue: Any) -> None:
    job = queue.put(zodbjobs.Job(sample.identity, 2), unique="key")
    transaction.commit()
    with bench(any_db, agents=ODD) as worker:
        assert worker.claim() == []
    transaction.begin()
    assert queue.put(zodbjobs.Job(sample.identity, 4), unique="key") is job
    assert run_jobs(any_db) == 1
