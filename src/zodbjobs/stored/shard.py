"""One of the independent parts of a queue, with the trees that a job passes through.

inbox -> ready (or scheduled, then ready) -> a worker's lease -> history. A job whose worker
died goes to `interrupted`, one that can't be run with the code that is there to `parked`. One
with quotas goes to `admitted` instead of `ready`, or waits for a slot in `limited`.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import TYPE_CHECKING, Any

from BTrees.Length import Length
from BTrees.LOBTree import LOBTree
from persistent import Persistent

from zodbjobs import defaults
from zodbjobs.stored.bundle import Bundle
from zodbjobs.stored.lifecycle import keys, tallies, telling
from zodbjobs.stored.lifecycle.completion import key_of
from zodbjobs.stored.lifecycle.entries import Entry, deadline_for, job_of, too_late
from zodbjobs.stored.lifecycle.history import HISTORY_TIE, TIE_MASK
from zodbjobs.stored.lifecycle.keys import LAST, SENTINEL
from zodbjobs.stored.lifecycle.storable import can_be_stored
from zodbjobs.stored.trees import lasting_tree

if TYPE_CHECKING:
    from zodbjobs.stored.job import Job
    from zodbjobs.stored.queue import Queue


class Shard(Persistent):
    """A part of a queue. Producers write its inboxes, workers the rest."""

    #: What agents have refused that is ready: names of filters -> key -> Job. See `refused`.
    refused: Any = None

    def __init__(self, queue: Queue, index: int, inboxes: int) -> None:
        self.queue = queue
        self.index = index
        self.inboxes = tuple(lasting_tree() for _ in range(inboxes))
        self.ready = LOBTree()  # key -> Job, Bundle or Entry
        self.scheduled = LOBTree()  # scheduled key -> Job, Bundle or Entry
        self.interrupted = LOBTree()  # key -> Entry
        self.admitted = LOBTree()  # may take the slots of its quotas: key -> Entry
        self.limited = lasting_tree()  # key -> Entry, the name of the quota that is full
        self.parked = LOBTree()  # key -> Job
        self.blocked = lasting_tree()  # what waits for other jobs: key -> Job
        self.waiting = lasting_tree()  # what has returned another job: key -> Job
        # Of what is blocked, limited or refused: microseconds, tie -> key, Job
        self.deadlines = lasting_tree()
        self.history = LOBTree()  # end in microseconds, tie -> Job
        self.history_length = Length()
        # Of the history what ended without success, under the same keys
        self.unsuccessful = lasting_tree()
        self.unsuccessful_length = Length()
        # minute -> (finished, failed, microseconds of work), and two more in some: see `history`
        self.minutes = LOBTree()
        self.id_keepers = LOBTree()  # object id -> IdKeeper

    @property
    def name(self) -> tuple[str, int]:
        """The name of its queue, and its number there: how a job names it."""
        return self.queue.name, self.index

    # From the inboxes to ready and scheduled

    def drain(self, now: int, room: int) -> int:
        """File what the inboxes hold and what has become due, for a claim of `room` jobs.

        Returns the key up to which nothing is missing from `ready`: a long inbox is
        drained in several transactions.
        """
        complete = LAST
        if self.deadlines.maxKey() != SENTINEL:
            self._release_expired(now)
        filled = [inbox for inbox in self.inboxes if inbox.maxKey() != SENTINEL]
        # Each claim also writes the inner nodes of a long inbox, so it had better be a large one.
        most = max(defaults.DRAIN_PER_INBOX, room // max(1, len(filled)))
        for inbox in filled:
            batch = list(islice(inbox.items(SENTINEL + 1), most))
            for key, item in batch:
                del inbox[key]
                self.file(key, item)
            tallies.left(inbox, sum(tallies.size_of(item) for _, item in batch))
            if inbox.maxKey() != SENTINEL:
                complete = min(complete, inbox.minKey(SENTINEL + 1) - 1)
        self._promote(now, max(defaults.DRAIN_PER_INBOX, room))
        return complete

    def file(self, key: int, item: Any) -> None:
        """Put a job, an entry of one, or a bundle of jobs, to where it waits."""
        if isinstance(item, Bundle):
            # Its jobs aren't looked at: there may be many bundles, and time for one claim.
            self._file_bundle(item.lowest, item)
        elif keys.is_for_later(key):
            place = keys.free_scheduled_key(self.scheduled, keys.scheduled_key(key))
            if self.rekey(job_of(item), key, keys.from_scheduled(place)):
                self.scheduled[place] = item
        else:
            self.make_ready(key, item)

    def _file_bundle(self, first: int | None, bundle: Bundle) -> None:
        if first is None:
            return
        if bundle.for_later:
            self.scheduled[keys.free_scheduled_key(self.scheduled, first)] = bundle
        else:
            self.ready[keys.free_key(self.ready, first)] = bundle

    def make_ready(self, key: int, item: Any) -> None:
        """Put a due job, or an entry of one, to where claims look for it."""
        tree = self.ready
        if type(item) is tuple:
            entry = Entry(*item)
            if entry.names:
                self._limit(key, entry)
                return
            if entry.times:
                tree = self.interrupted  # few of these run together
        free = keys.free_key(tree, key)
        if free != key and self._makes_room(tree, key):
            free = keys.free_key(tree, key)
        if self.rekey(job_of(item), key, free):
            tree[free] = item

    def _makes_room(self, tree: Any, key: int) -> bool:
        """File a bundle under its first key that stands under that of a job which it has no more:
        that one has come back. Returns whether there was such a bundle.
        """
        item = tree[key]
        if not isinstance(item, Bundle) or item.first() == key:
            return False
        del tree[key]
        self._file_bundle(item.first(), item)
        return True

    # What has quotas

    def _limit(self, key: int, entry: Entry) -> None:
        """Let a job be claimed whose quotas have a free slot, else wait for the first one."""
        full = self.queue.quotas.full(entry.names or ())
        if full is None:
            free = keys.free_key(self.admitted, key)
            if self.rekey(entry.job, key, free):
                self.admitted[free] = entry.item()
            return
        slots = self.queue.quotas.slots_for(full)
        free = keys.free_key(self.limited, key)
        while slots.has(free):  # another shard's job has the same key
            free = keys.free_key(self.limited, free + 1)
        if not self.rekey(entry.job, key, free):
            return
        self.limited[free] = (*entry.item(), slots.name)
        slots.wait(free, self.index)
        if entry.deadline is not None:
            self.add_deadline(entry.deadline, free, entry.job)

    def admit(self, key: int) -> bool:
        """Let a job be claimed that waited for a slot; whether it may be, and isn't parked."""
        *entry, _ = self.limited.pop(key)
        free = keys.free_key(self.admitted, key)
        if not self.rekey(entry[1], key, free):
            return False
        self.admitted[free] = tuple(entry)
        return True

    def refuse(self, key: int) -> bool:
        """Let a job wait that was admitted, if its quotas have no free slot by now; whether."""
        entry = Entry(*self.admitted[key])
        names = entry.names or ()
        if self.queue.quotas.full(names) is None:
            return False
        del self.admitted[key]
        self._limit(key, entry)
        self.queue.quotas.passed(names)
        return True

    def is_limited(self, key: int, job: Job) -> bool:
        """Whether `job` waits here for a slot."""
        return self.limiting(key, job) is not None

    def limiting(self, key: int, job: Job) -> str | None:
        """The name of the quota of which `job` waits for a slot, or None."""
        found = self.limited.get(key)
        return found[-1] if found is not None and job_of(found) is job else None

    def _unlimit(self, key: int) -> None:
        """Take out a job that waits for a slot."""
        slots = self.queue.quotas.slots(self.limited.pop(key)[-1])
        if slots is not None:
            slots.stop_waiting(key)

    def park(self, key: int, job: Job) -> None:
        """Put a job aside that can't be run here; it may be one that can't even be loaded."""
        self.parked[keys.free_key(self.parked, key)] = job
        telling.parked(self, job)

    def rekey(self, job: Job, key: int, free: int) -> bool:
        """Write the key under which a job is filed, if that is another one; whether it could
        be. A job that can't be written is parked.
        """
        if free == key:
            return True
        if not can_be_stored(job):
            self.park(key, job)
            return False
        job._place(self, free)
        return True

    def _promote(self, now: int, most: int) -> None:
        last = keys.last_scheduled(now)
        due = list(islice(self.scheduled.items(None, last), most))
        for place, item in due:
            del self.scheduled[place]
            if isinstance(item, Bundle):
                for job_place, job in item.take(last, most):
                    self.make_ready(keys.from_scheduled(job_place), job)
                self._file_bundle(item.first(), item)
            else:
                self.make_ready(keys.from_scheduled(place), item)

    def next_due(self) -> int | None:
        """When the first scheduled job is due, or the first that is blocked, limited or refused
        expires, in microseconds; None if there is none.
        """
        due = keys.scheduled_micros(self.scheduled.minKey()) if self.scheduled else None
        if self.deadlines.maxKey() == SENTINEL:
            return due
        expires: int = (self.deadlines.minKey(SENTINEL + 1) >> HISTORY_TIE) + 1
        return expires if due is None else min(due, expires)

    # What waits for other jobs

    def add_deadline(self, deadline: int, key: int, job: Job) -> None:
        """Let a job that claims pass over be looked at once it may not be begun any more."""
        place = deadline << HISTORY_TIE
        while not self.deadlines.insert(place, (key, job)):
            place = self.deadlines.maxKey(place | TIE_MASK) + 1

    def is_blocked(self, key: int, job: Job) -> bool:
        """Whether `job` waits here for others."""
        return self.blocked.get(key) is job

    def unblock(self, key: int, job: Job) -> bool:
        """Take out a job that waits for others; whether it was here."""
        if not self.is_blocked(key, job):
            return False
        del self.blocked[key]
        return True

    def make_wait(self, key: int, job: Job) -> None:
        """Put a job aside that waits for the one that it has returned."""
        free = keys.free_key(self.waiting, key)
        if self.rekey(job, key, free):
            self.waiting[free] = job

    def is_waiting(self, key: int, job: Job) -> bool:
        """Whether `job` waits here for the one that it has returned."""
        return self.waiting.get(key) is job

    def unwait(self, key: int, job: Job) -> bool:
        """Take out a job that waits for the one that it has returned; whether it was here."""
        if not self.is_waiting(key, job):
            return False
        del self.waiting[key]
        return True

    def _release_expired(self, now: int) -> None:
        """Let those run, to their end as expired, that may not be begun any more."""
        last = (now << HISTORY_TIE) - 1
        expired = list(islice(self.deadlines.items(SENTINEL + 1, last), defaults.DRAIN_PER_INBOX))
        for place, (key, job) in expired:
            del self.deadlines[place]
            if self.is_limited(key, job):
                if not _is_past(Entry(*self.limited[key][:-1]).deadline, now):
                    continue
                self._unlimit(key)
            else:
                if self.refused is not None and not self.is_blocked(key, job):
                    key = key_of(job)  # each filter that refuses it may have given it another
                tree = self.blocked if self.is_blocked(key, job) else self.refusing(key, job)
                if tree is None or not _is_past(deadline_for(job), now):
                    continue
                del tree[key]
                if tree is self.blocked:
                    tallies.left(tree, 1)
            self.make_ready(key, too_late(job))

    def refusing(self, key: int, job: Job) -> Any:
        """The tree of what the same filters have refused that has `job` under `key`, or None."""
        trees = () if self.refused is None else self.refused.values()
        return next((tree for tree in trees if job_of(tree.get(key)) is job), None)

    # From ready to a lease

    def readies(self) -> tuple[Any, ...]:
        """The trees with what may be claimed, by key, also those that filters have refused."""
        trees = (self.ready, self.admitted)
        return trees if self.refused is None else (*trees, *self.refused.values())

    def first(self, with_admitted: bool = True) -> int | None:
        """The smallest ready key, or that of one that was admitted; None if there is none.

        It may be that of a bundle: a lower bound.
        """
        first = self.ready.minKey() if self.ready else None
        if with_admitted and self.admitted:
            admitted: int = self.admitted.minKey()
            return admitted if first is None else min(first, admitted)
        return first

    def first_due(self, now: int) -> int | None:
        """The smallest key of a job that may be claimed at `now`, wherever it waits, or None.

        A lower bound where bundles are among them.
        """
        found = [tree.minKey() for tree in (*self.readies(), self.interrupted) if tree]
        for inbox in self.inboxes:
            if inbox.maxKey() != SENTINEL:
                key = inbox.minKey(SENTINEL + 1)
                if not keys.is_for_later(key) or keys.micros_of(key) <= now:
                    found.append(key)
        if self.scheduled and (place := self.scheduled.minKey()) <= keys.last_scheduled(now):
            found.append(keys.from_scheduled(place))
        return min(found, default=None)

    def take(self, last: int, limit: int) -> list[tuple[int, Any]]:
        """Take out up to `limit` ready jobs, or entries, with keys up to `last`, in order."""
        taken: list[tuple[int, Any]] = []
        ready = self.ready
        while ready and len(taken) < limit:
            key = ready.minKey()
            if key > last:
                break
            item = ready[key]
            if not isinstance(item, Bundle):
                del ready[key]
                taken.append((key, item))
                continue
            first = item.first()
            bound = min(last, next(iter(ready.keys(key + 1)), LAST))
            if first is not None and first <= bound:
                taken.extend(item.take(bound, limit - len(taken)))
                first = item.first()
            if first is None or first > bound:
                del ready[key]
                self._file_bundle(first, item)
        return taken

    # Where a job is

    def has_parked(self, key: int, job: Job) -> bool:
        """Whether `job` is among the parked ones."""
        return self._parked_place(key, job) is not None

    def _parked_place(self, key: int, job: Job) -> int | None:
        # A record that is lost doesn't tell its key.
        found = self.parked.items(key, keys.last_like(key)) if key else self.parked.items()
        return next((place for place, parked in found if parked is job), None)

    def has(self, key: int, job: Job) -> bool:
        """Whether `job` waits here, or is parked here."""
        return self._find(key, job) is not None

    def discard(self, key: int, job: Job) -> bool:
        """Take a waiting or parked job out, wherever it is; whether it was here."""
        found = self._find(key, job)
        if found is None:
            return False
        tree, place = found
        if tree is self.limited:
            self._unlimit(place)
            return True
        names = tree[place][2] if tree is self.admitted else None
        del tree[place]
        if tree is self.blocked or tree in self.inboxes:
            tallies.left(tree, 1)
        if names:
            self.queue.quotas.passed(names)
        return True

    def _find(self, key: int, job: Job) -> tuple[Any, int] | None:
        """The tree that has a waiting or parked job, and the key there."""
        parked = self._parked_place(key, job)
        if parked is not None:
            return self.parked, parked
        scheduled = keys.scheduled_key(key)
        trees = (self.interrupted, self.limited, *self.readies(), *self.inboxes)
        waiting = ((self.scheduled, scheduled), *((tree, key) for tree in trees))
        for tree, place in waiting:
            if job_of(tree.get(place)) is job:
                return tree, place
        for bundle in self._bundles_with(key, scheduled):
            if bundle.has(key, job):
                return bundle.jobs, bundle.place(key)
        return (self.blocked, key) if self.is_blocked(key, job) else self.held(key, job)

    def held(self, key: int, job: Job) -> tuple[Any, int] | None:
        """The tree of a pause of the queue that has a job, and the key there."""
        for pause in self.queue._pauses:
            for tree in pause.trees(self.index):
                if job_of(tree.get(key)) is job:
                    return tree, key
        return None

    def _bundles_with(self, key: int, scheduled: int) -> Iterator[Bundle]:
        """The bundles that may have a job of that key, the likeliest first."""
        for tree, place in ((self.ready, key), (self.scheduled, scheduled)):
            # A bundle is filed under a key that isn't larger than those of its jobs, unless that
            # was taken: then under one with another tie.
            for _, item in keys.backwards(tree, keys.last_like(place)):
                if isinstance(item, Bundle):
                    yield item
        for inbox in self.inboxes:
            yield from (item for item in inbox.values() if isinstance(item, Bundle))


def _is_past(deadline: int | None, now: int) -> bool:
    """Whether the deadline of a job that waits is past; it may have lost it, or have another."""
    return deadline is not None and deadline < now
