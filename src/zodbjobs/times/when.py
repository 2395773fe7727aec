"""When: at the times of a cron expression, at a steady interval, or at given moments."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

from zodbjobs import clock, defaults
from zodbjobs.errors import BadArgument
from zodbjobs.times import cron

#: What a schedule stores; see the package.
When = tuple[Any, ...]

_SECOND = 1_000_000
_MILLI = 1_000

# The last moment that a datetime can be.
_LAST = clock.to_micros(datetime.max.replace(tzinfo=UTC))

# How far `last_until` looks back first.
_LOOK_BACK = 60 * _SECOND


def checked(
    expression: Any,
    interval: Any,
    moments: Any,
    start: Any,
) -> When:
    """The one of three that is given, to be stored: a cron expression, an interval (from `start`),
    or moments.

    Raises BadArgument for none or several of them, and for what can't be one.
    """
    given = [each for each in (expression, interval, moments) if each is not None]
    if len(given) != 1:
        raise BadArgument(
            "a schedule has either a cron expression, as '30 2 * * *', or every=timedelta(...), "
            f"or at=[datetime, ...]; not {'none' if not given else 'several'} of them"
        )
    if start is not None and interval is None:
        raise BadArgument("start is when an interval begins; it goes with every=timedelta(...)")
    if interval is not None:
        return every(interval, start)
    if moments is not None:
        return at(moments)
    return ("cron", cron.checked_cron(expression))


def every(interval: timedelta, start: datetime | None = None) -> When:
    """At a steady interval in UTC, to the millisecond: first at `start`, or one interval from now.

    Raises BadArgument for less than a second, or more than MOST_INTERVAL_SECONDS.
    """
    if not isinstance(interval, timedelta):
        raise BadArgument(f"every is a timedelta, as timedelta(minutes=5), not {interval!r}")
    micros = interval // timedelta(milliseconds=1) * _MILLI
    if not _SECOND <= micros <= defaults.MOST_INTERVAL_SECONDS * _SECOND:
        raise BadArgument(f"every is from a second to ten years, not {interval}")
    anchor = clock.now() + micros if start is None else _micros("start", start)
    return ("every", micros, _whole(anchor))


def at(moments: Iterable[datetime]) -> When:
    """At given moments, each once; BadArgument unless they are aware datetimes."""
    if isinstance(moments, str | bytes) or not isinstance(moments, Iterable):
        raise BadArgument(f"at is a list of aware datetimes, not {moments!r}")
    found = sorted({_micros("at", moment) for moment in moments})
    if not 0 < len(found) <= defaults.MOST_MOMENTS:
        raise BadArgument(
            f"at is a list of 1 to {defaults.MOST_MOMENTS:,} moments, not {len(found):,}"
        )
    return ("at", tuple(found))


def _micros(what: str, moment: Any) -> int:
    if not isinstance(moment, datetime):
        raise BadArgument(f"{what} takes aware datetimes, not {moment!r}")
    if moment.utcoffset() is None:
        raise BadArgument(
            f"{what} has a datetime without a timezone: {moment!r}; write datetime(..., "
            "tzinfo=UTC), or with a zoneinfo.ZoneInfo"
        )
    return _whole(clock.to_micros(moment))


def _whole(micros: int) -> int:
    """Rounded up to a millisecond, which is what schedules are ordered by."""
    return -(-micros // _MILLI) * _MILLI


def first_after(when: When, zone: str, micros: int) -> int | None:
    """The first time after a moment; None if there is none, or none that a datetime can be."""
    found = _first_after(when, zone, micros)
    return None if found is None or found > _LAST else found


def _first_after(when: When, zone: str, micros: int) -> int | None:
    kind, what = when[0], when[1]
    if kind == "cron":
        moment = clock.to_datetime(micros).replace(tzinfo=None)
        found = cron.first_after(what, zone, moment)
        return None if found is None else clock.to_micros(found.replace(tzinfo=UTC))
    if kind == "every":
        interval: int = what
        anchor: int = when[2]
        return max(anchor, anchor + ((micros - anchor) // interval + 1) * interval)
    place = bisect_right(what, micros)
    return what[place] if place < len(what) else None


def last_until(when: When, zone: str, since: int, micros: int) -> int | None:
    """The last time from `since` up to a moment; None if there is none."""
    kind, what = when[0], when[1]
    if kind == "every":
        anchor: int = when[2]
        found = anchor + (micros - anchor) // what * what
        return found if found >= max(since, anchor) else None
    if kind == "at":
        place = bisect_right(what, micros)
        return what[place - 1] if place and what[place - 1] >= since else None
    back = _LOOK_BACK
    while True:  # what comes each minute isn't read for a year
        start = max(since - 1, micros - back)
        last = None
        for each in times(when, zone, start):
            if each > micros:
                break
            last = each
        if last is not None or start < since:
            return last
        back *= 4


def times(when: When, zone: str, micros: int) -> Iterator[int]:
    """All times after a moment, in order."""
    found = first_after(when, zone, micros)
    while found is not None:
        yield found
        found = first_after(when, zone, found)


def shown(when: When) -> str:
    """As short as it is written: an expression, 'every 0:05:00', 'at 3 moments'."""
    if when[0] == "cron":
        return str(when[1])
    if when[0] == "every":
        return f"every {timedelta(microseconds=when[1])}"
    number = len(when[1])
    return f"at {number:,} moment{'' if number == 1 else 's'}"


def in_words(when: When) -> str:
    """The same for people, in English."""
    return cron.in_words(when[1]) if when[0] == "cron" else shown(when)
