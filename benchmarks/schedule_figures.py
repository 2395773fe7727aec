"""What schedules cost: while none is due, and when many are."""

from __future__ import annotations

import time
from datetime import timedelta
from typing import Any

import bench_jobs
from figures import Figure, Values, database

import zodbjobs
from zodbjobs import clock
from zodbjobs.stored.lifecycle import firing
from zodbjobs.testing import moving_clock

_SCHEDULES = 1_000
_IDLE_SECONDS = 60.0
_FIRED = 5_000


def idle() -> Values:
    """An idle worker with 1,000 schedules, and one without any: CPU in per cent of a core, and
    transactions a minute, among which are its heartbeats.
    """
    values: Values = {}
    for name, number in (("with", _SCHEDULES), ("without", 0)):
        with database() as db:
            _make(db, number, timedelta(days=1))
            with zodbjobs.Worker(db, queues=[""]):
                time.sleep(5)  # it has started
                before, start = len(db.undoLog(0, 1_000)), time.monotonic()
                spent = time.process_time()
                time.sleep(_IDLE_SECONDS)
                spent, seconds = time.process_time() - spent, time.monotonic() - start
                commits = len(db.undoLog(0, 1_000)) - before
        values[f"% {name}"] = spent / seconds * 100
        values[f"tx/min {name}"] = commits / seconds * 60
    return values


def fire() -> Values:
    """Schedules that are due together: a second, in one thread, with their jobs' put."""
    with database() as db, moving_clock() as moved:
        _make(db, _FIRED, timedelta(hours=1))
        moved.advance(3_600)
        connection = db.open()
        schedules = zodbjobs.get_queues(connection).schedules
        start = time.perf_counter()
        fired = 0
        while due := _batch(schedules):
            fired += sum(len(firing.fire(each, clock.now(), 1)) for each in due)
            connection.transaction_manager.commit()
        seconds = time.perf_counter() - start
        connection.close()
    assert fired == _FIRED
    return {"a second": fired / seconds}


def _batch(schedules: Any) -> list[Any]:
    found = []
    for _, schedule in schedules.due_until(clock.now()):
        found.append(schedule)
        if len(found) == 100:
            break
    return found


def _make(db: Any, number: int, interval: timedelta) -> None:
    with db.transaction() as connection:
        schedules = zodbjobs.get_queues(connection).schedules
        for index in range(number):
            schedules.create(f"number {index}", bench_jobs.nothing, every=interval)


SCHEDULE_FIGURES = {
    "schedules_idle": Figure(
        "an idle worker with 1,000 schedules",
        idle,
        "<= 1 % of a core more, <= 4 tx/min more",
        lambda v: v["% with"] - v["% without"] <= 1 and v["tx/min with"] - v["tx/min without"] < 4,
    ),
    "schedules_fire": Figure(
        "schedules that are due together", fire, ">= 500/s", lambda v: v["a second"] >= 500
    ),
}
