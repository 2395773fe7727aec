"""What a busy worker leaves lying in its own shards is taken by another that is busy too."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import sample
import transaction
from bench import Bench, make_doomed

import zodbjobs
from zodbjobs import defaults
from zodbjobs.runtime import ownership
from zodbjobs.stored.lifecycle import delivery
from zodbjobs.testing import MovableClock, moving_clock


@pytest.fixture
def clock() -> Iterator[MovableClock]:
    with moving_clock() as moved:
        yield moved


@pytest.fixture
def worker(
    db: Any, clock: MovableClock, monkeypatch: pytest.MonkeyPatch, connection: Any
) -> Iterator[Bench]:
    """The worker that is looked at; shard 0 is its own, 1 is of one that never looks there."""
    here, other = make_doomed(db), make_doomed(db)
    owners = (here.registration.id, other.registration.id)
    monkeypatch.setattr(ownership, "owner", lambda _, name, shard: owners[shard % 2])
    transaction.begin()
    yield here
    here.close()
    other.close()


def put_into(queue: Any, shard: int, priority: int, name: str) -> None:
    delivery._producer.number = shard
    queue.put(zodbjobs.Job(sample.note, name), priority=priority)
    transaction.commit()


def run_one(worker: Bench) -> object:
    """What the next job notes."""
    assert worker.run(1) == 1
    worker.runner.flush()
    return sample.noted[-1]


def test_it_is_taken_at_the_second_look(queue: Any, worker: Bench, clock: MovableClock) -> None:
    for number in range(5):
        put_into(queue, 0, -8, f"mine {number}")
    clock.advance(defaults.LEFT_LYING_SECONDS)
    assert run_one(worker) == "mine 0"
    put_into(queue, 1, 7, "urgent")
    assert run_one(worker) == "mine 1"  # too early for a look
    clock.advance(defaults.LEFT_LYING_SECONDS)
    assert run_one(worker) == "mine 2"  # it might be taken by its own worker yet
    clock.advance(defaults.LEFT_LYING_SECONDS)
    assert run_one(worker) == "urgent"


def test_whoever_looks_seldom_goes_by_the_time(
    queue: Any, worker: Bench, clock: MovableClock
) -> None:
    for number in range(5):
        put_into(queue, 0, -8, f"mine {number}")
    put_into(queue, 1, 7, "urgent")
    assert run_one(worker) == "mine 0"
    clock.advance(10)  # so long its jobs take
    assert run_one(worker) == "urgent"


def test_what_is_less_urgent_waits_for_its_turn(
    queue: Any, worker: Bench, clock: MovableClock
) -> None:
    for number in range(5):
        put_into(queue, 0, 0, f"mine {number}")
    put_into(queue, 1, -8, "others'")
    clock.advance(defaults.LEFT_LYING_SECONDS)
    assert run_one(worker) == "mine 0"
    clock.advance(defaults.LEFT_LYING_SECONDS)
    assert [run_one(worker) for _ in range(3)] == ["mine 1", "mine 2", "mine 3"]
