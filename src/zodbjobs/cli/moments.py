"""Times as people type them."""

from __future__ import annotations

import re
from datetime import datetime, timedelta

import click

from zodbjobs import clock

_UNITS = {"": "seconds", "s": "seconds", "m": "minutes", "h": "hours", "d": "days"}
_SPAN = re.compile(r"(\d+(?:\.\d+)?)([smhd]?)")


def moment_of(text: str) -> datetime:
    """An aware datetime: of ISO 8601, without an offset in local time, or of how long ago.

    Raises BadParameter if the text is none of these.
    """
    return _moment(text, -1, "ago")


def coming_moment_of(text: str) -> datetime:
    """The same of a time to come: a duration is from now."""
    return _moment(text, 1, "from now")


def _moment(text: str, sign: int, words: str) -> datetime:
    span = _SPAN.fullmatch(text)
    try:
        if span is not None and span[2]:
            return clock.to_datetime(clock.now()) + sign * _span(span)
        return datetime.fromisoformat(text).astimezone()
    except (ValueError, OverflowError):
        raise click.BadParameter(
            f"{text!r} is no time; write it as 2026-03-01T12:00, or as 90m for 90 minutes {words}"
        ) from None


def span_of(text: str) -> timedelta:
    """A duration: 90s, 5m, 12h, 1d, or 90 for 90 seconds. Raises BadParameter if it is none."""
    span = _SPAN.fullmatch(text)
    try:
        if span is not None:
            return _span(span)
    except OverflowError:
        pass
    raise click.BadParameter(f"{text!r} is no duration; write it as 90s, 5m, 12h or 1d")


def seconds_of(text: str) -> float:
    """The seconds of a duration, as `span_of` reads it."""
    return span_of(text).total_seconds()


def _span(found: re.Match[str]) -> timedelta:
    return timedelta(**{_UNITS[found[2]]: float(found[1])})
