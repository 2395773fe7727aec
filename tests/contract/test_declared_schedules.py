"""Schedules that the code of a worker declares, while releases come and go."""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import sample
import transaction

import zodbjobs
from zodbjobs import Schedule
from zodbjobs.errors import BadArgument, UnknownQueue
from zodbjobs.runtime.assembly import Options, Parts
from zodbjobs.runtime.tasks.schedules import FireSchedules
from zodbjobs.testing import moving_clock

START = datetime(2026, 6, 1, 12, tzinfo=UTC)
ALLOW: dict[str, Any] = {"overlap": "allow"}


@pytest.fixture
def clock() -> Any:
    with moving_clock(START) as moved:
        yield moved


@pytest.fixture
def schedules(clock: Any, queue: Any) -> Any:
    return queue.parent.schedules


class Declaring:
    """A worker that declares schedules, and does nothing but fire."""

    def __init__(self, db: Any, *declared: Schedule) -> None:
        self.parts = Parts(db, Options(schedules=declared), threading.Event())
        names = [each.name for each in declared]
        self._task = FireSchedules(self.parts.registration.session, self.parts.wakeup, names)

    def fire(self) -> None:
        self.parts.wakeup.set()  # where a storage must be asked, that is long ago
        while self._task.tick():
            pass

    def stop(self) -> None:
        self.parts.registration.drop()
        self.parts.registration.close()


@contextlib.contextmanager
def declaring(db: Any, *declared: Schedule) -> Iterator[Declaring]:
    transaction.commit()
    worker = Declaring(db, *declared)
    transaction.begin()
    yield worker
    worker.stop()
    transaction.begin()


def fired(schedules: Any) -> dict[str, int]:
    transaction.begin()
    return {name: schedules[name].fired for name in schedules}


def hourly(name: str = "hourly", **options: Any) -> Schedule:
    return Schedule(name, "@hourly", sample.nothing, **{**ALLOW, **options})


def test_it_is_made_at_the_start_and_fires(any_db: Any, schedules: Any, clock: Any) -> None:
    declared = hourly()
    with declaring(any_db, declared) as worker:
        made = schedules["hourly"]
        assert (made.declared, made.next) == (True, START + timedelta(hours=1))
        clock.advance(3600)
        worker.fire()
        assert fired(schedules) == {"hourly": 1}
    with declaring(any_db, declared) as worker:  # another one, of the same code
        clock.advance(3600)
        worker.fire()
        assert fired(schedules) == {"hourly": 2}
    assert len(schedules) == 1


def test_it_follows_the_code_but_for_what_an_operator_has_changed(
    any_db: Any, schedules: Any, clock: Any
) -> None:
    with declaring(any_db, hourly()):
        schedules["hourly"].edit("*/30 * * * *", catch_up="all")
        schedules["hourly"].pause("audit")
        transaction.commit()
    with declaring(any_db, Schedule("hourly", "@daily", sample.note, zone="Asia/Kathmandu")):
        made = schedules["hourly"]
        assert (made.when, made.catch_up, made.paused) == ("*/30 * * * *", "all", "audit")
        assert (made.zone, made.overlap) == ("Asia/Kathmandu", "skip")
        assert made.job.description == "sample:note"


def test_one_that_no_living_worker_declares_does_not_fire(
    any_db: Any, schedules: Any, clock: Any
) -> None:
    with declaring(any_db, hourly("old"), hourly("both")):
        pass
    with declaring(any_db, hourly("both"), hourly("new")) as worker:
        clock.advance(3600)
        worker.fire()
        assert fired(schedules) == {"old": 0, "both": 1, "new": 1}
        clock.advance(3600)
        worker.fire()
        assert fired(schedules) == {"old": 0, "both": 2, "new": 2}
        # rolled back: it is caught up
        with declaring(any_db, hourly("old"), hourly("both")) as older:
            older.fire()
            assert fired(schedules) == {"old": 1, "both": 2, "new": 2}
        del schedules["old"]
        transaction.commit()
    assert set(fired(schedules)) == {"both", "new"}


def test_two_releases_at_once_do_not_fight(any_db: Any, schedules: Any, clock: Any) -> None:
    with (
        declaring(any_db, hourly("old"), hourly("both")) as older,
        declaring(any_db, hourly("both"), hourly("new")) as newer,
    ):
        for number in range(1, 6):
            clock.advance(3600)
            for worker in (newer, older) if number % 2 else (older, newer):
                worker.fire()
            assert fired(schedules) == {"old": number, "both": number, "new": number}


def test_one_that_was_set_aside_meanwhile_is_taken_up_by_who_declares_it(
    any_db: Any, schedules: Any, clock: Any
) -> None:
    with declaring(any_db, hourly()) as worker:
        schedules["hourly"]._set_aside()
        transaction.commit()
        clock.advance(3600)
        worker.fire()
        assert fired(schedules) == {"hourly": 1}


def test_one_that_was_made_by_hand_goes_before_it(
    any_db: Any, schedules: Any, clock: Any, caplog: pytest.LogCaptureFixture
) -> None:
    schedules.create("hourly", "@daily", sample.nothing)
    with declaring(any_db, hourly()), caplog.at_level(logging.WARNING):
        made = schedules["hourly"]
        assert (made.when, made.declared) == ("@daily", False)
    assert "was made by hand" in caplog.text


def test_a_start_that_changes_nothing_writes_no_schedule(
    any_db: Any, schedules: Any, clock: Any
) -> None:
    each = Schedule("steady", zodbjobs.Job(sample.note, [1, {"a": 2}]), every=timedelta(hours=1))
    with declaring(any_db, each, hourly()):
        pass
    transaction.begin()
    before = [schedules[name].next and schedules[name]._p_serial for name in schedules]
    clock.advance(60)
    again = Schedule("steady", zodbjobs.Job(sample.note, [1, {"a": 2}]), every=timedelta(hours=1))
    with declaring(any_db, again, hourly()):
        schedules._p_jar.cacheMinimize()
        after = [schedules[name].next and schedules[name]._p_serial for name in schedules]
        assert after == before


def test_what_is_no_schedule_is_refused(db: Any) -> None:
    for bad, error, why in (
        (hourly(), TypeError, "is a list"),
        (["@hourly"], TypeError, "list of zodbjobs.Schedule"),
        ([hourly(), hourly()], BadArgument, "declared twice"),
    ):
        with pytest.raises(error, match=why):
            zodbjobs.Worker(db, schedules=bad)  # type: ignore[arg-type]
    with pytest.raises(UnknownQueue):
        zodbjobs.Worker(db, schedules=[hourly(queue="nowhere")]).start()


def test_a_real_worker_declares(any_db: Any, queue: Any) -> None:
    with zodbjobs.Worker(any_db, schedules=[hourly()]):
        transaction.begin()
        assert queue.parent.schedules["hourly"].declared
