"""Options of a schedule: what there is, and what checks it. `create`, `zodbjobs.Schedule` and
`edit` take the same.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime, timedelta, tzinfo
from typing import Any, TypedDict

from zodbjobs import defaults, times
from zodbjobs.errors import BadArgument
from zodbjobs.stored.lifecycle.options import UNSAID, TimeoutOption

CATCH_UPS = ("none", "latest", "all")
OVERLAPS = ("skip", "queue", "cancel", "allow")


class ScheduleOptions(TypedDict, total=False):
    """What a schedule takes by name; see ISchedules.create."""

    every: timedelta | None
    at: Iterable[datetime] | None
    start: datetime | None
    zone: str | tzinfo
    queue: str
    catch_up: str
    window: timedelta | None
    overlap: str
    jitter: timedelta
    pause_after_failures: int | None
    begin_by: timedelta | None
    priority: int | None
    timeout: TimeoutOption
    quota_names: Iterable[str] | None
    owner: str | None
    about: Any
    title: str | None
    realm: str | None


#: What a new schedule has unless it is said.
_UNLESS_SAID: dict[str, Any] = {
    "zone": "UTC",
    "queue": "",
    "catch_up": "latest",
    "window": timedelta(seconds=defaults.CATCH_UP_SECONDS),
    "overlap": "skip",
    "jitter": timedelta(0),
    "pause_after_failures": None,
}

# Of a new schedule None says nothing of these.
_UNSAID_BY_NONE = frozenset(
    {"every", "at", "start", "begin_by", "priority", "quota_names"}
    | {"owner", "about", "title", "realm"}
)


def of_new(given: Mapping[str, Any]) -> dict[str, Any]:
    """The options of a new schedule: what was given, and else what it has."""
    return _UNLESS_SAID | {
        name: value
        for name, value in given.items()
        if value is not UNSAID and (value is not None or name not in _UNSAID_BY_NONE)
    }


def checked_name(name: Any) -> str:
    """The name of a schedule; BadArgument for what can't be one."""
    most = defaults.SCHEDULE_NAME_CHARACTERS
    if not isinstance(name, str) or not 0 < len(name) <= most or not name.isprintable():
        raise BadArgument(
            f"the name of a schedule is a printable str of 1 to {most} characters, not {name!r}"
        )
    if name in (".", ".."):
        raise BadArgument(f"the name of a schedule isn't {name!r}, to which no URL leads")
    return str.__str__(name)


def _checked_queue(value: Any) -> str:
    if not isinstance(value, str):
        raise BadArgument(f"queue is the name of a queue, not {value!r}")
    return str.__str__(value)


def _one_of(what: str, known: tuple[str, ...]) -> Callable[[Any], str]:
    def check(value: Any) -> str:
        if value not in known:
            raise BadArgument(f"{what} is one of {', '.join(map(repr, known))}, not {value!r}")
        return str(value)

    return check


def _micros(what: str, value: Any) -> int:
    if not isinstance(value, timedelta) or value < timedelta(0):
        raise BadArgument(f"{what} is a timedelta that isn't negative, not {value!r}")
    return value // timedelta(microseconds=1)


def _checked_failures(value: Any) -> int | None:
    if value is None:
        return None
    most = defaults.REMEMBERED_RUNS
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= most:
        raise BadArgument(f"pause_after_failures is 1 to {most}, or None, not {value!r}")
    return int(value)


#: The options that aren't those of its jobs: the attribute that has it, and what checks it.
CHECKS: dict[str, tuple[str, Callable[[Any], Any]]] = {
    "zone": ("zone", times.checked_zone),
    "queue": ("queue", _checked_queue),
    "catch_up": ("catch_up", _one_of("catch_up", CATCH_UPS)),
    "overlap": ("overlap", _one_of("overlap", OVERLAPS)),
    "window": ("_window", lambda value: None if value is None else _micros("window", value)),
    "jitter": ("_jitter", lambda value: _micros("jitter", value)),
    "pause_after_failures": ("pause_after_failures", _checked_failures),
}
