"""`insights.check_health`: who works, who doesn't, and what waits for too long."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import sample
import transaction
from bench import record
from ZODB.DB import DB
from ZODB.MappingStorage import MappingStorage

import zodbjobs
from zodbjobs import Agent, clock, defaults
from zodbjobs.errors import BadArgument, UnknownQueue
from zodbjobs.insights import Health, check_health, health, queue_stats
from zodbjobs.insights.due import count_due, oldest_due
from zodbjobs.runtime import failure_detector
from zodbjobs.stored.lifecycle.claim import claim
from zodbjobs.testing import moving_clock

START = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


@pytest.fixture
def place() -> Iterator[Any]:
    with contextlib.closing(DB(MappingStorage())) as db:
        zodbjobs.install(db)
        yield db.open()


def add_worker(place: Any, worker_id: str, *queues: str, **changed: Any) -> Any:
    """The record of a worker of another machine, that nobody knows to have ended."""
    made = record(worker_id, host=changed.pop("host", "elsewhere"))
    made.set_agents([Agent(name) for name in queues] or [Agent.of_all(None, 2)])
    for name, value in changed.items():
        setattr(made, name, value)
    zodbjobs.get_queues(place).workers[worker_id] = made
    transaction.commit()
    return made


def kinds(found: Health) -> list[str]:
    assert found.ok is not bool(found.problems)
    return [problem.kind for problem in found.problems]


def text_of(found: Health) -> str:
    (problem,) = found.problems
    return problem.text


# Workers


def test_nobody_works(place: Any) -> None:
    found = check_health(place)
    assert kinds(found) == ["workers"]
    assert text_of(found) == (
        "no worker works: none is registered; start one with `zodbjobs worker`"
    )
    assert (found.workers, found.others, found.last_sign) == (0, 0, None)


def test_somebody_works(place: Any) -> None:
    add_worker(place, "a" * 32, stuck=1)
    add_worker(place, "b" * 32)
    found = check_health(place)
    assert kinds(found) == []
    assert (found.workers, found.others, found.stuck_threads) == (2, 0, 1)
    assert found.last_sign is not None
    assert found.as_json()["problems"] == []


def test_one_is_silent(place: Any) -> None:
    """After the heartbeats for which others wait as well, or as long as is said."""
    add_worker(place, "a" * 32)
    with moving_clock(datetime.now(UTC)) as moves:
        moves.advance(defaults.MISSED_HEARTBEATS * defaults.HEARTBEAT_SECONDS - 5)
        assert kinds(check_health(place)) == []
        assert kinds(check_health(place, max_age=20)) == ["workers"]
        moves.advance(10)
        found = check_health(place)
        assert (found.workers, found.others) == (0, 1)
        assert "no worker works: worker aaaaaaaaaaaa (process" in text_of(found)
        assert " gave its last sign of life 50 s ago; see its log, and" in text_of(found)
        assert kinds(check_health(place, max_age=60)) == []


def test_one_has_ended(place: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    dead = "a" * 32
    monkeypatch.setattr(health, "is_dead", lambda record, only_process: record.id == dead)
    add_worker(place, dead)
    assert "on elsewhere) has ended without a word" in text_of(check_health(place))
    add_worker(place, "b" * 32)
    found = check_health(place)
    assert (kinds(found), found.workers, found.others) == ([], 1, 1)
    few = text_of(check_health(place, min_workers=2))
    assert few.startswith("1 of 2 workers work: worker aaaaaaaaaaaa (process ")


def test_the_first_of_many_that_have_ended_are_named(
    place: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(health, "is_dead", lambda record, only_process: True)
    for letter in "abcdefg":
        add_worker(place, letter * 32)
    text = text_of(check_health(place))
    assert text.count("has ended without a word") == 3
    assert "word, and 4 more; see" in text


def test_those_of_this_machine(place: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Containers may share the name of the host; then the machine tells them apart."""
    monkeypatch.setattr(health, "is_dead", lambda record, only_process: False)
    here = socket.gethostname()
    machine = failure_detector.machine() or "this one"
    monkeypatch.setattr(failure_detector, "machine", lambda: machine)
    add_worker(place, "a" * 32)
    add_worker(place, "b" * 32, host=here, machine="another container")
    assert text_of(check_health(place, here=True)).startswith("no worker of this machine works")
    add_worker(place, "c" * 32, host=here, machine=machine)
    found = check_health(place, here=True)
    assert (kinds(found), found.workers) == ([], 1)


def test_a_worker_by_its_id(place: Any) -> None:
    add_worker(place, "a" * 32)
    assert check_health(place, worker="aaa").ok
    assert "no worker with an id that begins with 'b' works" in text_of(
        check_health(place, worker="b")
    )


# Queues


def test_each_queue_needs_a_worker(place: Any) -> None:
    zodbjobs.get_queues(place).create("mail")
    add_worker(place, "a" * 32, "")
    found = check_health(place)
    assert (kinds(found), found.problems[0].queue) == (["unserved"], "mail")
    assert "no worker that works is for queue 'mail'; start one" in text_of(found)
    assert check_health(place, queues=[""]).ok
    assert kinds(check_health(place, worker="a", queues=["mail"])) == ["unserved"]
    assert check_health(place, worker="a").ok  # others may serve the other one
    add_worker(place, "b" * 32, "mail")
    assert check_health(place).ok


def test_a_queue_that_is_not_there(place: Any) -> None:
    with pytest.raises(UnknownQueue):
        check_health(place, queues=["no"])


@pytest.mark.parametrize(
    "limit",
    [
        {"min_workers": 0},
        {"max_age": -1},
        {"max_wait": -1},
        {"max_waiting": -1},
        {"max_parked": -1},
        {"max_late": -1},
    ],
)
def test_a_limit_that_is_none(place: Any, limit: dict[str, Any]) -> None:
    with pytest.raises(BadArgument, match=f"{next(iter(limit))} is at least "):
        check_health(place, **limit)


# Jobs


def put(place: Any, **terms: Any) -> zodbjobs.Job:
    job: zodbjobs.Job = zodbjobs.get_queue(place).put(zodbjobs.Job(sample.nothing), **terms)
    transaction.commit()
    return job


def test_a_job_that_waits_for_too_long(place: Any) -> None:
    with moving_clock(datetime.now(UTC)) as moves:
        add_worker(place, "a" * 32)
        put(place)
        assert check_health(place, max_wait=10).ok
        moves.advance(11)
        assert check_health(place).ok  # it wasn't asked for
        assert check_health(place).oldest_waiting is None
        found = check_health(place, max_wait=10, max_waiting=0)
        assert kinds(found) == ["late", "waiting"]
        first, second = (problem.text for problem in found.problems)
        assert first.startswith(
            "a job of the default queue has waited for 11 s, more than 10 s; give it more threads"
        )
        assert second.startswith("more than 0 jobs of the default queue are due and wait; give it")
        assert found.oldest_waiting is not None
        zodbjobs.get_queue(place).pause("the printer is away")
        paused = check_health(place, max_wait=10)
        assert "it is paused (the printer is away): resume it" in text_of(paused)


def test_parked_jobs(place: Any) -> None:
    add_worker(place, "a" * 32)
    jobs = [put(place) for _ in range(3)]
    shard = zodbjobs.get_queue(place).shards[0]
    for key, job in enumerate(jobs, 1):
        shard.parked[key] = job
    transaction.commit()
    assert check_health(place, max_parked=3).ok
    found = check_health(place, max_parked=2)
    assert kinds(found) == ["parked"]
    assert "more than 2 jobs of the default queue are parked; `zodbjobs jobs" in text_of(found)


def test_a_schedule_that_is_late(place: Any) -> None:
    with moving_clock(datetime.now(UTC)) as moves:
        add_worker(place, "a" * 32)
        schedules = zodbjobs.get_queues(place).schedules
        schedules.create("often", sample.nothing, every=timedelta(minutes=10))
        transaction.commit()
        moves.advance(601)
        assert check_health(place, max_age=3600, max_late=10).ok
        moves.advance(20)
        assert check_health(place, max_age=3600).ok  # it wasn't asked for
        found = check_health(place, max_age=3600, max_late=10)
        assert kinds(found) == ["schedules"]
        assert "s, more than 10 s, and hasn't put its job; `zodbjobs sch" in text_of(found)


# What is due


def test_what_is_due_is_as_the_statistics_say(place: Any) -> None:
    """In inboxes, bundles, filed or not, at each priority."""
    queue = zodbjobs.get_queue(place)
    with moving_clock(START) as moves:

        def check() -> None:
            stats, now = queue_stats(place, ""), clock.now()
            assert count_due(queue, now, 10_000) == stats.waiting
            oldest = oldest_due(queue, now)
            assert clock.moment(oldest) == stats.oldest_waiting
            for most in (0, stats.waiting - 1):
                if 0 <= most < stats.waiting:
                    assert count_due(queue, now, most) == most + 1

        check()
        put(place, begin_after=timedelta(hours=2), priority=5)
        check()
        queue.put_many([zodbjobs.Job(sample.nothing) for _ in range(600)])
        transaction.commit()
        check()
        moves.advance(3)
        put(place, priority=3)
        for hours in (1, 3):
            jobs = [zodbjobs.Job(sample.nothing) for _ in range(30)]
            queue.put_many(jobs, begin_after=timedelta(hours=hours), priority=-2)
            transaction.commit()
        check()
        worker = add_worker(place, "a" * 32)
        for _ in range(4):
            claim(queue, worker, 50, clock.now(), queue.shards)
            transaction.commit()
            check()
            moves.advance(3_000)
            check()


def test_what_waits_unfiled_is_looked_at_no_further_than_it_must(
    place: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Many single puts for later in front of one that is due."""
    monkeypatch.setattr(defaults, "DUE_LOOKS", 3)
    queue = zodbjobs.get_queue(place)
    inbox = queue.shards[0].inboxes[0]
    now = clock.now()
    job = put(place, begin_after=timedelta(hours=1))
    from zodbjobs.stored.lifecycle import keys

    for n in range(5):
        inbox[keys.free_key(inbox, keys.key_for_later(0, now + (n - 10) * 1_000))] = job
    assert oldest_due(queue, now) == pytest.approx(now - 10_000, abs=1_000)
