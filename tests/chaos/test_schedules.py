"""Three processes that are killed at any moment fire each planned time exactly once."""

from __future__ import annotations

import collections
import contextlib
import functools
import os
import random
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import patience
import pytest
import transaction
import year
from storages import MAKERS

import zodbjobs
from zodbjobs import clock

pytestmark = pytest.mark.process

TESTS = Path(__file__).parents[1]

#: Clocks are changed in Berlin, in Troll and in New York meanwhile. SCHEDULE_START=2026-09-01 and
#: SCHEDULE_DAYS=70 are the other zones too.
START = datetime.fromisoformat(os.environ.get("SCHEDULE_START", "2026-10-20")).replace(tzinfo=UTC)
DAYS = int(os.environ.get("SCHEDULE_DAYS", "14"))


class Processes:
    """Those that fire; one that is killed is replaced."""

    def __init__(self, place: Any, folder: Path) -> None:
        self._place, self._folder = place, folder
        self.clock = folder / "clock"
        self._running: list[subprocess.Popen[bytes]] = []
        self._number = 0

    def start(self) -> None:
        self._number += 1
        config = self._folder / f"{self._number}.conf"
        config.write_text(self._place.config(client=f"client-{self._number}"))
        command = [sys.executable, str(TESTS / "chaos" / "scheduler.py")]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(TESTS), *PATHS])}
        process = subprocess.Popen(
            [*command, str(config), str(self.clock)], env=environment, stdout=subprocess.PIPE
        )
        self._running.append(process)

    def wait(self) -> None:
        """Until all of them work."""
        for process in self._running:
            assert process.stdout is not None
            if not process.stdout.closed:
                assert process.stdout.readline() == b"works\n"
                process.stdout.close()

    def set_clock(self, moment: datetime) -> None:
        with self.clock.open("r+b" if self.clock.exists() else "wb") as file:
            file.write(struct.pack("<q", clock.to_micros(moment)))

    def kill(self, chance: random.Random) -> None:
        process = self._running.pop(chance.randrange(len(self._running)))
        process.kill()
        process.wait()

    def end(self) -> None:
        while self._running:
            self.kill(random.Random())


PATHS = [str(TESTS / "unit")]


@contextlib.contextmanager
def processes(place: Any, folder: Path) -> Iterator[Processes]:
    found = Processes(place, folder)
    try:
        yield found
    finally:
        found.end()


@pytest.mark.timeout(600)
def test_processes_that_are_killed_fire_each_time_once(tmp_path: Path) -> None:
    seed = int(os.environ.get("SCHEDULE_SEED", "13"))
    chance = random.Random(seed)
    known = year.made(chance, 200)
    with MAKERS["ZEO"](tmp_path) as place, processes(place, tmp_path) as running:
        db = place.open()
        zodbjobs.install(db)
        running.set_clock(START)
        with zodbjobs.testing.moving_clock(START), db.transaction() as connection:
            queues = zodbjobs.get_queues(connection)
            queues.create("nothing")
            year.create(queues.schedules, known)
        for _ in range(3):
            running.start()
        running.wait()
        schedules = zodbjobs.get_queues(db.open()).schedules
        moment = START
        for step in year.steps(chance, START, DAYS):
            moment += step
            running.set_clock(moment)
            if chance.randrange(3) == 0:
                time.sleep(chance.uniform(0, 0.3))
                running.kill(chance)
                running.start()
                running.wait()
            patience.until(functools.partial(is_done, schedules, moment))
        fired = collections.Counter((job.schedule, job.planned) for job in schedules.parent[""])
        db.close()
    assert [each for each, times in fired.items() if times > 1] == []
    assert set(fired) == set(year.expected(known, START, moment))
    assert len(fired) > 500


def is_done(schedules: Any, moment: datetime) -> bool:
    """Whether nothing is due any more."""
    transaction.begin()
    return next(schedules.due_until(clock.to_micros(moment)), None) is None
