"""Retry policies: whether a job has another attempt after an error or an interruption, and when.

`runtime/policy.py` asks them and checks what they answer.
"""

from __future__ import annotations

import math
import random
import sys
from typing import Any

from zope.interface import implementer

from zodbjobs import defaults
from zodbjobs.errors import BadArgument
from zodbjobs.interfaces import IRetryPolicy
from zodbjobs.stored.failure import Failure, dotted_name
from zodbjobs.stored.lifecycle.storable import check_storable

Data = dict[str, Any]

# What `data` counts.
_ERRORS = "errors"
_INTERRUPTIONS = "interruptions"


@implementer(IRetryPolicy)
class Retry:
    """Up to `times` further attempts after errors, of the job and of its commit together.

    The first comes after `delay` seconds, each wait is `backoff` times the last one, made longer
    or shorter by chance by up to the part `jitter` of it, and never longer than `most` seconds.
    `on`: an exception class or a tuple of them; any other error ends the job at once. They are
    stored by name; one that is missing in a worker's process matches nothing there.

    Conflicts use up nothing of `times`. After an interruption there is another attempt, at once,
    up to nine times. Raises BadArgument, a ValueError, for what makes no sense.
    """

    backoff = 2.0
    most = defaults.RETRY_SECONDS
    jitter = defaults.RETRY_JITTER
    #: The names of the classes.
    on: tuple[str, ...] = ("Exception",)

    def __init__(
        self,
        times: int,
        delay: float = 0,
        backoff: float = 2,
        most: float = defaults.RETRY_SECONDS,
        jitter: float = defaults.RETRY_JITTER,
        on: type[BaseException] | tuple[type[BaseException], ...] = (Exception,),
    ) -> None:
        if isinstance(times, bool) or not isinstance(times, int) or times < 0:
            raise BadArgument(f"times must be an int that isn't negative, not {times!r}")
        if not _is_between(most, 0, defaults.MOST_RETRY_SECONDS):
            raise BadArgument(
                f"most must be seconds that aren't negative, at most "
                f"{defaults.MOST_RETRY_SECONDS:,.0f}, not {most!r}"
            )
        if not _is_between(delay, 0, most):
            raise BadArgument(
                f"delay must be seconds that aren't negative, at most {most:,} unless `most` is "
                f"set to more, not {delay!r}"
            )
        if not _is_between(backoff, 1, sys.float_info.max):
            raise BadArgument(f"backoff must be a number that isn't less than 1, not {backoff!r}")
        if not _is_between(jitter, 0, 1):
            raise BadArgument(f"jitter must be a number from 0 to 1, not {jitter!r}")
        self.times = times
        self.delay = float(delay)
        for name, value in (
            ("backoff", float(backoff)),
            ("most", float(most)),
            ("jitter", float(jitter)),
            ("on", _names_of(on)),
        ):
            if value != getattr(self, name):
                setattr(self, name, value)

    def __repr__(self) -> str:
        return (
            f"Retry(times={self.times}, delay={self.delay:g}, backoff={self.backoff:g}, "
            f"most={self.most:g}, jitter={self.jitter:g}, on=({', '.join(self.on)},))"
        )

    def job_error(self, failure: Failure, data: Data) -> float | bool:
        """Seconds until the next attempt; False when all are used up, or for another error."""
        if not set(self.on).intersection(failure.kinds):
            return False
        number = _count(data, _ERRORS)
        if number > self.times:
            return False
        return _wait(number, self.delay, self.backoff, self.most, self.jitter)

    def commit_error(self, failure: Failure, data: Data) -> float | bool:
        """As `job_error`, and counted with it."""
        return self.job_error(failure, data)

    def interrupted(self, data: Data) -> bool:
        """Whether it was no more than nine times."""
        return _count(data, _INTERRUPTIONS) <= defaults.INTERRUPTIONS


@implementer(IRetryPolicy)
class RetryForever:
    """Another attempt after each error of a commit, conflict or interruption, for ever.

    The first comes after a second; each wait is twice the last one, up to a minute, for each
    kind by itself. What the job itself raises ends it.
    """

    def job_error(self, failure: Failure, data: Data) -> bool:
        """No."""
        return False

    def commit_error(self, failure: Failure, data: Data) -> float:
        """Seconds until the next attempt."""
        return _wait_for_ever(_count(data, _ERRORS))

    def interrupted(self, data: Data) -> float:
        """Seconds until the next attempt."""
        return _wait_for_ever(_count(data, _INTERRUPTIONS))


@implementer(IRetryPolicy)
class NeverRetry:
    """One attempt: no other after an error, a conflict or an interruption.

    While the storage is away or full, its end is waited for all the same, and what was rolled
    back for that is done again.
    """

    conflict_attempts = 1

    def job_error(self, failure: Failure, data: Data) -> bool:
        """No."""
        return False

    def commit_error(self, failure: Failure, data: Data) -> bool:
        """No."""
        return False

    def interrupted(self, data: Data) -> bool:
        """No."""
        return False


def checked_policy(value: Any) -> Any:
    """`value` as a retry policy that can be stored: an object that answers the three questions,
    or a class of such that takes no arguments; None is None.

    Raises BadArgument for anything else.
    """
    if value is None:
        return None
    policy = value
    if isinstance(value, type):
        try:
            policy = value()
        except TypeError as error:
            raise BadArgument(
                f"the retry policy {value.__name__} can't be made without arguments ({error}); "
                "give an object of the class"
            ) from error
    missing = [name for name in _QUESTIONS if not callable(getattr(policy, name, None))]
    if missing:
        raise BadArgument(
            f"{value!r} is no retry policy: it lacks {', '.join(missing)}; take zodbjobs.Retry, "
            "or write a class with job_error(failure, data), commit_error(failure, data) and "
            "interrupted(data)"
        )
    attempts = getattr(policy, "conflict_attempts", 1)
    if isinstance(attempts, bool) or not isinstance(attempts, int) or attempts < 1:
        raise BadArgument(
            f"conflict_attempts of the retry policy {value!r} must be an int from 1, not "
            f"{attempts!r}"
        )
    check_storable(policy, f"the retry policy {value!r}")
    return policy


_QUESTIONS = ("job_error", "commit_error", "interrupted")


def _count(data: Data, what: str) -> int:
    data[what] = number = data.get(what, 0) + 1
    return int(number)


def _wait(number: int, delay: float, backoff: float, most: float, jitter: float) -> float:
    """The seconds before the so many-th further attempt."""
    if not delay:
        return 0.0
    try:
        seconds = delay * backoff ** (number - 1)
    except OverflowError:
        seconds = math.inf
    return float(min(most, seconds * random.uniform(1 - jitter, 1 + jitter)))


def _wait_for_ever(number: int) -> float:
    most = defaults.MOST_FOREVER_SECONDS
    return _wait(number, defaults.FOREVER_SECONDS, 2.0, most, defaults.RETRY_JITTER)


def _names_of(on: Any) -> tuple[str, ...]:
    kinds = on if isinstance(on, tuple) else (on,)
    for kind in kinds:
        if not (isinstance(kind, type) and issubclass(kind, BaseException)):
            raise BadArgument(f"on must be exception classes, not {kind!r}")
    if not kinds:
        raise BadArgument("on is empty, so no error would be retried; give NeverRetry, or a class")
    return tuple(map(dotted_name, kinds))


def _is_between(value: object, low: float, high: float) -> bool:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return is_number and low <= value <= high  # type: ignore[operator]
