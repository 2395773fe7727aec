"""What holds in each snapshot of a database, whatever has happened to its jobs.

`Books` are what the tests note of each job that they make, in the transaction that puts it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from typing import Any, NamedTuple

import zodbjobs
from zodbjobs.interfaces import ACTIVE, ASSIGNED, CALLBACKS, COMPLETED, NEW, PENDING, SUCCEEDED
from zodbjobs.stored.bundle import Bundle
from zodbjobs.stored.gates import Gate
from zodbjobs.stored.lifecycle import after
from zodbjobs.stored.lifecycle.entries import job_of
from zodbjobs.stored.lifecycle.keys import SENTINEL

#: What a job may be: one of its own, one that another one puts, or one that was taken out.
OWN, CALLBACK, PART, REMOVED = "own", "callback", "part", "removed"

WAITING = {
    *("inbox", "ready", "scheduled", "interrupted", "admitted", "limited", "blocked", "paused")
}

#: Where a job is, by its status.
PLACES = {
    NEW: {None},
    PENDING: WAITING,
    ASSIGNED: {"lease"},
    ACTIVE: {"lease", "waiting"},
    CALLBACKS: {"lease", "history"},
    COMPLETED: {"lease", "history"},
}


class Book(NamedTuple):
    """What is noted of a job: its account if it changes one, and what puts it."""

    job: zodbjobs.Job
    account: Any
    kind: str = OWN
    #: The number of the job that it is a callback, or a part, of.
    of: int | None = None


class Snapshot:
    """The queue and the books as a connection has them now."""

    def __init__(self, connection: Any) -> None:
        self.queue = zodbjobs.get_queue(connection, "jobs")
        self.workers = self.queue.parent.workers
        self.books = {n: Book(*each) for n, each in connection.root()["books"].items()}
        self.status = {n: book.job.status for n, book in self.books.items()}

    def check(self) -> None:
        """Raise AssertionError for what may never be."""
        self._check_places()
        self._check_effects()
        self._check_callbacks()
        self._check_gates()
        self._check_slots()
        self._check_unique_keys()
        self._check_job_index()

    def in_shards(self) -> Iterator[tuple[str, Any]]:
        """The names of places, and the jobs there."""
        for shard in self.queue.shards:
            yield from jobs_in(shard)
            assert shard.history_length() == len(shard.history)
            self._check_history(shard)

    def _check_history(self, shard: Any) -> None:
        """What ended without success has an index; the last bit of a key is for the job index."""
        bad = dict(shard.unsuccessful.items(SENTINEL + 1))
        for place, job in shard.history.items():
            assert (place in bad) == (job.outcome != SUCCEEDED), job
            assert (place & 1) == (job._listed is not None), job
            assert bad.pop(place, job) is job
        assert not bad
        assert shard.unsuccessful_length() == len(shard.unsuccessful) - 1

    def _check_job_index(self) -> None:
        """Each job that is put is there under its owner, if it has one, and nothing else is."""
        index = self.queue.parent.job_index
        found = [job for lane in index.lanes for job in lane.values() if job is not None]
        wanted = {
            book.job
            for number, book in self.books.items()
            if book.job.owner is not None and self.status[number] != NEW
        }
        assert len(found) == len(set(found))
        assert set(found) == wanted

    def _check_places(self) -> None:
        """Each job is in one place, which goes with its status; nothing else is anywhere."""
        found: defaultdict[Any, list[str]] = defaultdict(list)
        for name, job in self.in_shards():
            found[job].append(name)
        for worker in self.workers.values():
            for _, job in worker.leased():
                found[job].append("lease")
        for number, book in self.books.items():
            places = found.pop(book.job, [None])
            assert len(places) == 1, (number, self.status[number], places)
            assert places[0] in PLACES[self.status[number]], (number, self.status[number], places)
        assert not found, found

    def _check_effects(self) -> None:
        """What a job did is there once if it has succeeded, else not at all."""
        for number, book in self.books.items():
            if book.account is not None:
                wanted = int(book.job.outcome == SUCCEEDED)
                assert book.account.balance == wanted, (number, book.job.outcome)

    def _check_callbacks(self) -> None:
        """Each was put by the end of its parent, and not before."""
        for number, book in self.books.items():
            if book.kind == CALLBACK and book.of in self.books:
                parent = self.status[book.of]
                if parent == COMPLETED:
                    assert self.status[number] != NEW, (number, book.of)

    def _check_gates(self) -> None:
        """What waits for others waits for one that isn't booked as ended, or for a worker that
        is to count one.
        """
        held = {job for worker in self.workers.values() for _, job in worker.leased()}
        late = {_gated_by(each[3]) for w in self.workers.values() for each in _entries(w.late)}
        for number, book in self.books.items():
            job = book.job
            if job in late:
                continue
            if after.is_blocked(job):
                assert job._predecessors is not None
                before = job._predecessors.jobs
                assert any(b.outcome is None or b in held for b in before), number
            else:
                inner = after.waits_for(job)
                assert inner is None or inner.outcome is None or {inner, job} & held, number

    def _check_slots(self) -> None:
        """Who has a job with quotas in its lease has a slot of each, and nobody else has one."""
        held: defaultdict[str, set[Any]] = defaultdict(set)
        for worker in self.workers.values():
            for key, job in worker.leased():
                if worker.is_too_late(key):
                    continue  # it is only to be ended
                for name in job.quota_names:
                    held[name].add((worker.id, key))
            assert set(worker.slots) <= set(worker.lease)
        waiting: defaultdict[str, dict[int, int]] = defaultdict(dict)
        admitted: defaultdict[str, int] = defaultdict(int)
        for shard in self.queue.shards:
            for key, item in shard.limited.items(SENTINEL + 1):
                waiting[item[-1]][key] = shard.index
            for item in shard.admitted.values():
                for name in item[2]:
                    admitted[name] += 1
        for name in self.queue.quotas:
            slots = self.queue.quotas.slots(name)
            there = {} if slots is None or slots.waiting is None else dict(slots.waiting)
            there.pop(SENTINEL, None)
            assert there == waiting[name], name
            quota = self.queue.quotas[name]
            if quota.rate is not None:
                self._check_turns(quota, slots, bool(there), admitted[name])
            if quota.size is None:
                assert slots is None or not slots.held
                continue
            assert set(() if slots is None else slots.held) == held[name], name
            free = quota.size - len(held[name])
            assert admitted[name] >= min(free, len(there)), f"slots of {name} are free for nobody"

    def _check_turns(self, quota: Any, slots: Any, waits: bool, admitted: int) -> None:
        """What waits for its turn is looked at then, unless one that has it wasn't claimed yet."""
        due = None if slots is None else slots.due
        if due is not None:
            assert self.queue._rates._waiting[due] is slots
        if waits and quota.size is None:
            assert due is not None or admitted, f"nobody looks at {quota.name}"

    def _check_unique_keys(self) -> None:
        """Each names a job that waits, or hasn't ended; two that wait never have the same."""
        keys = self.queue._unique_keys
        names = {book.job.unique for book in self.books.values() if book.job.unique is not None}
        found = {name: keys.get(name) for name in names if keys is not None}
        for name, key in found.items():
            if key is not None:
                assert key.job is not None
                allowed = {PENDING, ASSIGNED, ACTIVE} if key.until_ended else {PENDING}
                assert key.job.status in allowed, (name, key.job.status)
        for number, book in self.books.items():
            own = book.job._unique
            if own is not None and own.job is book.job:
                assert found[own.name] is own, number

    # At the end

    def check_all_over(self) -> None:
        """All have ended that were put, and nothing of them is left anywhere."""
        for number, book in self.books.items():
            status = self.status[number]
            if status == NEW:
                assert book.kind != OWN, number
                above = None if book.of is None else self.books.get(book.of)
                if above is not None and book.kind == CALLBACK:
                    assert above.job.status == NEW, (number, "is a callback that was forgotten")
                if above is not None and book.kind == PART:
                    assert above.job.outcome != SUCCEEDED, (number, "is a part that was forgotten")
            else:
                assert status == COMPLETED, (number, status)
        assert [each for each in self.in_shards() if each[0] != "history"] == []
        assert list(self.workers) == []
        for name in self.queue.quotas:
            slots = self.queue.quotas.slots(name)
            assert slots is None or not slots.is_used, name
        keys = self.queue._unique_keys
        left = [book.job.unique for book in self.books.values() if book.job.unique is not None]
        assert keys is None or not any(map(keys.get, left))


SHARD_TREES = (
    *("ready", "scheduled", "interrupted", "admitted", "limited", "parked", "blocked"),
    *("waiting", "history"),
)


def _entries(tree: Any) -> list[Any]:
    """The values of a tree but for its sentinel."""
    return list(tree.values(SENTINEL + 1))


def _gated_by(follower: Any) -> Any:
    """The job that waits behind what was added, if that is a gate."""
    return follower.job if isinstance(follower, Gate) else None


def jobs_in(shard: Any) -> Iterator[tuple[str, Any]]:
    """The names of places in a shard, and the jobs there."""
    trees = [("inbox", inbox) for inbox in shard.inboxes]
    trees += [(name, getattr(shard, name)) for name in SHARD_TREES]
    trees += [("ready", tree) for tree in (shard.refused or {}).values()]
    for pause in shard.queue.pauses:
        trees += [("paused", tree) for tree in pause.trees(shard.index)]
    for name, tree in trees:
        for item in tree.values():
            yield from ((name, job) for job in _jobs_of(item))


def unended(queue: Any) -> int:
    """How many jobs a queue has that aren't booked in its history."""
    places = [name for shard in queue.shards for name, _ in jobs_in(shard)]
    leased = sum(len(worker.leased()) for worker in queue.parent.workers.values())
    return sum(name != "history" for name in places) + leased


def _jobs_of(item: Any) -> list[Any]:
    """The jobs of what stands in a tree; none for a sentinel."""
    if isinstance(item, Bundle):
        return list(item.jobs.values())
    return [] if item is None or isinstance(item, int) else [job_of(item)]
