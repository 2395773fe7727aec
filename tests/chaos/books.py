"""The check of the books: every job ended once, and its effects are there once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from itertools import islice
from typing import Any

from BTrees.Length import Length

import zodbjobs
from chaos import work
from zodbjobs.stored.lifecycle import tallies
from zodbjobs.stored.lifecycle.history import minutes_of
from zodbjobs.stored.lifecycle.keys import SENTINEL

Make = Callable[[Length, work.Ledger, int], zodbjobs.Job]

_BATCH = 250


def run_job(counter: Length, ledger: work.Ledger, number: int) -> zodbjobs.Job:
    """An ordinary job."""
    return zodbjobs.Job(work.run, counter, ledger, number)


def together_job(counter: Length, ledger: work.Ledger, number: int) -> zodbjobs.Job:
    """One that shares its commit with others."""
    job = run_job(counter, ledger, number)
    job.transactional = True
    return job


def read_job(counter: Length, ledger: work.Ledger, number: int) -> zodbjobs.Job:
    """A job that writes nothing."""
    return zodbjobs.Job(work.read)


def open_books(db: Any) -> None:
    """Install the queues, and lay out an empty ledger."""
    zodbjobs.install(db)
    with db.transaction() as connection:
        connection.root()["ledger"] = work.Ledger()


def fill(db: Any, numbers: Iterable[int], make: Make = run_job, queue: str = "") -> list[str]:
    """Put a job for each number; returns their ids."""
    todo = list(numbers)
    ids: list[str] = []
    while todo:
        batch, todo = todo[:_BATCH], todo[_BATCH:]
        with db.transaction() as connection:
            ledger = connection.root()["ledger"]
            jobs = [make(Length(), ledger, number) for number in batch]
            zodbjobs.get_queue(connection, queue).put_many(jobs)
            ids += [zodbjobs.get_job_id(job) for job in jobs]
    return ids


class Books:
    """What the database says, all in one snapshot."""

    def __init__(self, connection: Any) -> None:
        self.ledger: work.Ledger = connection.root()["ledger"]
        self.queues = zodbjobs.get_queues(connection)
        self.shards = [shard for queue in self.queues.values() for shard in queue.shards]

    def finished(self) -> int:
        """How many jobs are in the history."""
        return sum(shard.history_length() for shard in self.shards)

    def leased(self) -> list[Any]:
        """The jobs that workers hold."""
        workers = self.queues.workers.values()
        return [job for w in workers for job in w.lease.values(SENTINEL + 1)]

    def pids(self) -> set[int]:
        """The processes that have a worker's record."""
        return {record.pid for record in self.queues.workers.values()}

    def waiting(self) -> int:
        """How many jobs wait."""
        return sum(len(queue) for queue in self.queues.values())

    def parked(self) -> int:
        """How many jobs are parked."""
        return sum(len(shard.parked) for shard in self.shards)

    def state(self) -> str:
        """Where the jobs are, for people."""
        where = f"{self.finished()} in the history, {self.waiting()} wait, {self.parked()} parked"
        leases = [
            f"process {w.pid} holds {len(w.lease) - 1}" for w in self.queues.workers.values()
        ]
        return ", ".join([where, *leases])

    def ended(self) -> list[zodbjobs.Job]:
        """The jobs of the history."""
        return [job for shard in self.shards for job in shard.history.values()]

    def conflicts(self) -> int:
        """How many attempts were made again."""
        return sum(max(0, job.attempts - 1) for job in self.ended())

    def interruptions(self) -> int:
        """How often a job was interrupted."""
        return sum(job.interruptions for job in self.ended())

    # The check

    def faults(self, ids: list[str], outcomes: Mapping[str, int]) -> list[str]:
        """What is wrong, given the jobs that were put and how many end how; all are over."""
        ended = self.ended()
        return [
            *_differences("the history", Counter(j.id for j in ended), Counter(ids)),
            *_differences("the outcomes", Counter(j.outcome for j in ended), Counter(outcomes)),
            *_examples(j for j in ended if j.outcome not in outcomes),
            *_examples(j for j in ended if j.outcome == "succeeded" and not j.result),
            *self._faults_of_effects([j for j in ended if work.Ledger in map(type, j.args)]),
            *self._faults_of_places(len(ended)),
            *self._faults_of_slots(),
        ]

    def _faults_of_effects(self, writers: list[zodbjobs.Job]) -> list[str]:
        faults = []
        succeeded = []
        for job in writers:
            counter, _, number = job.args[:3]
            done = job.outcome == "succeeded"
            if done:
                succeeded.append((job, number))
            if counter() != done:
                faults.append(f"job {job.id} {job.outcome}, and its counter is {counter()}")
        entries = Counter(list(self.ledger.entries))
        expected = Counter(f"{job.id} {job.result}" for job, _ in succeeded)
        marks = Counter(n for _, n in succeeded if n % work.MARK_EVERY == 0)
        return [
            *faults,
            *_differences("the ledger", entries, expected),
            *_differences("its marks", Counter(self.ledger.marks), marks),
        ]

    def _faults_of_places(self, ended: int) -> list[str]:
        """Nothing is left where jobs pass through, and the counters agree."""
        numbers = {
            "waiting jobs": self.waiting(),
            "parked jobs": self.parked(),
            "leased jobs": len(self.leased()),
            "records of workers": len(self.queues.workers),
            "jobs too many by the history's length": self.finished() - ended,
            "jobs too many by the minutes": self._counted() - ended,
            "ends too many by the tallies": self._tallied() - ended,
            "puts too many by the tallies": sum(map(tallies.put_into, self.shards)) - ended,
        }
        return [f"there are {number} {what}" for what, number in numbers.items() if number]

    def _faults_of_slots(self) -> list[str]:
        """No slot of a quota is held, nothing waits for one, and no key is taken."""
        quotas = [queue.quotas for queue in self.queues.values()]
        used = [slots.name for each in quotas for slots in each.all_slots() if slots.is_used]
        return [f"slots of {', '.join(used)} are held or waited for"] if used else []

    def _tallied(self) -> int:
        return sum(sum(tallies.ends_of(shard).outcomes) for shard in self.shards)

    def _counted(self) -> int:
        return sum(done for s in self.shards for _, (done, *_) in minutes_of(s))


def _examples(jobs: Iterable[zodbjobs.Job]) -> list[str]:
    """Some that ended as none was to end."""
    return [f"job {job.id} {job.outcome}: {job.failure or job.result}" for job in islice(jobs, 3)]


def _differences(where: str, found: Counter[Any], expected: Counter[Any]) -> list[str]:
    faults = []
    for name, difference in (("lacks", expected - found), ("has too much", found - expected)):
        if difference:
            some = ", ".join(f"{key!r}: {n}" for key, n in difference.most_common(3))
            faults.append(f"{where} {name} {difference.total()}: {some}")
    return faults
