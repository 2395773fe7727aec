"""A model of cron expressions that goes minute by minute, and knows nothing of cronsim.

The rule: an expression whose minute or hour begins with `*` comes at each minute that passes at
which the clock on the wall matches. Any other one comes at each minute of the clock's own day that
matches, once: the first time, if the clock shows it twice, and at the first minute after the gap,
if the clock never shows it.
"""

from __future__ import annotations

import calendar
from collections.abc import Iterable, Iterator
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

MINUTE = timedelta(minutes=1)
MONTHS = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"]
DAYS = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"]


def _numbers(text: str, low: int, high: int, words: list[str], first: int) -> set[int]:
    found: set[int] = set()
    for term in text.lower().split(","):
        values, _, step = term.partition("/")
        if values == "*":
            start, end = low, high
        else:
            ends = [words.index(e) + first if e in words else int(e) for e in values.split("-")]
            start, end = ends[0], ends[-1]
            if step and len(ends) == 1:
                end = high
        found.update(range(start, end + 1, int(step or 1)))
    return found


class Expression:
    """What an expression says, without lists of the last day and of numbered weekdays."""

    def __init__(self, text: str) -> None:
        minute, hour, day, month, weekday = text.split()
        minutes = _numbers(minute, 0, 59, [], 0)
        hours = _numbers(hour, 0, 23, [], 0)
        self.times = {(h, m) for h in hours for m in minutes}
        self.days = _numbers(day, 1, 31, [], 0)
        self.months = _numbers(month, 1, 12, MONTHS, 1)
        self.weekdays = {n % 7 for n in _numbers(weekday, 0, 7, DAYS, 0)}
        self.both = day.startswith("*") or weekday.startswith("*")
        self.passes = minute.startswith("*") or hour.startswith("*")

    def has_day(self, day: date) -> bool:
        in_month = day.day in self.days
        in_week = calendar.weekday(day.year, day.month, day.day) in {
            (n - 1) % 7 for n in self.weekdays
        }
        right = in_month and in_week if self.both else in_month or in_week
        return right and day.month in self.months

    def has(self, wall: datetime) -> bool:
        return (wall.hour, wall.minute) in self.times and self.has_day(wall.date())


def fired(
    expressions: Iterable[Expression], zone: str, start: datetime, end: datetime
) -> Iterator[tuple[datetime, Expression]]:
    """What comes after `start` and until `end`, aware datetimes in UTC, minute by minute."""
    by_time: dict[tuple[int, int], list[Expression]] = {}
    for each in expressions:
        for time in each.times:
            by_time.setdefault(time, []).append(each)
    there = ZoneInfo(zone)
    # From some hours before, for what it has shown already.
    moment = start.astimezone(UTC).replace(second=0, microsecond=0) - timedelta(hours=4)
    before = latest = moment.astimezone(there).replace(tzinfo=None)
    while (moment := moment + MINUTE) <= end:
        wall = moment.astimezone(there).replace(tzinfo=None)
        due: dict[int, Expression] = {}
        skipped = before + MINUTE
        while skipped < wall:  # the clock was set forward: what it never shows
            for each in by_time.get((skipped.hour, skipped.minute), ()):
                if not each.passes and each.has_day(skipped.date()):
                    due[id(each)] = each
            skipped += MINUTE
        for each in by_time.get((wall.hour, wall.minute), ()):
            if (each.passes or wall > latest) and each.has_day(wall.date()):
                due[id(each)] = each
        if moment > start:
            yield from ((moment, each) for each in due.values())
        before, latest = wall, max(latest, wall)
