"""Quotas: how many jobs of a name run at once, and how many begin in a span of time, over all
workers of a queue.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING

from BTrees.Length import Length
from BTrees.LLBTree import LLBTree
from BTrees.OOBTree import OOBTree
from persistent import Persistent
from zope.interface import implementer

from zodbjobs import clock, defaults
from zodbjobs.errors import BadArgument, UnknownQuota
from zodbjobs.interfaces import IQuota, IQuotas
from zodbjobs.queue_names import spoken
from zodbjobs.stored.lifecycle.current import read_as_current
from zodbjobs.stored.lifecycle.keys import SENTINEL
from zodbjobs.stored.lifecycle.rates import Rate, Turn
from zodbjobs.stored.rates import Rates

if TYPE_CHECKING:
    from zodbjobs.stored.queue import Queue
    from zodbjobs.stored.shard import Shard

#: Who has a slot: the id of a worker, and the key of the job in its lease.
Holder = tuple[str, int]

_PATTERN = ":*"

# Microseconds that are never over: until when a job may begin whose quotas have no rate any more.
_FOREVER = 1 << 62


_MICROSECOND = timedelta(microseconds=1)


@implementer(IQuota)
class Quota(Persistent):
    """How many jobs that name it run at once, and begin in a span of time; see IQuota."""

    _size: int | None = None
    _rate: int | None = None
    _per: int | None = None  # microseconds
    _burst = 1

    def __init__(self, quotas: Quotas, name: str) -> None:
        self._quotas = quotas
        self.name = name

    def __repr__(self) -> str:
        limits = [] if self._size is None else [f"of {self._size}"]
        if self._rate is not None:
            limits.append(f"{self._rate} per {self.per}")
        kind = type(self)
        return f"<{kind.__module__}.{kind.__name__} {self.name!r} {', '.join(limits)}>"

    @property
    def size(self) -> int | None:
        """How many of its jobs run at once; settable while jobs run, which stops none of them.

        None for any number, if it has a rate. Raises BadArgument for anything but an int from 1.
        Joins the transaction.
        """
        return self._size

    @size.setter
    def size(self, value: int | None) -> None:
        self.limit(value, self._rate, self.per, self._burst)

    @property
    def rate(self) -> int | None:
        """How many of its jobs begin in `per`; settable, from the next begin on.

        None for any number, if it has a size. Raises BadArgument for anything but an int from 1,
        and if it has no `per` yet. Joins the transaction.
        """
        return self._rate

    @rate.setter
    def rate(self, value: int | None) -> None:
        self.limit(self._size, value, self.per, self._burst)

    @property
    def per(self) -> timedelta | None:
        """The span of time that its rate is for, a second to RATE_MOST_DAYS; settable, else
        BadArgument.
        """
        return None if self._per is None else timedelta(microseconds=self._per)

    @per.setter
    def per(self, value: timedelta) -> None:
        self.limit(self._size, self._rate, value, self._burst)

    @property
    def burst(self) -> int:
        """How many of its jobs may begin at once, after a time in which fewer began; settable to
        an int from 1, else BadArgument.
        """
        return self._burst

    @burst.setter
    def burst(self, value: int) -> None:
        self.limit(self._size, self._rate, self.per, value)

    def limit(self, size: int | None, rate: int | None, per: timedelta | None, burst: int) -> None:
        """Set all at once; see IQuota."""
        self._set(size, rate, per, burst)
        self._quotas.rule_changed(self.name)

    def _set(self, size: int | None, rate: int | None, per: timedelta | None, burst: int) -> None:
        """Set all, of which no job knows yet; raises BadArgument before anything is written."""
        per_micros = None if per is None else _checked_per(self.name, per)
        limits = (
            None if size is None else _checked_number(self.name, "size", size),
            None if rate is None else _checked_number(self.name, "rate", rate),
            per_micros,
            _checked_number(self.name, "burst", burst),
        )
        if size is None and rate is None:
            raise BadArgument(
                f"the size of quota {self.name!r} must be an int from 1, not None: it has no rate"
            )
        if rate is not None and per is None:
            raise BadArgument(
                f"quota {self.name!r} has a rate, but no time that the rate is for; say "
                "per=timedelta(minutes=1), on the command line --per 1m"
            )
        self._size, self._rate, self._per, self._burst = limits
        if rate is not None:
            self._quotas.make_rates()

    @property
    def turns(self) -> Rate | None:
        """Its rate as what counts turns has it, or None."""
        if self._rate is None or self._per is None:
            return None
        return Rate(self._rate, self._per, self._burst)


class Slots(Persistent):
    """The slots of one name: who has one, and what waits for one, or for its turn by a rate.

    `held` is written by who takes or gives back a slot, so of two workers that do so at once one
    conflicts. Who lets a job wait because all are taken reads `held` as current, and counts it in
    `changes`; who finds that none waits reads that as current. So of two who do both at once one
    conflicts, whichever commits first, and two who let jobs wait don't.

    What waits for its turn is looked at once `due`, its key in what waits in the queue's Rates.
    """

    held: frozenset[Holder] = frozenset()
    #: The keys of jobs, and the numbers of the shards in which they are `limited`.
    waiting: LLBTree | None = None
    due: int | None = None
    changes: Length | None = None

    def __init__(self, quotas: Quotas, name: str) -> None:
        self._quotas = quotas
        self.name = name

    @property
    def is_used(self) -> bool:
        """Whether a job has a slot, or waits for one."""
        return bool(self.held) or self.has_waiting

    @property
    def has_waiting(self) -> bool:
        """Whether a job waits for a slot."""
        return self.waiting is not None and self.waiting.maxKey() != SENTINEL

    def take(self, holder: Holder) -> None:
        """Take a slot; there must be one."""
        self.held |= {holder}

    def give_back(self, holder: Holder) -> None:
        """Give a slot back, and let the first job that waits be claimed."""
        self.held -= {holder}
        self.open()

    def has(self, key: int) -> bool:
        """Whether a job of that key waits for a slot."""
        return self.waiting is not None and key in self.waiting

    def wait(self, key: int, shard: int) -> None:
        """Let a job wait, of which the key isn't in `waiting`."""
        if self.waiting is None:
            self.waiting = LLBTree()
            self.waiting[SENTINEL] = 0  # never empty: two who add to it at once can be merged
            self.changes = Length()
        assert self.changes is not None
        self.waiting[key] = shard
        self.changes.change(1)
        read_as_current(self)
        self._wait_for_turn()

    def _wait_for_turn(self) -> None:
        """Let what waits be looked at when there is room, unless that is when a slot is free."""
        quota = self._quotas.rule(self.name)
        if quota is not None and quota.turns is not None and self.is_free(quota):
            rates = self._quotas.rates
            rates.wake(self, rates.next_turn(self.name, quota.turns, clock.now()))

    def is_free(self, quota: Quota) -> bool:
        """Whether a slot is free."""
        return quota.size is None or len(self.held) < quota.size

    def stop_waiting(self, key: int) -> None:
        """Let a job wait no more that was taken out."""
        assert self.waiting is not None
        del self.waiting[key]

    def open(self, most: int = 1) -> list[Shard]:
        """Let up to `most` of the jobs that wait be claimed, the first by key, if a slot is free
        and it is their turn; the shards that have them.

        A claim looks again: that more are let go than there are slots harms nothing. What nobody
        uses any more is dropped.
        """
        room = self._quotas.room(self.name)
        if room <= 0:
            if self.has_waiting:
                self._wait_for_turn()
            else:
                self._nothing_waits()
            return []
        most = min(most, room)
        opened = []
        while most > 0 and self.waiting is not None and self.has_waiting:
            key = self.waiting.minKey(SENTINEL + 1)
            shard = self._quotas.queue.shards[self.waiting.pop(key)]
            opened.append(shard)
            most -= shard.admit(key)  # one that is parked by that doesn't keep others waiting
        if most > 0:
            self._nothing_waits()
        return opened

    def _nothing_waits(self) -> None:
        if self.changes is not None:
            read_as_current(self.changes)  # who begins to wait meanwhile relies on us
        self._quotas.drop_unused(self)

    def rule_changed(self) -> None:
        """Let as many be claimed as are free by now."""
        self._p_changed = True  # who lets a job wait at the same time goes by the old size
        waiting = 0 if self.waiting is None else len(self.waiting)  # and one that isn't there
        self.open(max(1, min(waiting, self._quotas.room(self.name))))


@implementer(IQuotas)
class Quotas(Persistent):
    """The quotas of a queue by name; see IQuotas."""

    def __init__(self, queue: Queue) -> None:
        self.queue = queue
        self._quotas = OOBTree()
        self._slots = OOBTree()  # by the names that jobs have
        #: How often slots were made: who changes a rule reads it as current, for slots that are
        #: made meanwhile go by the old one.
        self._made = Length()

    def create(
        self,
        name: str,
        size: int | None = None,
        rate: int | None = None,
        per: timedelta | None = None,
        burst: int = 1,
    ) -> Quota:
        """Make a quota, and return it; see IQuotas."""
        _check_name(name)
        if name in self._quotas:
            raise BadArgument(
                f"{spoken(self.queue.name)} has a quota {name!r} already; change its limits, or "
                "remove it first"
            )
        quota = Quota(self, name)
        quota._set(1 if size is None and rate is None else size, rate, per, burst)
        self._quotas[name] = quota
        self.rule_changed(name)
        return quota

    def __getitem__(self, name: str) -> Quota:
        quota: Quota = self._quotas[name]
        return quota

    def get(self, name: str) -> Quota | None:
        """The quota of that name, or None."""
        quota: Quota | None = self._quotas.get(name)
        return quota

    def __delitem__(self, name: str) -> None:
        del self._quotas[name]
        self.rule_changed(name)

    def __contains__(self, name: object) -> bool:
        return name in self._quotas

    def __iter__(self) -> Iterator[str]:
        return iter(self._quotas)

    def __len__(self) -> int:
        return len(self._quotas)

    def __bool__(self) -> bool:
        return bool(self._quotas)

    # For jobs

    def rule(self, name: str) -> Quota | None:
        """The quota that a job of that name follows: the one of the very name, else a pattern."""
        quota: Quota | None = self._quotas.get(name)
        if quota is None and ":" in name:
            quota = self._quotas.get(name.partition(":")[0] + _PATTERN)
        return quota

    def check(self, names: Iterable[str], job: object) -> None:
        """Raise UnknownQuota, a ValueError, for a name that no quota is for."""
        for name in names:
            if self.rule(name) is None or name.endswith(_PATTERN):
                known = ", ".join(map(repr, self._quotas)) or "none"
                raise UnknownQuota(
                    f"{spoken(self.queue.name)} has no quota {name!r} for {job!r} (there are: "
                    f"{known}); make it with queue.quotas.create({name!r}, size=1)"
                )

    def room(self, name: str) -> int:
        """How many jobs of a name may be claimed now, by its slots and its rate."""
        quota = self.rule(name)
        room = sys.maxsize
        if quota is None:
            return room
        if quota.size is not None:
            slots: Slots | None = self._slots.get(name)
            room = quota.size - (0 if slots is None else len(slots.held))
        if room > 0 and quota.turns is not None:
            room = min(room, self.rates.room(name, quota.turns, clock.now()))
        return room

    def full(self, names: Iterable[str]) -> str | None:
        """The first of `names` for which a job has to wait; None if it may be claimed."""
        return next((name for name in names if self.room(name) <= 0), None)

    @property
    def rates(self) -> Rates:
        """What is known of the turns of quotas with a rate."""
        rates = self.queue._rates
        assert rates is not None  # made with the first rate
        return rates

    def make_rates(self) -> None:
        """Let quotas have rates."""
        if self.queue._rates is None:
            self.queue._rates = Rates()

    def slots(self, name: str) -> Slots | None:
        """The slots of a name, if one is held or waited for."""
        slots: Slots | None = self._slots.get(name)
        return slots

    def slots_for(self, name: str) -> Slots:
        """The slots of a name, made if need be."""
        slots: Slots | None = self._slots.get(name)
        if slots is None:
            slots = self._slots[name] = Slots(self, name)
            self._made.change(1)
        return slots

    def all_slots(self) -> list[Slots]:
        """Those of which one is held or waited for."""
        return list(self._slots.values())

    def take(self, names: Iterable[str], holder: Holder) -> tuple[tuple[Slots, ...], Turn | None]:
        """Take a slot of each of `names`, which must be free, and a turn of each that has a rate;
        what the slots are of, and the turn.

        A name that is limited no more has none.
        """
        taken = []
        turn: Turn | None = None
        now = 0
        for name in names:
            quota = self.rule(name)
            slots: Slots | None = self._slots.get(name)
            if quota is None or quota.size is not None:
                if slots is None and quota is not None:
                    slots = self.slots_for(name)
                if slots is not None:
                    slots.take(holder)
                    taken.append(slots)
            if quota is not None and quota.turns is not None:
                now = now or clock.now()
                turn = _both(turn, self.rates.take(name, quota.turns, now))
                if slots is not None:
                    slots.open()
        return tuple(taken), turn

    def move_turn(self, names: Iterable[str], at: int) -> Turn | None:
        """Take a turn in place of the one that a job of `names` has taken at `at`, and hasn't
        begun in; None if it has to wait for another one.
        """
        now = clock.now()
        turn = Turn(now, _FOREVER)
        for name in names:
            quota = self.rule(name)
            if quota is not None and quota.turns is not None:
                moved = self.rates.move(name, quota.turns, at, now)
                if moved is None:
                    return None
                turn = _both(turn, moved)
        return turn

    def another_turn(self, names: Sequence[str]) -> Turn | None:
        """Take another turn for a job that has begun; None if it has to wait for that."""
        now = clock.now()
        turn = Turn(now, _FOREVER)
        rated = [
            (name, quota.turns)
            for name in names
            if (quota := self.rule(name)) is not None and quota.turns is not None
        ]
        if any(self.rates.room(name, rate, now) <= 0 for name, rate in rated):
            return None
        for name, rate in rated:
            turn = _both(turn, self.rates.take(name, rate, now))
        return turn

    def drop_old_turns(self) -> None:
        """Forget turns that count no more."""
        if self.queue._rates is not None:
            self.rates.drop_old(clock.now())

    def passed(self, names: Iterable[str]) -> None:
        """Let another one be claimed for each of `names` that has a free slot: a job that could
        have had it doesn't take it.
        """
        for name in names:
            slots = self._slots.get(name)
            if slots is not None:
                slots.open()

    def rule_changed(self, name: str) -> None:
        """Let jobs be claimed that a quota of that name, or a pattern, holds back no more."""
        read_as_current(self._made)
        if not name.endswith(_PATTERN):
            found = [self._slots.get(name)]
        else:
            prefix = name[:-1]
            found = list(self._slots.values(prefix, prefix + "\U0010ffff"))
        for slots in found:
            if slots is not None:
                slots.rule_changed()

    def drop_unused(self, slots: Slots) -> None:
        """Forget the slots of a name of which there may be many, once nobody has one."""
        name = slots.name
        if name not in self._quotas and not slots.is_used and self._slots.get(name) is slots:
            del self._slots[name]
            slots._p_changed = True  # who takes one meanwhile conflicts
            if slots.due is not None:
                self.rates.forget(slots)


def checked_names(names: object) -> tuple[str, ...]:
    """`names` as names of quotas, each once; TypeError for what can't be."""
    if isinstance(names, str) or not isinstance(names, Iterable):
        raise TypeError(f"quota_names takes a list of names, not {names!r}; write [{names!r}]")
    found = tuple(dict.fromkeys(names))
    for name in found:
        if not isinstance(name, str):
            raise TypeError(f"the name of a quota is a str, not {name!r}")
    return tuple(str(name) for name in found)


def _check_name(name: object) -> None:
    if not isinstance(name, str):
        raise BadArgument(f"the name of a quota is a str, not {name!r}")
    if "*" in name and (name.count("*") > 1 or not name.endswith(_PATTERN)):
        raise BadArgument(f"a * in the name of a quota comes last, after a colon, not as {name!r}")
    if name.endswith(_PATTERN) and name.count(":") > 1:
        raise BadArgument(f"a quota with * has one colon, not as {name!r}")


def _checked_number(name: str, what: str, number: object) -> int:
    if not isinstance(number, int) or isinstance(number, bool) or number < 1:
        raise BadArgument(f"the {what} of quota {name!r} must be an int from 1, not {number!r}")
    return int(number)


def _checked_per(name: str, per: object) -> int:
    most = timedelta(days=defaults.RATE_MOST_DAYS)
    if not isinstance(per, timedelta) or not timedelta(seconds=1) <= per <= most:
        raise BadArgument(
            f"the rate of quota {name!r} is per a timedelta of at least a second and at most "
            f"{most.days} days, not {per!r}"
        )
    return per // _MICROSECOND


def _both(turn: Turn | None, other: Turn) -> Turn:
    return other if turn is None else Turn(turn.at, min(turn.until, other.until))
