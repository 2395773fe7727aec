"""The 64-bit key that orders a job and identifies it in every tree that it passes through.

From the top: 4 bits priority (15 - 8 - priority, so that larger goes first), 42 bits
milliseconds since 1970, 17 bits tie-break. The first bit of the tie-break is 1 if the job was
put for now: of the same millisecond, a scheduled job goes first. A job that was put for now is
due whatever the clocks of other machines say.
"""

from __future__ import annotations

import random
import threading
from collections.abc import Iterator
from typing import Any

#: Smallest key of an inbox or a lease, never removed: with it a producer and a worker
#: merge without a conflict.
SENTINEL = -(2**63)

#: Larger than any key.
LAST = 2**63 - 1

LOWEST_PRIORITY = -8
HIGHEST_PRIORITY = 7

_TIE_BITS = 17
_MOMENT_BITS = 59
_MOMENT_MASK = (1 << _MOMENT_BITS) - 1

#: The last moment that a key can tell, in microseconds: in the year 2109.
LAST_MICROS = ((1 << _MOMENT_BITS - _TIE_BITS) - 1) * 1_000

#: As many keys has each priority.
PRIORITY_SPAN = 1 << _MOMENT_BITS

_PRIORITY_MASK = (1 << 4) - 1
_SCHEDULED_BITS = _TIE_BITS + 4
_TIE_MASK = (1 << _TIE_BITS) - 1
_FOR_NOW = 1 << _TIE_BITS - 1
_COUNT_MASK = _FOR_NOW - 1
_MICRO_SHIFT = 6  # the tie of a job for now: 1, 10 bits microseconds, 6 bits chance
_BACKWARDS = 1_000 << _TIE_BITS  # a clock set back by more than a second is believed

_lock = threading.Lock()
_last_now = 0
_later_tie = random.getrandbits(_TIE_BITS - 1)


def key_for_now(priority: int, micros: int) -> int:
    """A key for a job that is due at once; grows with each call in this process."""
    global _last_now
    millis, rest = divmod(micros, 1_000)
    moment = millis << _TIE_BITS | _FOR_NOW | rest << _MICRO_SHIFT | random.getrandbits(6)
    with _lock:
        if moment <= _last_now < moment + _BACKWARDS:
            moment = _last_now + 1 | _FOR_NOW
        _last_now = moment
    return (HIGHEST_PRIORITY - priority) << _MOMENT_BITS | moment


def key_for_later(priority: int, due_micros: int) -> int:
    """A key for a job that is due at `due_micros`, rounded up to a millisecond."""
    global _later_tie
    with _lock:
        _later_tie = tie = (_later_tie + 1) & _COUNT_MASK
    moment = -(-due_micros // 1_000) << _TIE_BITS | tie
    return (HIGHEST_PRIORITY - priority) << _MOMENT_BITS | moment


def is_for_later(key: int) -> bool:
    """Whether the job was put for later than its put."""
    return not key & _FOR_NOW


def priority_of(key: int) -> int:
    """The priority in a key."""
    return HIGHEST_PRIORITY - (key >> _MOMENT_BITS)


def last_of_priority(key: int) -> int:
    """The last key of the priority that `key` has."""
    return key | _MOMENT_MASK


def micros_of(key: int) -> int:
    """When a job for now was put; when a job for later is due, to the millisecond."""
    moment = key & _MOMENT_MASK
    millis = (moment >> _TIE_BITS) * 1_000
    return millis + (moment >> _MICRO_SHIFT & 0x3FF) if moment & _FOR_NOW else millis


def key_bounds(priority_start: int, since: int, until: int) -> tuple[int, int]:
    """The first and the last key, of the priority whose keys begin there, of the milliseconds
    that these microseconds are in.
    """
    first = priority_start + (since // 1_000 << _TIE_BITS)
    return first, priority_start + ((until // 1_000 + 1 << _TIE_BITS) - 1)


def scheduled_bounds(since: int, until: int) -> tuple[int, int]:
    """The same for scheduled keys, of all priorities."""
    return since // 1_000 << _SCHEDULED_BITS, last_scheduled(until)


def scheduled_key(key: int) -> int:
    """The same key with the milliseconds in front: the order of jobs that aren't due yet."""
    millis = (key & _MOMENT_MASK) >> _TIE_BITS
    priority = key >> _MOMENT_BITS
    return millis << _SCHEDULED_BITS | priority << _TIE_BITS | key & _TIE_MASK


def from_scheduled(place: int) -> int:
    """The key of a scheduled key."""
    priority = place >> _TIE_BITS & _PRIORITY_MASK
    millis = place >> _SCHEDULED_BITS
    return priority << _MOMENT_BITS | millis << _TIE_BITS | place & _TIE_MASK


def last_scheduled(micros: int) -> int:
    """The largest scheduled key that is due at `micros`."""
    return ((micros // 1_000 + 1) << _SCHEDULED_BITS) - 1


def scheduled_micros(place: int) -> int:
    """When a scheduled key is due."""
    return micros_of(from_scheduled(place))


def last_like(key: int) -> int:
    """The last key that differs from `key`, or a scheduled key, in the tie's count only."""
    return key | _COUNT_MASK


def free_key(tree: Any, key: int) -> int:
    """`key`, or the next one of its kind and priority that `tree` doesn't have."""
    return _free(tree, key, _TIE_BITS)


def free_scheduled_key(tree: Any, key: int) -> int:
    """The same for a scheduled key."""
    return _free(tree, key, _SCHEDULED_BITS)


def _free(tree: Any, key: int, millis_shift: int) -> int:
    while key in tree:
        last = last_like(key)
        top: int = tree.maxKey(last)
        # Where a millisecond is full the next one serves; the priority stays as it is.
        key = top + 1 if top < last else (key & ~_COUNT_MASK) + (1 << millis_shift)
    return key


def forwards(tree: Any) -> Iterator[tuple[int, Any]]:
    """The items of a tree, the first one first; it may be changed meanwhile."""
    key = SENTINEL
    while True:
        try:
            key = tree.minKey(key + 1)
        except ValueError:  # there is none behind
            return
        yield key, tree[key]


def backwards(tree: Any, last: int = LAST, first: int = SENTINEL + 1) -> Iterator[tuple[int, Any]]:
    """The items of a tree from `last` back to `first`; it may be changed meanwhile."""
    key = last + 1
    while True:
        try:
            key = tree.maxKey(key - 1)
        except ValueError:  # there is none before
            return
        if key < first:
            return
        yield key, tree[key]
