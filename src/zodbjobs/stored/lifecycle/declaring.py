"""Declaring: schedules that a worker's code brings, beside those that people make.

They are entered when the worker registers, in the same transaction, and follow what is declared
but for what an operator has changed. Nobody takes another's away: what no living worker declares
any more is set aside as it becomes due, and taken up by the next one that does.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from zodbjobs.errors import BadArgument
from zodbjobs.stored.lifecycle import templates
from zodbjobs.stored.schedule import DEFINITION, Schedule

if TYPE_CHECKING:
    from zodbjobs.stored.queues import Queues
    from zodbjobs.stored.schedules import Schedules

log = logging.getLogger("zodbjobs")

# What installers have brought for the workers of this process, by database.
_brought: WeakKeyDictionary[Any, tuple[Schedule, ...]] = WeakKeyDictionary()


def checked(declared: Iterable[Schedule]) -> tuple[Schedule, ...]:
    """What a worker's code declares; TypeError, or BadArgument for a name that is there twice."""
    if isinstance(declared, Schedule):
        raise TypeError(f"schedules is a list; write schedules=[{declared!r}]")
    found = tuple(declared)
    for each in found:
        if not isinstance(each, Schedule):
            raise TypeError(f"schedules is a list of zodbjobs.Schedule, not of {each!r}")
        if each.parent is not None:
            raise BadArgument(f"{each!r} is stored; declare a new zodbjobs.Schedule")
    names = [each.name for each in found]
    for name in names:
        if names.count(name) > 1:
            raise BadArgument(f"the schedule {name!r} is declared twice")
    return found


def bring(db: Any, declared: Iterable[Schedule]) -> None:
    """Let the workers that this process starts for `db` declare these, too.

    The same ones may be brought again. Raises BadArgument for another one of a name that is there.
    """
    before = _brought.get(db, ())
    _brought[db] = checked([*before, *(each for each in declared if each not in before)])


def with_brought(db: Any, declared: Iterable[Schedule]) -> tuple[Schedule, ...]:
    """What a worker for `db` declares: its own, and what was brought; raises as `checked`."""
    own = checked(declared)
    return checked([*own, *(each for each in _brought.get(db, ()) if each not in own)])


def declare(schedules: Schedules, declared: Iterable[Schedule]) -> None:
    """Enter what code declares, or let what is there follow it; joins the transaction.

    A schedule that somebody has made by hand is left alone. Raises what `create` raises for a
    queue or a quota that isn't there.
    """
    for each in declared:
        each._check(schedules)
        there = schedules.get(each.name)
        if there is None:
            _enter(schedules, each)
        elif there.declared:
            _follow(there, each)
            take_up(there)
        else:
            log.warning(
                "the schedule %r was made by hand, and goes before the one that code declares; "
                "remove it to have that one",
                each.name,
            )


def _enter(schedules: Schedules, declared: Schedule) -> None:
    """A copy, for what is declared may be declared again, or in another database."""
    made = Schedule.__new__(Schedule)
    made.name, made.declared = declared.name, True
    for name in DEFINITION:
        setattr(made, name, _own(getattr(declared, name), name))
    schedules._add(made, context=False)


def _follow(there: Schedule, declared: Schedule) -> None:
    """Let it have what is declared, but for what an operator has changed."""
    plans = False
    for name in DEFINITION:
        before, after = getattr(there, name), getattr(declared, name)
        if name in there._edited or _are_alike(name, before, after):
            continue
        setattr(there, name, _own(after, name))
        plans = plans or name in ("_when", "zone")
    if plans:
        there._plan()


def _own(value: Any, name: str) -> Any:
    return templates.copy_of(value) if name == "_template" else value


def _are_alike(name: str, before: Any, after: Any) -> bool:
    """Whether there is nothing to write. The anchor of an interval is that of its first start."""
    if name == "_template":
        return templates.are_alike(before, after)
    if name == "_when" and before[0] == after[0] == "every":
        return bool(before[1] == after[1])
    return bool(before == after)


# While workers live


def take_up(schedule: Schedule | None) -> bool:
    """Let a schedule be due again that was set aside; whether it was."""
    if schedule is None or not schedule.declared or not schedule.is_aside:
        return False
    schedule._take_up()
    return True


def without_undeclared(queues: Queues, due: Iterable[Schedule]) -> list[Schedule]:
    """Those that somebody made, or a living worker declares; the others are set aside."""
    found = []
    living: set[str] | None = None
    for schedule in due:
        if schedule.declared:
            if living is None:
                living = names_of_living(queues)
            if schedule.name not in living:
                log.info("the schedule %r is declared by no worker any more", schedule.name)
                schedule._set_aside()
                continue
        found.append(schedule)
    return found


def names_of_living(queues: Queues) -> set[str]:
    """The names of the schedules that a worker declares which has a record."""
    return {name for record in queues.workers.values() for name in record.schedules}
