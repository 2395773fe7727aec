"""The order that keys give, and what is done when two are alike."""

from __future__ import annotations

from typing import Any

import pytest
from BTrees.LOBTree import LOBTree
from hypothesis import given
from hypothesis import strategies as st

from zodbjobs.stored.lifecycle import keys

MICROS = st.integers(0, 4_000_000_000_000_000)
PRIORITY = st.integers(keys.LOWEST_PRIORITY, keys.HIGHEST_PRIORITY)
MAKERS = st.sampled_from([keys.key_for_now, keys.key_for_later])
PARTS = st.tuples(MAKERS, PRIORITY, MICROS)


@given(PRIORITY, MICROS)
def test_a_key_tells_its_parts(priority: int, micros: int) -> None:
    later = keys.key_for_later(priority, micros)
    assert keys.is_for_later(later)
    assert keys.priority_of(later) == priority
    assert 0 <= keys.micros_of(later) - micros < 1_000
    now = keys.key_for_now(priority, micros)
    assert not keys.is_for_later(now)
    assert keys.priority_of(now) == priority
    assert abs(keys.micros_of(now) - micros) <= 1_000_000
    for key in (now, later):
        assert keys.SENTINEL < key < keys.LAST


@given(MAKERS, PRIORITY, MICROS)
def test_held_keys_are_the_same_in_another_order(make: Any, priority: int, micros: int) -> None:
    key = make(priority, micros)
    held = keys.scheduled_key(key)
    assert keys.from_scheduled(held) == key
    assert keys.scheduled_micros(held) // 1_000 == keys.micros_of(key) // 1_000
    assert 0 <= held < keys.LAST


@given(MICROS, MICROS, PRIORITY, PRIORITY)
def test_the_order(one: int, other: int, high: int, low: int) -> None:
    first, second = keys.key_for_later(high, one), keys.key_for_later(low, other)
    if high != low:
        assert (first < second) == (high > low)
    elif one // 1_000 + 1 < other // 1_000:
        assert first < second
    if one // 1_000 + 1 < other // 1_000:
        assert keys.scheduled_key(first) < keys.scheduled_key(second)


@given(MICROS, PRIORITY)
def test_what_is_due(micros: int, priority: int) -> None:
    held = keys.scheduled_key(keys.key_for_later(priority, micros))
    due = keys.scheduled_micros(held)
    assert held <= keys.last_scheduled(due)
    assert due == 0 or held > keys.last_scheduled(due - 1)


def test_keys_for_now_grow() -> None:
    made = [keys.key_for_now(0, 1_000_000_000) for _ in range(10_000)]
    assert made == sorted(set(made))


@given(st.lists(PARTS, min_size=1, max_size=5), st.integers(1, 20))
def test_a_free_key_is_of_the_same_kind(chosen: list[Any], times: int) -> None:
    tree: Any = LOBTree()
    for make, priority, micros in chosen:
        key = make(priority, micros)
        for _ in range(times):
            free = keys.free_key(tree, key)
            assert free not in tree
            assert keys.is_for_later(free) == keys.is_for_later(key)
            assert keys.priority_of(free) == keys.priority_of(key)
            tree[free] = None


@pytest.mark.parametrize("priority", [-8, 0, 7])
@pytest.mark.parametrize("make", [keys.key_for_now, keys.key_for_later])
def test_where_a_millisecond_is_full_the_next_one_serves(make: Any, priority: int) -> None:
    last = keys.last_like(make(priority, 1_000_000))
    free = keys.free_key(LOBTree({last: None}), last)
    place = keys.scheduled_key(last)
    scheduled = keys.from_scheduled(keys.free_scheduled_key(LOBTree({place: None}), place))
    for key in (free, scheduled):
        assert keys.priority_of(key) == priority
        assert keys.is_for_later(key) == keys.is_for_later(last)
        assert key > last
