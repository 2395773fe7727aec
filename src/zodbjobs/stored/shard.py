"""One of the independent parts of a queue, with the trees that a job passes through.

inbox -> ready (or held, then ready) -> a worker's lease -> history. A job whose worker
died goes to `rescued`, one whose code is missing to `parked`.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice
from typing import TYPE_CHECKING, Any, cast

from BTrees.Length import Length
from BTrees.LOBTree import LOBTree
from persistent import Persistent
from ZODB.broken import Broken

from zodbjobs import defaults
from zodbjobs.stored import keys
from zodbjobs.stored.ends import shard_from
from zodbjobs.stored.inbox import Bundle
from zodbjobs.stored.keys import LAST, SENTINEL
from zodbjobs.stored.trees import lasting_tree

if TYPE_CHECKING:
    from zodbjobs.stored.job import Job
    from zodbjobs.stored.queue import Queue

#: An ended job, when (microseconds), whether without success, microseconds of work.
Ended = tuple["Job", int, bool, int]

_MINUTE = 60_000_000
_HISTORY_TIE = 10
_TIE_MASK = (1 << _HISTORY_TIE) - 1


class Shard(Persistent):
    """A part of a queue. Producers write its inboxes, workers the rest."""

    def __init__(self, queue: Queue, index: int, inboxes: int) -> None:
        self.queue = queue
        self.index = index
        self.inboxes = tuple(lasting_tree() for _ in range(inboxes))
        self.ready = LOBTree()  # key -> Job or Bundle
        self.held = LOBTree()  # held key -> Job or Bundle
        self.rescued = LOBTree()  # key -> Job
        self.parked = LOBTree()  # key -> Job
        self.history = LOBTree()  # end in microseconds, tie -> Job
        self.history_length = Length()
        self.minutes = LOBTree()  # minute -> (finished, failed, microseconds of work)

    def __getnewargs__(self) -> tuple[()]:
        # The ZODB then refers to a shard by its oid alone, without the class: each job's
        # record has such a reference, and is smaller and faster for it.
        return ()

    # From the inboxes to ready and held

    def drain(self, now: int) -> int:
        """File what the inboxes hold and what has become due.

        Returns the key up to which nothing is missing from `ready`: a long inbox is
        drained in several transactions.
        """
        complete = LAST
        for inbox in self.inboxes:
            if inbox.maxKey() == SENTINEL:
                continue
            batch = list(islice(inbox.items(SENTINEL + 1), defaults.DRAIN_PER_INBOX))
            for key, item in batch:
                del inbox[key]
                self.file(key, item)
            if inbox.maxKey() != SENTINEL:
                complete = min(complete, inbox.minKey(SENTINEL + 1) - 1)
        self._promote(now)
        return complete

    def file(self, key: int, item: Job | Bundle) -> None:
        """Put a job, or a bundle of them, to where it waits."""
        if isinstance(item, Bundle):
            # Its jobs aren't looked at: there may be many bundles, and time for one claim.
            self._file_bundle(item.lowest, item)
        elif keys.is_for_later(key):
            held = keys.held_key(key)
            free_held = keys.free_key(self.held, held)
            self.held[free_held] = item
            if free_held != held:
                item._move(keys.from_held(free_held))
        else:
            self.make_ready(key, item)

    def _file_bundle(self, first: int | None, bundle: Bundle) -> None:
        if first is not None:
            tree = self.held if bundle.for_later else self.ready
            tree[keys.free_key(tree, first)] = bundle

    def make_ready(self, key: int, job: Job) -> None:
        """Put a due job among those that are ready."""
        free = keys.free_key(self.ready, key)
        self.ready[free] = job
        if free != key:
            job._move(free)

    def put_off(self, job: Job) -> None:
        """Hold a job that is to have another attempt until that is due."""
        job._created = job._created_micros()
        key = keys.key_for_later(job.priority, job._retry_at or 0)
        job._retry_at = None
        job._move(key)
        self.file(key, job)

    def make_rescued(self, key: int, job: Job) -> None:
        """Put a job that was interrupted among those that are run one at a time."""
        free = keys.free_key(self.rescued, key)
        self.rescued[free] = job
        if free != key:
            job._move(free)

    def park(self, key: int, job: Job) -> None:
        """Put a job aside that can't be run here; it may be one that can't even be loaded."""
        self.parked[keys.free_key(self.parked, key)] = job

    def _promote(self, now: int) -> None:
        last = keys.last_held(now)
        for held, item in list(islice(self.held.items(None, last), defaults.DRAIN_PER_INBOX)):
            del self.held[held]
            if isinstance(item, Bundle):
                for place, job in item.take(last, defaults.DRAIN_PER_INBOX):
                    self.make_ready(keys.from_held(place), job)
                self._file_bundle(item.first(), item)
            else:
                self.make_ready(keys.from_held(held), item)

    def next_due(self) -> int | None:
        """When the first held job is due, in microseconds; None if none is held."""
        return keys.held_micros(self.held.minKey()) if self.held else None

    # From ready to a lease

    def first(self) -> int | None:
        """The smallest ready key, or None. It may be that of a bundle: a lower bound."""
        return self.ready.minKey() if self.ready else None

    def take(self, last: int, limit: int) -> list[tuple[int, Job]]:
        """Take out up to `limit` ready jobs with keys up to `last`, in order."""
        taken: list[tuple[int, Job]] = []
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

    # From a lease to the history

    def finish(self, ended: Iterable[Ended]) -> None:
        """Book ended jobs: into the history, and onto the counters of their minutes."""
        history = self.history
        minutes: dict[int, tuple[int, int, int]] = {}
        count = 0
        for job, finished, failed, micros in ended:
            place = finished << _HISTORY_TIE
            while not history.insert(place, job):
                place = history.maxKey(place | _TIE_MASK) + 1
            minute = finished // _MINUTE
            done, bad, work = minutes.get(minute, (0, 0, 0))
            minutes[minute] = (done + 1, bad + failed, work + micros)
            count += 1
        for minute, (done, bad, work) in minutes.items():
            before = self.minutes.get(minute, (0, 0, 0))
            self.minutes[minute] = (before[0] + done, before[1] + bad, before[2] + work)
        self.history_length.change(count)

    def forget(self, job: Job, finished: int) -> bool:
        """Take an ended job out of the history; whether it was there."""
        place = self._history_place(job, finished)
        if place is None:
            return False
        del self.history[place]
        self.history_length.change(-1)
        return True

    def has_ended(self, job: Job, finished: int) -> bool:
        """Whether a job that ended then is in the history; False if the connection is closed."""
        is_closed = self._p_jar is not None and self._p_jar.transaction_manager is None
        return not is_closed and self._history_place(job, finished) is not None

    def _history_place(self, job: Job, finished: int) -> int | None:
        first = finished << _HISTORY_TIE
        while True:
            last = first | _TIE_MASK
            for place, found in self.history.items(first, last):
                if found is job:
                    return int(place)
            if last not in self.history:
                return None
            first = last + 1  # so many ended in one microsecond

    def prune(self, before: int, most: int, limit: int) -> int:
        """Drop up to `limit` of the oldest ended jobs: those that ended before `before`
        (microseconds), and those beyond `most`. Returns how many were dropped.
        """
        surplus = self.history_length() - most
        bound = before << _HISTORY_TIE
        places: list[int] = []
        for place in islice(self.history.keys(), limit):
            if place >= bound and len(places) >= surplus:
                break
            places.append(place)
        for place in places:
            del self.history[place]
        if places:
            self.history_length.change(-len(places))
        for minute in list(islice(self.minutes.keys(None, before // _MINUTE - 1), limit)):
            del self.minutes[minute]
        return len(places)

    def has_parked(self, job: Job) -> bool:
        """Whether `job` is among the parked ones."""
        return self._parked_place(job) is not None

    def _parked_place(self, job: Job) -> int | None:
        key = job._key or 0
        for place, found in self.parked.items(key, keys.last_like(key)):
            if found is job:
                return place
        return None

    def discard(self, key: int, job: Job) -> bool:
        """Take a waiting or parked job out, wherever it is; whether it was here."""
        parked = self._parked_place(job)
        if parked is not None:
            del self.parked[parked]
            return True
        trees = (self.ready, self.rescued, *self.inboxes)
        for tree, place in ((self.held, keys.held_key(key)), *((tree, key) for tree in trees)):
            if tree.get(place) is job:
                del tree[place]
                return True
        for tree in (self.ready, self.held, *self.inboxes):
            for item in tree.values():
                if isinstance(item, Bundle) and item.discard(key, job):
                    return True
        return False


def state_of(job: Any) -> dict[str, Any]:
    """The attributes of a stored job, also of one whose class is missing in this process."""
    job._p_activate()
    state: dict[str, Any] = job.__Broken_state__ if isinstance(job, Broken) else vars(job)
    return state


def shard_of(job: Any) -> Shard:
    """The shard of a stored job, also of one whose class is missing in this process."""
    return cast(Shard, shard_from(state_of(job)["_home"]))


def as_ended(job: Any) -> Ended | None:
    """What is to be booked of a job that a lease or `parked` holds; None if it hasn't ended."""
    state = state_of(job)
    finished = state.get("_finished")
    if finished is None:
        return None
    work = finished - (state.get("_started") or finished)
    return job, finished, state.get("_unsuccessful") is not None, work
