"""Rates as pure functions: never more than so many in a window, and never fewer than need be."""

from __future__ import annotations

import itertools

from hypothesis import given, settings
from hypothesis import strategies as st

from zodbjobs import defaults
from zodbjobs.stored.lifecycle import rates
from zodbjobs.stored.lifecycle.rates import Rate, Taken

SECOND = 1_000_000
START = 1_900_000_000 * SECOND

RATES = st.builds(
    Rate,
    st.sampled_from([1, 2, 3, 10, 101]),
    st.sampled_from([SECOND, 10 * SECOND, 60 * SECOND]),
    st.sampled_from([1, 2, 5, 1000]),
)
# How time goes on, as a part of what the rate is per; how many then want a turn.
STEPS = st.lists(
    st.tuples(st.floats(0, 1.2) | st.floats(0, 0.05), st.integers(1, 110), st.floats(0, 1)),
    max_size=15,
)


def most_in_a_window(begun: list[int], per: int) -> int:
    begun = sorted(begun)
    return max((sum(b < a + per for b in begun[i:]) for i, a in enumerate(begun)), default=0)


@settings(max_examples=60)
@given(RATES, STEPS)
def test_never_more_than_the_rate_begin_in_a_window(
    rate: Rate, steps: list[tuple[float, int, float]]
) -> None:
    taken, now, begun = Taken(), START, []
    for step, wanted, late in steps:
        now += int(step * rate.per)
        for _ in range(min(wanted, rates.room(rate, taken, now))):
            taken = rates.take(rate, taken, now)
            begun.append(now + int(late * rate.slack))
        assert len(taken.moments) <= 2 * defaults.RATE_MOMENTS
    assert most_in_a_window(begun, rate.per) <= rate.rate


@settings(max_examples=60)
@given(RATES, STEPS)
def test_turns_that_were_missed_and_moved_are_no_more(
    rate: Rate, steps: list[tuple[float, int, float]]
) -> None:
    taken, now = Taken(), START
    begun: list[int] = []
    missed: list[int] = []
    for step, wanted, share in steps:
        now += int(step * rate.per)
        for at in missed:
            moved = rates.move(rate, taken, at, now)
            if moved is not None:
                taken = moved
                begun.append(now)
        missed = []
        for number in range(min(wanted, rates.room(rate, taken, now))):
            taken = rates.take(rate, taken, now)
            if number < wanted * share:
                missed.append(now)
            else:
                begun.append(now + rate.slack)
    assert most_in_a_window(begun, rate.per) <= rate.rate


@settings(max_examples=60)
@given(RATES, STEPS)
def test_the_next_turn_is_as_soon_as_there_is_room(
    rate: Rate, steps: list[tuple[float, int, float]]
) -> None:
    taken, now = Taken(), START
    for step, wanted, _ in steps:
        now += int(step * rate.per)
        for _ in range(min(wanted, rates.room(rate, taken, now))):
            taken = rates.take(rate, taken, now)
        due = rates.next_turn(rate, taken, now)
        assert rates.room(rate, taken, due) > 0
        assert due == now or rates.room(rate, taken, due - 1) == 0
        assert due <= now + rate.window


@settings(max_examples=20)
@given(RATES)
def test_who_takes_each_turn_has_the_rate_but_for_the_slack(rate: Rate) -> None:
    rate = rate._replace(burst=1)
    taken, now = Taken(), START
    for _ in range(3 * rate.rate):
        now = rates.next_turn(rate, taken, now)
        taken = rates.take(rate, taken, now)
    assert now - START <= 3 * (rate.window + rate.grain + rate.rate)
    assert rate.window <= 1.07 * rate.per


@settings(max_examples=60)
@given(RATES, st.lists(st.floats(0, 0.03), min_size=2, max_size=50))
def test_they_come_evenly_but_for_who_is_late(rate: Rate, late: list[float]) -> None:
    rate = rate._replace(burst=1)
    taken, now, turns = Taken(), START, []
    for seconds in late:
        now = rates.next_turn(rate, taken, now) + int(seconds * SECOND)
        taken = rates.take(rate, taken, now)
        turns.append(now)
    least = rate.gap - defaults.RATE_CATCH_UP_SECONDS * SECOND
    assert all(b - a >= least for a, b in itertools.pairwise(turns))


def test_a_clock_that_was_wrong_by_more_than_a_window_is_ignored() -> None:
    rate = Rate(2, 60 * SECOND)
    taken = rates.take(rate, Taken(), START + 3600 * SECOND)
    assert rates.room(rate, taken, START) == 1
    assert rates.next_turn(rate, taken, START) == START


def test_a_rate_that_is_changed_counts_what_has_begun() -> None:
    slow, fast = Rate(1, 3600 * SECOND), Rate(10, 10 * SECOND)
    taken = rates.take(slow, Taken(), START)
    assert rates.room(slow, taken, START + 60 * SECOND) == 0
    assert rates.next_turn(fast, taken, START) == START + fast.gap
    for _ in range(10):
        taken = rates.take(fast._replace(burst=10), taken, START + fast.gap)
    less = Rate(2, 10 * SECOND)
    assert rates.next_turn(less, taken, START + 2 * fast.gap) == START + fast.gap + less.window
