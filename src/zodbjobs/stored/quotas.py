"""Quotas: how many jobs of a name run at once, over all workers of a queue."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from BTrees.Length import Length
from BTrees.LLBTree import LLBTree
from BTrees.OOBTree import OOBTree
from persistent import Persistent
from zope.interface import implementer

from zodbjobs.errors import BadArgument, UnknownQuota
from zodbjobs.interfaces import IQuota, IQuotas
from zodbjobs.queue_names import spoken
from zodbjobs.stored.lifecycle.current import read_as_current
from zodbjobs.stored.lifecycle.keys import SENTINEL

if TYPE_CHECKING:
    from zodbjobs.stored.queue import Queue

#: Who has a slot: the id of a worker, and the key of the job in its lease.
Holder = tuple[str, int]

_PATTERN = ":*"


@implementer(IQuota)
class Quota(Persistent):
    """How many jobs that name it run at once; see IQuota."""

    def __init__(self, quotas: Quotas, name: str, size: int) -> None:
        self._quotas = quotas
        self.name = name
        self._size = size

    def __repr__(self) -> str:
        return f"<{type(self).__module__}.{type(self).__name__} {self.name!r} of {self._size}>"

    @property
    def size(self) -> int:
        """How many of its jobs run at once; settable while jobs run, which stops none of them.

        Raises BadArgument for anything but an int from 1. Joins the transaction.
        """
        return self._size

    @size.setter
    def size(self, value: int) -> None:
        self._size = _checked_size(self.name, value)
        self._quotas.rule_changed(self.name)


class Slots(Persistent):
    """The slots of one name: who has one, and what waits for one.

    `held` is written by who takes or gives back a slot, so of two workers that do so at once one
    conflicts. Who lets a job wait because all are taken reads `held` as current, and counts it in
    `changes`; who finds that none waits reads that as current. So of two who do both at once one
    conflicts, whichever commits first, and two who let jobs wait don't.
    """

    held: frozenset[Holder] = frozenset()
    #: The keys of jobs, and the numbers of the shards in which they are `limited`.
    waiting: LLBTree | None = None
    changes: Length | None = None

    def __init__(self, quotas: Quotas, name: str) -> None:
        self._quotas = quotas
        self.name = name

    @property
    def is_full(self) -> bool:
        """Whether no slot is free."""
        quota = self._quotas.rule(self.name)
        return quota is not None and len(self.held) >= quota.size

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

    def stop_waiting(self, key: int) -> None:
        """Let a job wait no more that was taken out."""
        assert self.waiting is not None
        del self.waiting[key]

    def open(self, most: int = 1) -> None:
        """Let up to `most` of the jobs that wait be claimed, the first by key, if a slot is free.

        A claim looks again: that more are let go than there are slots harms nothing. What nobody
        uses any more is dropped.
        """
        if self.is_full:
            return
        while most > 0 and self.waiting is not None and self.has_waiting:
            key = self.waiting.minKey(SENTINEL + 1)
            shard = self._quotas.queue.shards[self.waiting.pop(key)]
            most -= shard.admit(key)  # one that is parked by that doesn't keep others waiting
        if most > 0:
            if self.changes is not None:
                read_as_current(self.changes)
            self._quotas.drop_unused(self)  # else who begins to wait meanwhile would be with it

    def rule_changed(self) -> None:
        """Let as many be claimed as are free by now."""
        self._p_changed = True  # who lets a job wait at the same time goes by the old size
        quota = self._quotas.rule(self.name)
        waiting = 0 if self.waiting is None else len(self.waiting)  # and one that isn't there
        self.open(max(1, waiting) if quota is None else quota.size - len(self.held))


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

    def create(self, name: str, size: int = 1) -> Quota:
        """Make a quota, and return it; see IQuotas."""
        _check_name(name)
        if name in self._quotas:
            raise BadArgument(
                f"{spoken(self.queue.name)} has a quota {name!r} already; set its `size`"
            )
        quota = self._quotas[name] = Quota(self, name, _checked_size(name, size))
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

    def full(self, names: Iterable[str]) -> Slots | None:
        """The slots of the first of `names` of which none is free; None if all have a free one."""
        for name in names:
            slots: Slots | None = self._slots.get(name)
            if slots is not None and slots.is_full:
                return slots
        return None

    def slots(self, name: str) -> Slots | None:
        """The slots of a name, if one is held or waited for."""
        slots: Slots | None = self._slots.get(name)
        return slots

    def all_slots(self) -> list[Slots]:
        """Those of which one is held or waited for."""
        return list(self._slots.values())

    def take(self, names: Iterable[str], holder: Holder) -> tuple[Slots, ...]:
        """Take a slot of each of `names`, which must be free, and return what they are of.

        A name that is limited no more has none.
        """
        taken = []
        for name in names:
            slots = self._slots.get(name)
            if slots is None and self.rule(name) is not None:
                slots = self._slots[name] = Slots(self, name)
                self._made.change(1)
            if slots is not None:
                slots.take(holder)
                taken.append(slots)
        return tuple(taken)

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


def _checked_size(name: str, size: object) -> int:
    if not isinstance(size, int) or isinstance(size, bool) or size < 1:
        raise BadArgument(f"the size of quota {name!r} must be an int from 1, not {size!r}")
    return int(size)
