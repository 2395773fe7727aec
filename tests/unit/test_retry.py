"""How long `Retry` waits."""

from __future__ import annotations

import math
from datetime import timedelta
from fractions import Fraction
from typing import Any

import pytest

import zodbjobs
from zodbjobs import defaults
from zodbjobs.errors import BadArgument

HUGE = pytest.param(10**400, id="huge")


def test_each_wait_is_longer() -> None:
    retry = zodbjobs.Retry(times=4, delay=10, backoff=3)
    assert [retry.delay(None, n) for n in range(1, 6)] == [10.0, 30.0, 90.0, 270.0, None]


@pytest.mark.parametrize("backoff", [2.0, 2, 10, 1e300, pytest.param(10**300, id="large")])
def test_no_wait_is_without_end(backoff: float) -> None:
    retry = zodbjobs.Retry(times=1_000_000, delay=1.0, backoff=backoff)
    for attempts in (1_000, 1_024, 1_025, 5_000, 1_000_000):
        assert retry.delay(None, attempts) == defaults.MOST_RETRY_SECONDS
    assert zodbjobs.Retry(1_000_000, backoff=backoff).delay(None, 5_000) == 0.0
    assert zodbjobs.Retry(1_000_000, 5.0, 1).delay(None, 5_000) == 5.0


@pytest.mark.parametrize(
    "delay", [math.inf, math.nan, -1, 1e300, 1e9, HUGE, False, timedelta(1), "5", None]
)
def test_waits_that_make_no_sense_are_refused(delay: Any) -> None:
    with pytest.raises(BadArgument, match="delay must be seconds"):
        zodbjobs.Retry(1, delay)


@pytest.mark.parametrize("backoff", [math.inf, math.nan, 0.5, -2, HUGE, True, Fraction(3), None])
def test_backoffs_that_make_no_sense_are_refused(backoff: Any) -> None:
    with pytest.raises(BadArgument, match="backoff must be"):
        zodbjobs.Retry(1, 1.0, backoff)


@pytest.mark.parametrize("times", [-1, 1.5, math.inf, True, "3", None])
def test_numbers_of_attempts_that_make_no_sense_are_refused(times: Any) -> None:
    with pytest.raises(BadArgument, match="times must be"):
        zodbjobs.Retry(times)
