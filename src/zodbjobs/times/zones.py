"""Zones: where the clock on the wall stands at a moment, and when it is changed.

Moments are naive datetimes in UTC here, and so are the times on the wall: arithmetic with aware
ones ignores what a change of the clock skips or repeats.
"""

from __future__ import annotations

import functools
import zoneinfo
from bisect import bisect_right
from datetime import UTC, datetime, timedelta, tzinfo

from zodbjobs.errors import BadArgument, MissingCode

_DAY = timedelta(days=1)
_SECOND = timedelta(seconds=1)


def checked_zone(value: str | tzinfo) -> str:
    """The name of a zone; BadArgument for what names none, with those that are spelled alike."""
    name = value if isinstance(value, str) else getattr(value, "key", None)
    if value is UTC:
        return "UTC"
    if not isinstance(name, str):
        raise BadArgument(
            f"a zone is the name of one, as 'Europe/Berlin', or a zoneinfo.ZoneInfo, not {value!r}"
        )
    try:
        zone(name)
    except MissingCode:
        import difflib  # seldom needed

        alike = difflib.get_close_matches(name, zoneinfo.available_timezones())
        cure = f"is it {' or '.join(map(repr, alike))}?" if alike else "one is 'Europe/Berlin'"
        raise BadArgument(f"there is no zone {name!r} here; {cure}") from None
    return name


@functools.lru_cache(maxsize=64)
def zone(name: str) -> zoneinfo.ZoneInfo:
    """The zone of that name, of the machine or of `tzdata`; MissingCode if it isn't there."""
    try:
        if name:  # an empty one is the directory of all of them
            return zoneinfo.ZoneInfo(name)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        pass
    raise MissingCode(
        f"the time zone {name!r} is missing in this process: install a tzdata that has it, or "
        "give the schedule another zone"
    )


def offset(name: str, moment: datetime) -> timedelta:
    """By how much the clock on the wall is ahead of UTC at a moment."""
    found = moment.replace(tzinfo=UTC).astimezone(zone(name)).utcoffset()
    assert found is not None
    return found


def local(name: str, moment: datetime) -> datetime:
    """What the clock on the wall shows at a moment."""
    return moment + offset(name, moment)


def first_change(name: str, after: datetime, until: datetime) -> datetime | None:
    """When the clock is changed first after a moment, and not after another one; None if it isn't.

    To the second: that at which the clock already shows the new time.
    """
    for year in range(after.year, until.year + 1):
        changes = _changes(name, year)
        place = bisect_right(changes, after)
        if place < len(changes):
            return changes[place] if changes[place] <= until else None
    return None


@functools.lru_cache(maxsize=1_024)
def _changes(name: str, year: int) -> tuple[datetime, ...]:
    """The changes of the clock in a year of UTC.

    The zones have two or four in a year, and none has two within a day.
    """
    if name == "UTC":
        return ()
    found = []
    day, before = datetime(year, 1, 1), offset(name, datetime(year, 1, 1))
    while day.year == year:
        after = offset(name, day + _DAY)
        if after != before:
            found.append(_change_between(name, day, day + _DAY, before))
        day, before = day + _DAY, after
    return tuple(found)


def _change_between(name: str, low: datetime, high: datetime, before: timedelta) -> datetime:
    """The first second in (low, high] at which the clock isn't `before` ahead any more."""
    while high - low > _SECOND:
        middle = low + (high - low) // 2
        middle = middle.replace(microsecond=0)
        if offset(name, middle) == before:
            low = middle
        else:
            high = middle
    return high


def moment_of(name: str, wall: datetime) -> datetime:
    """The moment at which the clock on the wall shows a time.

    The first of two, if a change of the clock repeats it. If one skips it, the moment of that
    change: the first one after the gap.
    """
    there = wall.replace(tzinfo=zone(name))
    first, second = there.utcoffset(), there.replace(fold=1).utcoffset()
    assert first is not None
    assert second is not None
    moment = wall - first
    if second > first and (change := first_change(name, wall - second - _SECOND, moment)):
        return change
    return moment
