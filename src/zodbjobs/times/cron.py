"""Cron expressions: checked, with the place of what is wrong, and the moments that they tell.

`cronsim` finds what the clock on the wall shows at such a time. What a change of that clock does
is decided here, in one place: of a zone whose clock is changed by half an hour cronsim itself
would leave out times, and of one that skips midnight give times of an hour that isn't there.
"""

from __future__ import annotations

import copy
import functools
import re
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import NamedTuple, NoReturn

from cronsim import CronSim, CronSimError

from zodbjobs.errors import BadArgument
from zodbjobs.times import zones

#: Words for an expression.
ALIASES = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
}

_MONTHS = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")
_DAYS = ("SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT")


class _Field(NamedTuple):
    """A field of an expression: its name, its first and last number, and words for these."""

    name: str
    first: int
    last: int
    words: tuple[str, ...] = ()

    def number(self, text: str) -> int | None:
        """The number that a text is, or None; whether it is in range isn't asked."""
        if text.upper() in self.words:
            return self.words.index(text.upper()) + self.first
        return int(text) if re.fullmatch(r"[0-9]{1,9}", text) else None

    @property
    def span(self) -> str:
        """What it may be, for people."""
        words = f" or {self.words[0]} to {self.words[-1]}" if self.words else ""
        return f"{self.first} to {self.last}{words}"


_FIELDS = (
    _Field("minute", 0, 59),
    _Field("hour", 0, 23),
    _Field("day of the month", 1, 31),
    _Field("month", 1, 12, _MONTHS),
    _Field("day of the week", 0, 7, _DAYS),
)
_MONTH_DAY, _WEEK_DAY = _FIELDS[2], _FIELDS[4]
_ORDER = "minute hour day month weekday, as '30 2 * * *' for 2:30 every day"


def checked_cron(expression: str) -> str:
    """`expression`, in which words stay words, with one space between its fields.

    Raises BadArgument for what is none, with the character at which it goes wrong, and for one
    whose time never comes.
    """
    if not isinstance(expression, str):
        raise BadArgument(f"a cron expression is a str: {_ORDER}; not {expression!r}")
    text = expression.strip()
    if text.startswith("@"):
        if text.lower() not in ALIASES:
            raise BadArgument(
                f"there is no {text!r} for a cron expression; there are {', '.join(ALIASES)}"
            )
        return text.lower()
    parts = list(re.finditer(r"\S+", expression))
    if len(parts) != len(_FIELDS):
        cure = "; for seconds use every=timedelta(...)" if len(parts) == 6 else ""
        raise BadArgument(
            f"the cron expression {expression!r} has {len(parts)} fields, not 5: {_ORDER}{cure}"
        )
    for field, part in zip(_FIELDS, parts, strict=True):
        start = part.start()
        for term in part[0].split(","):
            _Term(expression, field, term, start).check()
            start += len(term) + 1
    checked = " ".join(part[0] for part in parts)
    if next(_walls(checked, datetime(2000, 1, 1)), None) is None:
        raise BadArgument(
            f"the time of the cron expression {expression!r} never comes: there is no such day in "
            "these months"
        )
    return checked


class _Term(NamedTuple):
    """One of the terms of a field, which commas separate, and where it begins."""

    expression: str
    field: _Field
    text: str
    start: int

    def check(self) -> None:
        """Raise BadArgument for what is wrong in it."""
        field, text = self.field, self.text
        if not text:
            self._refuse(0, "there is nothing where a number should be")
        if field is _MONTH_DAY and text.upper() in ("L", "LW"):
            return
        if field is _WEEK_DAY and text[-1] in "Ll" and len(text) > 1:
            self._number(0, text[:-1])
            return
        if field is _WEEK_DAY and "#" in text:
            day, _, which = text.partition("#")
            self._number(0, day)
            if which not in ("1", "2", "3", "4", "5"):
                self._refuse(
                    len(day) + 1, f"after # comes which of the month, 1 to 5, not {which!r}"
                )
            return
        values, slash, step = text.partition("/")
        if slash and not (re.fullmatch(r"[0-9]{1,9}", step) and int(step)):
            self._refuse(len(values) + 1, f"the step after / is a number from 1, not {step!r}")
        if values == "*":
            return
        first, dash, last = values.partition("-")
        low = self._number(0, first)
        if dash and self._number(len(first) + 1, last) < low:
            self._refuse(0, f"{values!r} goes backwards{_around(field, first, last)}")

    def _number(self, at: int, text: str) -> int:
        number = self.field.number(text)
        if number is None or not self.field.first <= number <= self.field.last:
            self._refuse(at, f"the {self.field.name} is {self.field.span}, or *, not {text!r}")
        return number

    def _refuse(self, at: int, why: str) -> NoReturn:
        place = self.start + at
        raise BadArgument(
            f"the cron expression {self.expression!r} is wrong at character {place + 1}, in its "
            f"{self.field.name}: {why}"
        )


def _around(field: _Field, first: str, last: str) -> str:
    """How to write what goes over the end of the field."""
    if field is _WEEK_DAY and field.number(last) == 0:
        return f"; Sunday is 7 as well: '{first}-7'"
    return f"; write '{first}-{field.last},{field.first}-{last}'"


# When


def first_after(expression: str, zone: str, moment: datetime) -> datetime | None:
    """The first time of a checked expression after a moment; None if there is none in 50 years.

    An expression whose minute or hour begins with `*` goes by what passes: a change of the clock
    neither makes it come twice at a moment nor skips one. Any other one tells times of the day:
    one that a change of the clock skips comes at the first moment after the gap, with others of
    the gap and of that moment once; one that it repeats comes the first time only.
    """
    plain = ALIASES.get(expression, expression)
    minute, hour = plain.split(" ", 2)[:2]
    if minute.startswith("*") or hour.startswith("*"):
        return _first_passing(plain, zone, moment)
    for wall in _walls(plain, zones.local(zone, moment)):
        found = zones.moment_of(zone, wall)
        if found > moment:
            return found
    return None


def _first_passing(plain: str, zone: str, moment: datetime) -> datetime | None:
    """The first moment after another one at which the clock shows such a time.

    Between two changes of the clock it is as far from UTC all the time.
    """
    seen, start, offset = moment, moment, zones.offset(zone, moment)
    while (wall := next(_walls(plain, start + offset), None)) is not None:
        found = wall - offset
        change = zones.first_change(zone, seen, found)
        if change is None:
            return found
        seen, start, offset = change, change - timedelta(seconds=1), zones.offset(zone, change)
    return None


def _walls(plain: str, after: datetime) -> Iterator[datetime]:
    """What a clock that is never changed shows at such times, after a time on it."""
    walker = _walker(plain)
    if walker is None:
        return iter(())
    walker = copy.copy(walker)  # which takes less time than to read the expression again
    walker.dt = after.replace(microsecond=0)
    return walker


@functools.lru_cache(maxsize=1_024)
def _walker(plain: str) -> CronSim | None:
    """What walks from one time of an expression to the next, to be copied; None for no times."""
    try:
        return CronSim(_for_cronsim(plain), datetime(2000, 1, 1))
    except CronSimError:  # the expression is right, but no such month has that day
        return None


def _for_cronsim(plain: str) -> str:
    """A checked expression, spelled so that cronsim takes it for what it says."""
    fields = zip(_FIELDS, plain.split(" "), strict=True)
    return " ".join(
        ",".join(_term_for_cronsim(field, term) for term in part.split(","))
        for field, part in fields
    )


def _term_for_cronsim(field: _Field, term: str) -> str:
    if field is _WEEK_DAY and term[-1] in "Ll":  # of which it knows no names
        return f"{field.number(term[:-1])}L"
    first, dash, last = term.partition("/")[0].partition("-")
    if dash and field.number(first) == field.number(last):  # 7-7/2, which to it is 7/2
        return first
    return term


def in_words(expression: str) -> str:
    """What a checked expression says, in English."""
    from cronsim.explain import Expression  # for pages and command lines only

    plain = _for_cronsim(ALIASES.get(expression, expression))
    return Expression(["0", *plain.upper().split()]).explain()
