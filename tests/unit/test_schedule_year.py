"""A year in eight zones: three workers, killed at random, fire each planned time exactly once."""

from __future__ import annotations

import collections
import os
import random
import threading
from datetime import timedelta
from typing import Any

import pytest
import transaction
import year
import ZODB
from meanwhile import commit_meanwhile
from transaction.interfaces import TransientError

import zodbjobs
from zodbjobs.runtime.assembly import Options, Parts
from zodbjobs.runtime.tasks.schedules import FireSchedules
from zodbjobs.testing import moving_clock

SEED = int(os.environ.get("SCHEDULE_SEED", "13"))


class Killed(BaseException):
    """The process of the worker has gone."""


class Firing:
    """A worker that does nothing but fire schedules, and may be killed at each commit."""

    def __init__(self, db: Any) -> None:
        self._db = db
        self.kills = self.conflicts = 0
        self._begin()

    def _begin(self) -> None:
        self._parts = Parts(self._db, Options(["nothing"]), threading.Event())
        registration = self._parts.registration
        self.manager = registration.manager
        self._task = FireSchedules(registration.session, self._parts.wakeup)

    def fire(self, dies: str | None = None) -> None:
        """Fire all that is due; `dies`: before or after its first commit."""
        if dies is not None:
            self._doom(dies)
        try:
            while True:
                try:
                    if not self._task.tick():
                        return
                except TransientError:
                    self.conflicts += 1
        except Killed:
            self.kills += 1
            self._begin()
        finally:
            self.manager.__dict__.pop("commit", None)

    def _doom(self, when: str) -> None:
        commit = self.manager.commit

        def last_commit() -> None:
            if when == "after":
                commit()
            raise Killed

        self.manager.commit = last_commit


def stored(db: Any) -> list[year.Fired]:
    """What the jobs in the queue say of themselves."""
    connection = db.open(transaction.TransactionManager())
    found = []
    for number, job in enumerate(zodbjobs.get_queue(connection)):
        found.append((job.schedule, job.planned))
        if number % 1_000 == 0:
            connection.cacheMinimize()
    connection.close()
    return found


@pytest.mark.timeout(600)
def test_each_planned_time_of_a_year_is_fired_once() -> None:
    chance = random.Random(SEED)
    db = ZODB.DB(None, pool_size=100)
    zodbjobs.install(db)
    known = year.made(chance, 200)
    with moving_clock(year.YEAR) as clock:
        with db.transaction() as connection:
            zodbjobs.get_queues(connection).create("nothing")
            year.create(zodbjobs.get_queues(connection).schedules, known)
        workers = [Firing(db) for _ in range(3)]
        for step in year.steps(chance, year.YEAR, 365):
            clock.advance(step.total_seconds())
            first, second, _ = chance.sample(workers, 3)
            how = chance.randrange(5)
            if how == 0:  # the second one commits in the middle of the first one's commit
                commit_meanwhile(first.manager, second.fire)
                first.fire()
            elif how == 1:
                first.fire(dies="before")
            elif how == 2:
                first.fire(dies="after")
            second.fire()
        end = clock.datetime()
    assert end == year.YEAR + timedelta(days=365)
    fired = collections.Counter(stored(db))
    doubled = {each: times for each, times in fired.items() if times > 1}
    assert doubled == {}
    expected = set(year.expected(known, year.YEAR, end))
    assert set(fired) - expected == set()
    assert expected - set(fired) == set()
    assert len(expected) > 10_000
    assert sum(worker.kills for worker in workers) > 20
    assert sum(worker.conflicts for worker in workers) > 20
    db.close()
