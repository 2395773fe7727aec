"""Conflicts: what jobs of a worker, or of all that are gone, fought over."""

from __future__ import annotations

from typing import Any

from persistent import Persistent

from zodbjobs.stored.lifecycle import fights
from zodbjobs.stored.lifecycle.fights import Fight, Fights, Key


class Conflicts(Persistent):
    """Adds up what jobs fought over. Its parts are plain tuples: a record of some kB at most."""

    def __init__(self) -> None:
        self._fights: tuple[tuple[Any, Any], ...] = ()

    @property
    def fights(self) -> Fights:
        """What was fought over."""
        return {Key(*key): Fight(*fight) for key, fight in self._fights}

    def add(self, more: Fights, now: int) -> None:
        """Add what was fought over, and forget what is old by `now`, in microseconds."""
        found = fights.bounded(fights.sum_of([self.fights, more]), now)
        self._fights = tuple((tuple(key), tuple(fight)) for key, fight in found.items())
