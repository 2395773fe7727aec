"""The job index: the jobs that have an owner, an object or a realm, by each of these.

It is one for all queues of a database. A job that has none of them never comes here.
"""

from __future__ import annotations

import heapq
import threading
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from BTrees.OOBTree import OOBTree
from persistent import Persistent

from zodbjobs import defaults

if TYPE_CHECKING:
    from zodbjobs.stored.job import Job

# Bits of a place below the microseconds of the put.
_TIE = 12

# A clock that is set back by more than a second is believed.
_BACKWARDS = 1_000_000 << _TIE

# Smaller than the key of any job, never removed: a tree that is never empty can be merged.
_SENTINEL = ("", 0)

_lock = threading.Lock()
_last_place = 0


class JobIndex(Persistent):
    """Jobs by name, the newest put first. A name tells what it is of: see `listing`.

    The trees are plain and flat, name and place -> Job, so that a server without this package
    can merge them, and the first job of a name makes no tree that two could make at once. Each
    producer writes to one of them; a reader merges all.
    """

    def __init__(self) -> None:
        self.lanes = tuple(OOBTree() for _ in range(defaults.INDEX_LANES))
        for tree in self.lanes:
            tree[_SENTINEL] = None

    def add(self, lane: int, names: Iterable[str], micros: int, job: Job) -> tuple[int, int]:
        """Add `job`, put at `micros`, under `names`; return its lane and its place there."""
        lane %= len(self.lanes)
        tree = self.lanes[lane]
        place = _next_place(micros)
        while any((name, -place) in tree for name in names):
            place += 1
        for name in names:
            tree[name, -place] = job
        return lane, place

    def has(self, listed: tuple[int, ...], name: str, job: Any) -> bool:
        """Whether `job` is under `name` where `add` has said."""
        lane, place = listed
        return lane < len(self.lanes) and self.lanes[lane].get((name, -place)) is job

    def drop(self, listed: tuple[int, ...], names: Iterable[str], job: Any) -> None:
        """Take `job` out, if it is there."""
        for name in names:
            if self.has(listed, name, job):
                lane, place = listed
                del self.lanes[lane][name, -place]

    def newest(self, name: str, since: int, until: int) -> Iterator[tuple[int, Any]]:
        """The jobs under `name` that were put from `since` until just before `until`, with these
        microseconds, the newest first. It reads on as it is asked, and may be changed meanwhile.
        """
        last, end = (until << _TIE) - 1, since << _TIE
        lanes = (_newest(tree, name, last, end) for tree in self.lanes)
        merged = heapq.merge(*lanes, key=lambda placed: placed[0], reverse=True)
        return ((place >> _TIE, job) for place, job in merged)


def _newest(tree: Any, name: str, last: int, end: int) -> Iterator[tuple[int, Any]]:
    while True:
        try:
            key = tree.minKey((name, -last))
        except ValueError:  # there is none behind
            return
        if key[0] != name or -key[1] < end:
            return
        yield -key[1], tree[key]
        last = -key[1] - 1


def _next_place(micros: int) -> int:
    """A place for a job that is put now; grows with each call in this process."""
    global _last_place
    place = micros << _TIE
    with _lock:
        if place <= _last_place < place + _BACKWARDS:
            place = _last_place + 1
        _last_place = place
    return place
