"""A year of schedules: 200 of them in eight zones, and what a model finds, minute by minute."""

from __future__ import annotations

import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import cron_model
import sample

ZONES = (
    *("Europe/Berlin", "America/New_York", "America/Santiago", "Australia/Lord_Howe"),
    *("Pacific/Chatham", "Antarctica/Troll", "Asia/Kathmandu", "UTC"),
)

# Around the hours at which clocks are changed, for that is where it goes wrong.
_MINUTES = ("0", "15", "30", "45", "59", "0,30", "*/30", "7-9/2")
_HOURS = ("0", "1", "2", "3", "0,1", "1-3", "23", "*/12")
_DATES = ("* * *", "*/5 * *", "1-7 * sun", "* 3,4,9-11 0", "* * 6,0", "* 4,9,10 sun", "5 4 *")

Fired = tuple[str, datetime]


def made(chance: random.Random, number: int) -> dict[str, tuple[str, str]]:
    """Schedules by name: the expression and the zone."""
    found = {}
    for index in range(number):
        parts = (chance.choice(_MINUTES), chance.choice(_HOURS), chance.choice(_DATES))
        found[f"number {index}"] = (" ".join(parts), ZONES[index % len(ZONES)])
    return found


def create(schedules: Any, known: dict[str, tuple[str, str]]) -> None:
    """Make them, each of which catches up all; joins the transaction."""
    for name, (expression, zone) in known.items():
        options: dict[str, Any] = {"catch_up": "all", "window": None, "overlap": "allow"}
        schedules.create(name, expression, sample.nothing, zone=zone, **options)


def expected(known: dict[str, tuple[str, str]], start: datetime, end: datetime) -> Iterator[Fired]:
    """What the model finds after `start` and until `end`: names, and planned times in UTC."""
    for zone in ZONES:
        names: dict[int, str] = {}
        models = []
        for name, (expression, there) in known.items():
            if there == zone:
                models.append(cron_model.Expression(expression))
                names[id(models[-1])] = name
        for moment, model in cron_model.fired(models, zone, start, end):
            yield names[id(model)], moment


def steps(chance: random.Random, start: datetime, days: int) -> Iterator[timedelta]:
    """How far the clock is moved each time, until so many days are over."""
    end, moment = start + timedelta(days=days), start
    while moment < end:
        minutes = chance.choice((1, 7, 59, 180, 360, 720, 1440, 4000))
        step = min(timedelta(minutes=minutes, seconds=chance.randrange(60)), end - moment)
        moment += step
        yield step


YEAR = datetime(2026, 1, 1, tzinfo=UTC)
