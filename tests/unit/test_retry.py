"""What the policies that come along answer."""

from __future__ import annotations

import math
import pickle
import random
from datetime import timedelta
from fractions import Fraction
from typing import Any

import pytest
import sample
from hypothesis import given
from hypothesis import strategies as st

import zodbjobs
from zodbjobs import defaults
from zodbjobs.errors import BadArgument

HUGE = pytest.param(10**400, id="huge")
FAILURE = zodbjobs.Failure.from_exception(ValueError("no"))


def answers(policy: Any, number: int) -> list[Any]:
    """What it answers to so many errors in a row."""
    data: dict[str, Any] = {}
    return [policy.job_error(FAILURE, data) for _ in range(number)]


def test_each_wait_is_longer() -> None:
    retry = zodbjobs.Retry(times=4, delay=10, backoff=3, jitter=0)
    assert answers(retry, 6) == [10.0, 30.0, 90.0, 270.0, False, False]


@pytest.mark.parametrize("backoff", [2.0, 2, 10, 1e300, pytest.param(10**300, id="large")])
def test_no_wait_is_without_end(backoff: float) -> None:
    retry = zodbjobs.Retry(times=1_000_000, delay=1.0, backoff=backoff)
    for errors in (1_000, 1_024, 1_025, 5_000, 999_999):
        assert retry.job_error(FAILURE, {"errors": errors}) == defaults.RETRY_SECONDS
    at_once = zodbjobs.Retry(1_000_000, backoff=backoff)
    assert at_once.job_error(FAILURE, {"errors": 5_000}) == 0.0
    even = zodbjobs.Retry(1_000_000, 5.0, 1, jitter=0)
    assert even.job_error(FAILURE, {"errors": 5_000}) == 5.0


@given(
    times=st.integers(0, 8),
    delay=st.floats(0, 5_000),
    backoff=st.floats(1, 100),
    most=st.floats(5_000, defaults.MOST_RETRY_SECONDS),
    jitter=st.floats(0, 1),
    questions=st.lists(st.sampled_from(["job_error", "commit_error"]), max_size=12),
)
def test_the_allowance_and_the_bounds_hold_however_the_errors_come(
    times: int,
    delay: float,
    backoff: float,
    most: float,
    jitter: float,
    questions: list[str],
) -> None:
    policy = zodbjobs.Retry(times, delay, backoff, most, jitter)
    data: dict[str, Any] = {}
    for number, question in enumerate(questions, 1):
        policy = pickle.loads(pickle.dumps(policy))  # what lasts is in the data
        answer = getattr(policy, question)(FAILURE, data)
        assert (answer is False) == (number > times)
        if answer is not False:
            wait = delay * backoff ** (number - 1)
            assert min(most, wait * (1 - jitter)) <= answer * 1.000_001
            assert answer <= min(most, wait * (1 + jitter) * 1.000_001)


def test_the_jitter_spreads_those_that_failed_together(monkeypatch: pytest.MonkeyPatch) -> None:
    retry = zodbjobs.Retry(3, delay=100, most=105)
    seen = []
    for chosen in (0.0, 0.5, 1.0):
        monkeypatch.setattr(random, "uniform", lambda a, b, c=chosen: a + c * (b - a))
        seen.append(retry.job_error(FAILURE, {}))
    assert seen == pytest.approx([90, 100, 105])


# Which errors


def failure(error: BaseException) -> zodbjobs.Failure:
    return zodbjobs.Failure.from_exception(error)


def test_only_errors_of_these_classes_have_another_attempt() -> None:
    retry = zodbjobs.Retry(3, on=(OSError, LookupError))
    assert retry.job_error(failure(ConnectionError()), {}) == 0.0
    assert retry.commit_error(failure(KeyError()), {}) == 0.0
    assert retry.job_error(failure(ValueError()), {}) is False
    data: dict[str, Any] = {}
    for error in (ValueError(), KeyError(), ValueError(), KeyError(), KeyError()):
        last = retry.job_error(failure(error), data)
    assert (last, data) == (0.0, {"errors": 3})
    assert zodbjobs.Retry(1, on=sample.Refused).job_error(failure(sample.Refused(1, 2)), {}) == 0
    assert zodbjobs.Retry(1).job_error(failure(SystemExit()), {}) is False
    assert zodbjobs.Retry(1, on=(BaseException,)).job_error(failure(SystemExit()), {}) == 0


def test_the_classes_are_stored_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    stored = pickle.dumps(zodbjobs.Retry(1, on=(sample.Refused, KeyError)))
    monkeypatch.delattr(sample, "Refused")
    retry = pickle.loads(stored)
    assert retry.on == ("sample.Refused", "KeyError")
    assert retry.job_error(failure(KeyError()), {}) == 0.0
    assert retry.job_error(failure(ValueError()), {}) is False


def test_the_bases_of_an_exception_are_not_stored() -> None:
    fresh = failure(ConnectionResetError("gone"))
    assert fresh.kinds[:3] == ("ConnectionResetError", "ConnectionError", "OSError")
    assert pickle.loads(pickle.dumps(fresh)).kinds == ("ConnectionResetError",)


# The others


@pytest.mark.promise(113)
@pytest.mark.parametrize("policy", [zodbjobs.Retry(0), zodbjobs.Retry(99, delay=60)])
def test_interruptions_have_an_allowance_of_their_own(policy: Any) -> None:
    data: dict[str, Any] = {"errors": 7}
    assert [policy.interrupted(data) for _ in range(11)] == [True] * 9 + [False] * 2
    assert data["errors"] == 7


@pytest.mark.promise(114)
def test_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(random, "uniform", lambda a, b: (a + b) / 2)
    policy, data = zodbjobs.RetryForever(), {}
    commits = [policy.commit_error(FAILURE, data) for _ in range(2_000)]
    assert commits[:8] == [1, 2, 4, 8, 16, 32, 60, 60]
    assert set(commits[8:]) == {60}
    assert [policy.interrupted(data) for _ in range(3)] == [1, 2, 4]
    assert policy.job_error(FAILURE, data) is False


@pytest.mark.promise(115)
def test_never() -> None:
    policy = zodbjobs.NeverRetry()
    assert policy.job_error(FAILURE, {}) is False
    assert policy.commit_error(FAILURE, {}) is False
    assert policy.interrupted({}) is False
    assert policy.conflict_attempts == 1


# What makes no sense


@pytest.mark.parametrize(
    "delay", [math.inf, math.nan, -1, 1e300, 1e9, 3601, HUGE, False, timedelta(1), "5", None]
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


@pytest.mark.parametrize("most", [math.inf, -1, 1e9, True, None])
def test_longest_waits_that_make_no_sense_are_refused(most: Any) -> None:
    with pytest.raises(BadArgument, match="most must be seconds"):
        zodbjobs.Retry(1, most=most)


@pytest.mark.parametrize("jitter", [math.nan, -0.1, 1.1, True, None])
def test_jitters_that_make_no_sense_are_refused(jitter: Any) -> None:
    with pytest.raises(BadArgument, match="jitter must be"):
        zodbjobs.Retry(1, jitter=jitter)


@pytest.mark.parametrize("on", ["KeyError", (), [KeyError], (KeyError, int), KeyError("x"), None])
def test_what_is_no_exception_class_is_refused(on: Any) -> None:
    with pytest.raises(BadArgument, match=r"^on "):
        zodbjobs.Retry(1, on=on)


class Incomplete:
    """Answers one question of three."""

    def job_error(self, *about: Any) -> bool:
        return True


class Impatient(zodbjobs.NeverRetry):
    """Has no use for a first attempt."""

    conflict_attempts = 0


@pytest.mark.parametrize(
    ("policy", "text"),
    [
        (zodbjobs.Retry, "can't be made without arguments.*give an object"),
        (Incomplete, "lacks commit_error, interrupted; take zodbjobs.Retry"),
        (Incomplete(), "lacks commit_error"),
        (Impatient, "conflict_attempts .* must be an int from 1, not 0"),
        (3, "3 is no retry policy"),
        ("always", "is no retry policy"),
    ],
)
def test_what_is_no_policy_is_refused_when_it_is_set(policy: Any, text: str) -> None:
    job = zodbjobs.Job(sample.nothing)
    with pytest.raises(BadArgument, match=text):
        job.retry_policy = policy
    assert job.retry_policy is None


def test_a_policy_may_be_given_as_a_class() -> None:
    job = zodbjobs.Job(sample.nothing)
    for kind in (zodbjobs.NeverRetry, zodbjobs.RetryForever):
        job.retry_policy = kind
        assert type(job.retry_policy) is kind
    job.retry_policy = None
    assert job.retry_policy is None


class Stubborn(zodbjobs.Job):
    """A kind of job with a policy."""

    retry_policy = zodbjobs.RetryForever


def test_a_kind_of_job_may_have_a_policy() -> None:
    job = Stubborn(sample.nothing)
    assert type(job.retry_policy) is zodbjobs.RetryForever
    job.retry_policy = zodbjobs.NeverRetry
    assert type(job.retry_policy) is zodbjobs.NeverRetry
    with pytest.raises(BadArgument, match="lacks"):
        type("Wrong", (zodbjobs.Job,), {"retry_policy": Incomplete})
