"""Times as people type them."""

from __future__ import annotations

import re
from datetime import datetime, timedelta

import click

from zodbjobs import clock

_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}
_AGO = re.compile(r"(\d+(?:\.\d+)?)([smhd])")


def moment_of(text: str) -> datetime:
    """An aware datetime: of ISO 8601, without an offset in local time, or of how long ago.

    Raises BadParameter if the text is none of these.
    """
    ago = _AGO.fullmatch(text)
    try:
        if ago is not None:
            span = timedelta(**{_UNITS[ago[2]]: float(ago[1])})
            return clock.to_datetime(clock.now()) - span
        return datetime.fromisoformat(text).astimezone()
    except (ValueError, OverflowError):
        raise click.BadParameter(
            f"{text!r} is no time; write it as 2026-03-01T12:00, or as 90m for 90 minutes ago"
        ) from None


def span_of(text: str) -> timedelta:
    """A duration: 90s, 5m, 12h, 1d. Raises BadParameter if the text is none."""
    span = _AGO.fullmatch(text)
    try:
        if span is not None:
            return timedelta(**{_UNITS[span[2]]: float(span[1])})
    except OverflowError:
        pass
    raise click.BadParameter(f"{text!r} is no duration; write it as 90s, 5m, 12h or 1d")
