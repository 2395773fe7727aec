"""Rates: when jobs of the quotas that have one were begun, and which wait for their turn."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING

from BTrees.OOBTree import OOBTree
from persistent import Persistent

from zodbjobs import defaults
from zodbjobs.stored.lifecycle import rates
from zodbjobs.stored.lifecycle.keys import SENTINEL
from zodbjobs.stored.lifecycle.rates import Rate, Taken, Turn
from zodbjobs.stored.trees import lasting_tree

if TYPE_CHECKING:
    from zodbjobs.stored.quotas import Slots
    from zodbjobs.stored.shard import Shard


class TurnLog(Persistent):
    """The last turns of one name. Who takes one writes it, so of two that do so at once one
    conflicts.
    """

    def __init__(self) -> None:
        self._taken: tuple[object, ...] = ()

    @property
    def taken(self) -> Taken:
        """What was taken."""
        if not self._taken:
            return Taken()
        moments, due, rate = self._taken
        return Taken(moments, due, Rate(*rate))  # type: ignore[arg-type, misc]

    def note(self, taken: Taken) -> None:
        """Remember what was taken."""
        assert taken.rate is not None
        self._taken = (taken.moments, taken.next, tuple(taken.rate))


class Rates(Persistent):
    """The turns of a queue: logs by the names that jobs have, and what waits, by time."""

    def __init__(self) -> None:
        self._logs = OOBTree()
        #: Microseconds -> the Slots of which a job may be let go on then.
        self._waiting = lasting_tree()
        #: Microseconds -> the name of a log that may be of no use any more by then.
        self._to_drop = lasting_tree()

    def room(self, name: str, rate: Rate, now: int) -> int:
        """How many turns of a name may be taken now."""
        return rates.room(rate, self._taken(name), now)

    def next_turn(self, name: str, rate: Rate, now: int) -> int:
        """When a turn of a name may be taken, in microseconds."""
        return rates.next_turn(rate, self._taken(name), now)

    def take(self, name: str, rate: Rate, now: int) -> Turn:
        """Take a turn; there should be room."""
        log = self._logs.get(name)
        if log is None:
            log = self._logs[name] = TurnLog()
            _enter(self._to_drop, now + rate.window, name)
        log.note(rates.take(rate, log.taken, now))
        return Turn(now, now + rate.slack)

    def move(self, name: str, rate: Rate, at: int, now: int) -> Turn | None:
        """Take a turn in place of the one of `at`; None if there is no room."""
        log = self._logs.get(name)
        if log is None:
            return self.take(name, rate, now)
        moved = rates.move(rate, log.taken, at, now)
        if moved is None:
            return None
        log.note(moved)
        return Turn(now, now + rate.slack)

    # What waits

    def wake(self, slots: Slots, due: int) -> None:
        """Let jobs of `slots` go on at `due` if there is room then."""
        if slots.due is not None:
            if slots.due <= due:
                return  # it is looked at then
            del self._waiting[slots.due]
        slots.due = _enter(self._waiting, due, slots)

    def forget(self, slots: Slots) -> None:
        """Look at `slots` no more."""
        if slots.due is not None:
            del self._waiting[slots.due]
            slots.due = None

    def next_due(self) -> int | None:
        """When the first job that waits for its turn may have it, in microseconds, or None."""
        if self._waiting.maxKey() == SENTINEL:
            return None
        due: int = self._waiting.minKey(SENTINEL + 1)
        return due

    def open_due(self, now: int) -> list[Shard]:
        """Let jobs be claimed whose turn it is; the shards that have them."""
        if self._waiting.maxKey() == SENTINEL:
            return []
        shards: dict[int, Shard] = {}
        due = list(islice(self._waiting.items(SENTINEL + 1, now), defaults.DRAIN_PER_INBOX))
        for place, slots in due:
            del self._waiting[place]
            slots.due = None
            shards |= {shard.index: shard for shard in slots.open(defaults.TURNS_TOGETHER)}
        return list(shards.values())

    def drop_old(self, now: int) -> None:
        """Forget logs of which nothing counts any more; up to TURN_LOGS_DROPPED of them."""
        old = list(islice(self._to_drop.items(SENTINEL + 1, now), defaults.TURN_LOGS_DROPPED))
        for place, name in old:
            del self._to_drop[place]
            log = self._logs.get(name)
            if log is None:
                continue
            taken = log.taken
            if rates.is_over(taken.rate, taken, now):
                del self._logs[name]
                log._p_changed = True  # who takes a turn meanwhile conflicts
            else:
                _enter(self._to_drop, now + taken.rate.window, name)

    def _taken(self, name: str) -> Taken:
        log = self._logs.get(name)
        return Taken() if log is None else log.taken


def _enter(tree, place: int, value: object) -> int:  # type: ignore[no-untyped-def]
    while not tree.insert(place, value):
        place += 1
    return place
