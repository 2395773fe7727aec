"""The schedules of a database by name, and which of them is due next."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Unpack

from BTrees.LOBTree import LOBTree
from BTrees.OOBTree import OOBTree
from persistent import Persistent
from zope.interface import implementer

from zodbjobs.errors import BadArgument, UnknownSchedule
from zodbjobs.interfaces import ISchedules
from zodbjobs.stored.lifecycle import keys
from zodbjobs.stored.lifecycle.schedule_options import ScheduleOptions
from zodbjobs.stored.schedule import Schedule

if TYPE_CHECKING:
    from zodbjobs.stored.job import Job
    from zodbjobs.stored.queues import Queues

# Bits of a key of `due` below the milliseconds: many are due at midnight.
_TIE_BITS = 20


@implementer(ISchedules)
class Schedules(Persistent):
    """The schedules of a database by name.

    `due` has those that aren't paused by the moment of their next time: a worker looks at its
    first key, and loads nothing else. Whoever fires one takes its key away, so of two who do one
    conflicts.
    """

    #: Zope's publisher calls what has a docstring, by any URL that leads to it.
    __zpublishable__ = False

    def __init__(self, parent: Queues) -> None:
        self.parent = parent
        self._by_name = OOBTree()
        self.due = LOBTree()

    def create(
        self,
        name: str,
        *what: str | Job | Callable[..., Any],
        context: bool = True,
        **options: Unpack[ScheduleOptions],
    ) -> Schedule:
        """Make the schedule `name`, and return it; see ISchedules."""
        if name in self._by_name:
            raise BadArgument(
                f"there is a schedule {name!r} already; change it with "
                f"get_queues(...).schedules[{name!r}].edit(...), or remove it first"
            )
        made = Schedule(name, *what, **options)
        self._add(made, context)
        return made

    def _add(self, schedule: Schedule, context: bool) -> None:
        """Let a new schedule be one of these, after it was checked."""
        schedule._attach(self, context)
        self._by_name[schedule.name] = schedule
        if self._p_jar is not None:
            self._p_jar.add(schedule)
        schedule._plan()

    def __getitem__(self, name: str) -> Schedule:
        found = self.get(name)
        if found is None:
            known = ", ".join(map(repr, self._by_name)) or "none"
            raise UnknownSchedule(f"there is no schedule {name!r} (there are: {known})")
        return found

    def get(self, name: str) -> Schedule | None:
        """The schedule of that name, or None."""
        found: Schedule | None = self._by_name.get(name)
        return found

    def __delitem__(self, name: str) -> None:
        self[name].remove()

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and name in self._by_name

    def __iter__(self) -> Iterator[str]:
        return iter(self._by_name)

    def __len__(self) -> int:
        return len(self._by_name)

    def values(self) -> list[Schedule]:
        """The schedules in the order of their names."""
        return list(self._by_name.values())

    # Which one is due

    def first_due_after(self, micros: int) -> int | None:
        """When the first of them is due that isn't at a moment; loads no schedule."""
        if micros > keys.LAST_MICROS:
            return None
        try:
            return (int(self.due.minKey(_first_after(micros))) >> _TIE_BITS) * 1_000
        except ValueError:  # there is none
            return None

    def due_until(self, micros: int) -> Iterator[tuple[int, Schedule]]:
        """Those that are due at a moment, each with when it was, the first one first.

        They aren't loaded; `due` may not be changed meanwhile. None if the moment is later than a
        key can tell: that clock is wrong, and what is fired by it has no next time.
        """
        if micros > keys.LAST_MICROS:
            return
        for place, schedule in self.due.items(None, _first_after(micros) - 1):
            yield (place >> _TIE_BITS) * 1_000, schedule

    def enter(self, schedule: Schedule, micros: int) -> int:
        """Let a schedule be due at a moment; returns its key in `due`."""
        place = (micros // 1_000 << _TIE_BITS) + random.getrandbits(_TIE_BITS - 1)
        while not self.due.insert(place, schedule):
            place += 1
        return place


def _first_after(micros: int) -> int:
    """The first key of `due` that is behind a moment."""
    return (micros // 1_000 + 1) << _TIE_BITS
