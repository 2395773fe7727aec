"""Times: cron expressions, intervals and moments, in each zone with changes of its own."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Any
from zoneinfo import ZoneInfo

import cron_model
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zodbjobs import clock, times
from zodbjobs.errors import BadArgument
from zodbjobs.testing import moving_clock

#: Zones, and when their clocks are changed in 2026, in UTC.
CHANGES = {
    "Europe/Berlin": ["2026-03-29T01:00", "2026-10-25T01:00"],
    "America/New_York": ["2026-03-08T07:00", "2026-11-01T06:00"],
    "America/Santiago": ["2026-04-05T03:00", "2026-09-06T04:00"],  # at midnight
    "Australia/Lord_Howe": ["2026-04-04T15:00", "2026-10-03T15:30"],  # by half an hour
    "Pacific/Chatham": ["2026-04-04T14:00", "2026-09-26T14:00"],  # 12:45 ahead
    "Antarctica/Troll": ["2026-03-29T01:00", "2026-10-25T01:00"],  # by two hours
    "Africa/Casablanca": ["2026-02-15T02:00", "2026-03-22T02:00"],
    "Asia/Kathmandu": [],
    "UTC": [],
}


def after(expression: str, zone: str, moment: str, number: int = 3) -> list[str]:
    """The next times in UTC, as text."""
    start = clock.to_micros(datetime.fromisoformat(moment).replace(tzinfo=UTC))
    found = islice(times.times(("cron", expression), zone, start), number)
    return [clock.to_datetime(each).strftime("%m-%d %H:%M") for each in found]


def test_a_time_that_is_skipped_comes_once_after_the_gap() -> None:
    assert after("30 2 * * *", "Europe/Berlin", "2026-03-28T00:00") == [
        *("03-28 01:30", "03-29 01:00", "03-30 00:30")
    ]
    both = after("0,30 2,3 * * *", "Europe/Berlin", "2026-03-28T12:00")
    assert both == ["03-29 01:00", "03-29 01:30", "03-30 00:00"]
    midnight = after("@daily", "America/Santiago", "2026-09-05T00:00")
    assert midnight == ["09-05 04:00", "09-06 04:00", "09-07 03:00"]
    assert after("15 2 * * *", "Australia/Lord_Howe", "2026-10-03T00:00", 1) == ["10-03 15:30"]


def test_a_time_that_is_repeated_comes_the_first_time() -> None:
    assert after("30 2 * * *", "Europe/Berlin", "2026-10-24T12:00") == [
        *("10-25 00:30", "10-26 01:30", "10-27 01:30")
    ]
    assert after("45 1 * * *", "Australia/Lord_Howe", "2026-04-04T00:00", 2) == [
        *("04-04 14:45", "04-05 15:15")
    ]


def test_one_with_a_star_goes_by_what_passes() -> None:
    assert after("*/30 * * * *", "Europe/Berlin", "2026-10-25T00:15", 4) == [
        *("10-25 00:30", "10-25 01:00", "10-25 01:30", "10-25 02:00")
    ]
    assert after("0 * * * *", "Antarctica/Troll", "2026-03-29T00:30", 2) == [
        *("03-29 01:00", "03-29 02:00")
    ]
    # cronsim, in such a zone, leaves out the first half of that hour
    assert after("*/20 2 * * *", "Australia/Lord_Howe", "2026-04-04T14:00", 3) == [
        *("04-04 15:30", "04-04 15:50", "04-04 16:10")
    ]


ZONES = sorted(CHANGES)
MINUTES = ["*", "*/7", "0", "30", "15,45", "10-20", "59", "7/20"]
HOURS = ["*", "*/2", "0", "1", "2", "0,1,2,3", "1-3", "23", "22/1"]
DATES = ["* * *", "* * 0", "* * sun-6", "*/2 * *", "1-8 * mon", "5 4 *", "* 3,4,9-11 7", "*/3 * 0"]


@given(
    zone=st.sampled_from(ZONES),
    expression=st.builds(
        lambda *parts: " ".join(parts),
        *map(st.sampled_from, (MINUTES, HOURS, DATES)),
    ),
    which=st.integers(0, 1),
    before=st.integers(0, 40 * 60),
)
@settings(max_examples=150)
def test_they_are_what_going_minute_by_minute_finds(
    zone: str, expression: str, which: int, before: int
) -> None:
    change = CHANGES[zone][which] if CHANGES[zone] else "2026-03-29T01:00"
    start = datetime.fromisoformat(change).replace(tzinfo=UTC) - timedelta(minutes=before)
    end = start + timedelta(days=3)
    model = cron_model.Expression(expression)
    expected = [moment for moment, _ in cron_model.fired([model], zone, start, end)]
    found = []
    for each in times.times(
        ("cron", times.checked_cron(expression)), zone, clock.to_micros(start)
    ):
        moment = clock.to_datetime(each)
        if moment > end:
            break
        found.append(moment)
    assert found == expected
    for moment in found[:5]:  # from any moment on, not only from one time to the next
        micros = clock.to_micros(moment)
        assert times.first_after(("cron", expression), zone, micros - 1) == micros


@pytest.mark.parametrize(
    ("expression", "place", "why"),
    [
        ("0 25 * * *", 3, "the hour is 0 to 23, or *, not '25'"),
        ("60 * * * *", 1, "the minute is 0 to 59"),
        ("0 0 * * mon,tus", 13, "0 to 7 or SUN to SAT, or *, not 'tus'"),
        ("  5-2 * * * *", 3, "goes backwards; write '5-59,0-2'"),
        ("0 0 * * FRI-SUN", 9, "Sunday is 7 as well: 'FRI-7'"),
        ("*/0 * * * *", 3, "a number from 1"),
        ("*/x * * * *", 3, "a number from 1"),
        ("1,,2 * * * *", 3, "there is nothing"),
        ("0 0 * * 1#6", 11, "1 to 5, not '6'"),
        ("0 0 L-3 * *", 5, "the day of the month is 1 to 31"),
        ("0 0 1 13 *", 7, "the month is 1 to 12"),
        ("0 0 ٣ * *", 5, "not '٣'"),
    ],
)
def test_a_bad_expression_is_refused_with_its_place(expression: str, place: int, why: str) -> None:
    with pytest.raises(BadArgument, match=re.escape(why)) as caught:
        times.checked_cron(expression)
    assert f"at character {place}, in its " in str(caught.value)
    assert repr(expression) in str(caught.value)


@pytest.mark.parametrize(
    ("expression", "why"),
    [
        ("* * * *", "has 4 fields, not 5: minute hour day month weekday"),
        ("0 30 2 * * *", "has 6 fields.*every=timedelta"),
        ("", "has 0 fields"),
        ("@reboot", "there are @hourly, @daily"),
        ("0 0 30 2 *", "never comes"),
        ("0 0 31 4,6 *", "never comes"),
        (5, "is a str"),
        (None, "is a str"),
    ],
)
def test_what_is_no_expression_is_refused(expression: Any, why: str) -> None:
    with pytest.raises(BadArgument, match=why):
        times.checked_cron(expression)


@pytest.mark.parametrize("expression", ["0 0 29 2 *", "0 9 L * *", "0 9 LW * *", "0 0 * 2 1#5"])
def test_rare_ones_are_taken(expression: str) -> None:
    assert times.checked_cron(expression) == expression
    assert after(expression, "Europe/Berlin", "2026-01-01T00:00", 1)


@pytest.mark.parametrize(
    ("expression", "same"),
    [
        ("0 9 * * monL", "0 9 * * 1L"),
        ("0 9 * * Tue,SATl", "0 9 * * 2,6L"),
        ("7-7/2 9 * * *", "7 9 * * *"),
        ("0 9 * jan-1/3 *", "0 9 * 1 *"),
    ],
)
def test_ways_to_write_the_same(expression: str, same: str) -> None:
    """cronsim knows no names before an L, and takes 7-7/2 for 7/2."""
    assert times.checked_cron(expression) == expression
    found = [after(each, "UTC", "2026-01-01T00:00", 50) for each in (expression, same)]
    assert found[0] == found[1]
    assert times.in_words(("cron", expression)) == times.in_words(("cron", same))


def test_words_for_expressions() -> None:
    assert times.checked_cron(" @Daily ") == "@daily"
    assert times.in_words(("cron", "@hourly")) == "At the start of every hour"
    assert times.in_words(("cron", "30 2 * * *")) == "At 02:30 every day"
    assert times.shown(("every", 300_000_000, 0)) == "every 0:05:00"
    assert (times.shown(("at", (1, 2))), times.shown(("at", (1,)))) == (
        *("at 2 moments", "at 1 moment"),
    )


def test_a_zone_is_one_that_is_there() -> None:
    assert times.checked_zone(ZoneInfo("Europe/Berlin")) == "Europe/Berlin"
    assert times.checked_zone(UTC) == "UTC"
    for bad, why in [
        ("Europe/Berln", "is it 'Europe/Berlin'"),
        ("../etc/passwd", "there is no zone"),
        ("", "there is no zone"),
        (5, "the name of one"),
    ]:
        with pytest.raises(BadArgument, match=why):
            times.checked_zone(bad)  # type: ignore[arg-type]


def test_an_interval_is_steady() -> None:
    with moving_clock(datetime(2026, 1, 1, tzinfo=UTC)) as moved:
        when = times.every(timedelta(minutes=5))
        start = moved.now()
        moved.advance(10_000)
        assert list(islice(times.times(when, "UTC", start), 2)) == [
            start + 300_000_000,
            start + 600_000_000,
        ]
        # not at once for times before its anchor
        later = times.every(timedelta(hours=1), datetime(2026, 5, 1, tzinfo=UTC))
        assert times.first_after(later, "UTC", start) == later[2]


@pytest.mark.parametrize(
    "given_to",
    [
        {"interval": timedelta(milliseconds=999)},
        {"interval": timedelta(days=4_000)},
        {"interval": 5},
        {"moments": []},
        {"moments": "2026-01-01"},
        {"moments": [datetime(2026, 1, 1)]},
        {"moments": ["2026"]},
        {"interval": timedelta(1), "start": datetime(2026, 1, 1)},
        {"expression": "@daily", "start": datetime(2026, 1, 1, tzinfo=UTC)},
        {"expression": "@daily", "interval": timedelta(1)},
        {},
    ],
)
def test_what_is_no_time_is_refused(given_to: dict[str, Any]) -> None:
    nothing = dict.fromkeys(("expression", "interval", "moments", "start"))
    with pytest.raises(BadArgument):
        times.checked(**{**nothing, **given_to})


@given(
    since=st.integers(0, 400_000),
    back=st.integers(0, 400_000),
    when=st.sampled_from(
        [
            ("cron", "*/5 3 * * *"),
            ("cron", "0 0 1 1 *"),
            ("cron", "* * * * *"),
            ("every", 7_000_000 * 60, 1_767_225_600_000_000),
            ("at", (1_767_225_600_000_000, 1_767_300_000_000_000)),
        ]
    ),
)
@settings(max_examples=60)
def test_the_last_time_until_a_moment(since: int, back: int, when: Any) -> None:
    start = 1_767_225_600_000_000 + since * 1_000_000
    end = start + back * 1_000_000
    expected = None
    for each in times.times(when, "Europe/Berlin", start - 1):
        if each > end:
            break
        expected = each
    assert times.last_until(when, "Europe/Berlin", start, end) == expected
