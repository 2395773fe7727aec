"""Options of a job: when, within what time and how urgently it is to be begun; checked."""

from __future__ import annotations

import enum
import math
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final, Literal

from zodbjobs import clock
from zodbjobs.errors import BadArgument
from zodbjobs.stored.lifecycle import keys

if TYPE_CHECKING:
    from zodbjobs.stored.job import Job
    from zodbjobs.stored.queue import Queue


class Unsaid(enum.Enum):
    """What an option is that wasn't given, where None says something."""

    UNSAID = enum.auto()

    def __repr__(self) -> str:
        return "UNSAID"


UNSAID: Final = Unsaid.UNSAID

#: The timeout of a put: seconds or a timedelta, None for none; UNSAID: the job's or the queue's.
TimeoutOption = float | timedelta | None | Literal[Unsaid.UNSAID]


def due_micros(value: datetime | timedelta | None) -> int | None:
    """Microseconds of an aware datetime or a timedelta from now; BadArgument if it is neither."""
    if value is None:
        return None
    if isinstance(value, timedelta):
        if value < timedelta(0):
            raise BadArgument(f"begin_after is negative: {value}; leave it out for now")
        return _in_range(clock.now() + value // timedelta(microseconds=1))
    if not isinstance(value, datetime):
        raise BadArgument(f"begin_after must be a datetime or a timedelta, not {value!r}")
    if value.utcoffset() is None:
        raise BadArgument(
            f"begin_after has no timezone: {value!r}; write datetime(..., tzinfo=UTC)"
        )
    return _in_range(clock.to_micros(value))


def _in_range(micros: int) -> int:
    if micros > keys.LAST_MICROS:
        last = clock.to_datetime(keys.LAST_MICROS)
        raise BadArgument(f"begin_after is too far in the future; the last is {last}")
    return micros


def deadline_of(job: Job) -> int | None:
    """The microseconds by which a job must have begun, or None."""
    return None if job._begin_by is None else (job._begin_micros() or 0) + job._begin_by


def duration_micros(value: timedelta | None) -> int | None:
    """Microseconds of a timedelta that isn't negative; BadArgument otherwise."""
    if value is None:
        return None
    if not isinstance(value, timedelta):
        raise BadArgument(f"begin_by must be a timedelta after begin_after, not {value!r}")
    if value < timedelta(0):
        raise BadArgument(f"begin_by is negative: {value}")
    return value // timedelta(microseconds=1)


def timeout_micros(value: float | timedelta | None) -> int | None:
    """Microseconds of a time limit, seconds or a timedelta; BadArgument unless it is positive."""
    if value is None:
        return None
    if isinstance(value, timedelta):
        seconds = value.total_seconds()
    elif isinstance(value, int | float) and not isinstance(value, bool):
        seconds = float(value)
    else:
        raise BadArgument(f"timeout must be seconds or a timedelta, not {value!r}")
    micros = seconds * 1_000_000
    if not math.isfinite(micros) or micros < 1:
        raise BadArgument(f"timeout must be more than 0 and finite, not {value!r}; None for none")
    return round(micros)


def timeout_of(job: Job) -> int | None:
    """The microseconds that an attempt at the job may take, or None; cheap."""
    return job._given_timeout if job._timeout is None else job._timeout


def give_timeout(queue: Queue, job: Job) -> None:
    """Let a job that is put, and says nothing of it, have the queue's timeout."""
    if queue._timeout is not None and job._timeout is None and not job._has_timeout_of_whole:
        job._given_timeout = queue._timeout


def checked_priority(value: int) -> int:
    """`value` as a plain int if it is a priority, else BadArgument."""
    if not isinstance(value, int) or isinstance(value, bool):
        raise BadArgument(f"priority must be an int, not {value!r}")
    if not keys.LOWEST_PRIORITY <= value <= keys.HIGHEST_PRIORITY:
        raise BadArgument(
            f"priority {value} is out of range; "
            f"use {keys.LOWEST_PRIORITY} to {keys.HIGHEST_PRIORITY}, larger first"
        )
    return int(value)  # not an IntEnum, whose class the record would need


def checked_transactional(value: object) -> bool | None:
    """`value` if it is True, False or None, else BadArgument."""
    if value is not None and not isinstance(value, bool):
        raise BadArgument(f"transactional must be True, False or None, not {value!r}")
    return value


def checked_percent(value: object) -> float:
    """`value` as a float if it is a number from 0 to 100, else BadArgument."""
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if not number or not 0 <= value <= 100:  # type: ignore[operator]
        raise BadArgument(f"percent must be a number from 0 to 100, not {value!r}")
    return float(value)  # type: ignore[arg-type]
