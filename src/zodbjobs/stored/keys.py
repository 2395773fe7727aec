"""The 64-bit key that orders a job and identifies it in every tree that it passes through.

From the top: 4 bits priority (15 - 8 - priority, so that larger goes first), 42 bits
milliseconds since 1970, 17 bits tie-break, the lowest of which says whether the job was
put for later. A job that was put for now is due whatever the clocks of other machines say.
"""

from __future__ import annotations

import random
import threading
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
_HELD_BITS = _TIE_BITS + 4
_TIE_MASK = (1 << _TIE_BITS) - 1
_MICRO_SHIFT = 7  # the tie of a job for now: 10 bits microseconds, 6 bits chance, 0
_BACKWARDS = 1_000 << _TIE_BITS  # a clock set back by more than a second is believed

_lock = threading.Lock()
_last_now = 0
_later_tie = random.getrandbits(_TIE_BITS - 1)


def key_for_now(priority: int, micros: int) -> int:
    """A key for a job that is due at once; grows with each call in this process."""
    global _last_now
    millis, rest = divmod(micros, 1_000)
    moment = millis << _TIE_BITS | rest << _MICRO_SHIFT | random.getrandbits(6) << 1
    with _lock:
        if moment <= _last_now < moment + _BACKWARDS:
            moment = _last_now + 2
        _last_now = moment
    return (HIGHEST_PRIORITY - priority) << _MOMENT_BITS | moment


def key_for_later(priority: int, due_micros: int) -> int:
    """A key for a job that is due at `due_micros`, rounded up to a millisecond."""
    global _later_tie
    with _lock:
        _later_tie = (_later_tie + 1) & _TIE_MASK >> 1
        tie = _later_tie << 1 | 1
    moment = -(-due_micros // 1_000) << _TIE_BITS | tie
    return (HIGHEST_PRIORITY - priority) << _MOMENT_BITS | moment


def is_for_later(key: int) -> bool:
    """Whether the job was put for later than its put."""
    return bool(key & 1)


def priority_of(key: int) -> int:
    """The priority in a key."""
    return HIGHEST_PRIORITY - (key >> _MOMENT_BITS)


def micros_of(key: int) -> int:
    """When a job for now was put; when a job for later is due, to the millisecond."""
    moment = key & _MOMENT_MASK
    millis = (moment >> _TIE_BITS) * 1_000
    return millis if moment & 1 else millis + (moment >> _MICRO_SHIFT & 0x3FF)


def held_key(key: int) -> int:
    """The same key with the milliseconds in front: the order of jobs that aren't due yet."""
    millis = (key & _MOMENT_MASK) >> _TIE_BITS
    priority = key >> _MOMENT_BITS
    return millis << _HELD_BITS | priority << _TIE_BITS | key & _TIE_MASK


def from_held(held: int) -> int:
    """The key of a held key."""
    priority = held >> _TIE_BITS & _PRIORITY_MASK
    return priority << _MOMENT_BITS | held >> _HELD_BITS << _TIE_BITS | held & _TIE_MASK


def last_held(micros: int) -> int:
    """The largest held key that is due at `micros`."""
    return ((micros // 1_000 + 1) << _HELD_BITS) - 1


def held_micros(held: int) -> int:
    """When a held key is due."""
    return micros_of(from_held(held))


def last_like(key: int) -> int:
    """The last key that differs from `key`, or a held key, in the tie only."""
    return key | _TIE_MASK


def free_key(tree: Any, key: int) -> int:
    """`key`, or the next one of its kind that `tree` doesn't have; also for held keys."""
    while key in tree:
        top: int = tree.maxKey(last_like(key))
        key = top + (1 if (top ^ key) & 1 else 2)
    return key
