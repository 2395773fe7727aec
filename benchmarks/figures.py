"""What zodbjobs does with the same storage; see FILE_FIGURES for what each is measured against."""

from __future__ import annotations

import contextlib
import os
import random
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import bench_jobs
import floor
import transaction
import ZODB
from bench_jobs import Thing
from BTrees.LOBTree import LOBTree
from ZODB.FileStorage import FileStorage
from ZODB.POSException import ConflictError

import zodbjobs
from zodbjobs.interfaces import SUCCEEDED

Values = dict[str, float]


class Figure(NamedTuple):
    """`measure` gives one round's values; the first is compared with `target`."""

    name: str
    measure: Callable[[], Values]
    target: str
    reached: Callable[[Values], bool]


@contextlib.contextmanager
def database(folder: str | None = None) -> Iterator[Any]:
    """A FileStorage in an empty folder, with the queues in it."""
    with tempfile.TemporaryDirectory() as made:
        db = ZODB.DB(FileStorage(str(Path(folder or made) / "Data.fs")))
        zodbjobs.install(db)
        try:
            yield db
        finally:
            db.close()


def put_many(db: Any, jobs: list[Any], batch: int = 10_000) -> None:
    """Put jobs, `batch` in a commit."""
    connection = db.open()
    queue = zodbjobs.get_queue(connection)
    for start in range(0, len(jobs), batch):
        queue.put_many(jobs[start : start + batch])
        transaction.commit()
    connection.close()


def ended(db: Any) -> int:
    """How many jobs the history has."""
    manager = transaction.TransactionManager()
    connection = db.open(manager)
    queue = zodbjobs.get_queue(connection)
    number = sum(shard.history_length() for shard in queue.shards)
    connection.close()
    return number


def run_until(db: Any, number: int, **options: Any) -> float:
    """Start a worker; seconds until `number` jobs are booked as ended.

    What has ended is counted only while nothing is committed, for counting keeps the worker
    from its work; the last commit before that is the end.
    """
    last = None
    start = time.perf_counter()
    with zodbjobs.Worker(db, **options):
        while True:
            now = time.perf_counter()
            if last != (last := db.lastTransaction()):
                changed = now
            elif ended(db) >= number:
                return changed - start
            time.sleep(0.02)


Open = Callable[[], contextlib.AbstractContextManager[Any]]


def ratio(
    ours: Callable[[Any], float], base: Callable[[Any], float], empty: Open = database
) -> Values:
    """Both in one round, each in an `empty` database, in an order drawn by lot."""
    rates = {}
    both = [("ours", ours), ("floor", base)]
    random.shuffle(both)
    for name, measure in both:
        with empty() as db:
            rates[name] = measure(db)
    return {"ratio": rates["ours"] / rates["floor"], **rates}


def drain(number: int = 20_000, batch: int = 10_000) -> Values:
    """No-op jobs with results, put `batch` in a commit."""

    def ours(db: Any) -> float:
        put_many(db, [bench_jobs.nothing] * number, batch)
        return number / run_until(db, number)

    return ratio(ours, lambda db: floor.update(db, number, floor.BATCH))


def drain_single() -> Values:
    """No-op jobs that were put one by one."""
    return drain(10_000, batch=1)


def one_put(number: int = 2_000) -> Values:
    """One put in a commit, no worker."""

    def ours(db: Any) -> float:
        connection = db.open()
        queue = zodbjobs.get_queue(connection)
        start = time.perf_counter()
        for _ in range(number):
            queue.put(bench_jobs.nothing)
            transaction.commit()
        seconds = time.perf_counter() - start
        connection.close()
        return number / seconds

    return ratio(ours, lambda db: floor.add(db, number, 1))


def bulk_put(number: int = 10_000) -> Values:
    """All puts in one commit, no worker."""

    def ours(db: Any) -> float:
        connection = db.open()
        queue = zodbjobs.get_queue(connection)
        start = time.perf_counter()
        for _ in range(number):
            queue.put(bench_jobs.nothing)
        transaction.commit()
        seconds = time.perf_counter() - start
        connection.close()
        return number / seconds

    return ratio(ours, lambda db: floor.add(db, number, floor.BATCH))


def writers(number: int = 2_000) -> Values:
    """Jobs that write one object each; each effect is counted at the end."""

    def ours(db: Any) -> float:
        connection = db.open()
        things = connection.root()["things"] = LOBTree({n: Thing() for n in range(number)})
        transaction.commit()
        jobs = [zodbjobs.Job(thing.change) for thing in things.values()]
        zodbjobs.get_queue(connection).put_many(jobs)
        transaction.commit()
        connection.close()
        seconds = run_until(db, number)
        connection = db.open()
        queue = zodbjobs.get_queue(connection)
        assert all(thing.value == 1 for thing in connection.root()["things"].values())
        assert all(job.outcome == SUCCEEDED for job in queue.finished())
        connection.close()
        return number / seconds

    return ratio(ours, lambda db: floor.update(db, number, 1))


def latency(number: int = 300) -> Values:
    """Milliseconds from the commit of a put to the entry into the job, worker idle."""
    times = []
    with database() as db, zodbjobs.Worker(db):
        connection = db.open()
        queue = zodbjobs.get_queue(connection)
        for n in range(number):
            time.sleep(random.uniform(0.02, 0.06))
            bench_jobs.entered.clear()
            queue.put(bench_jobs.enter)
            transaction.commit()
            start = time.perf_counter()
            while not bench_jobs.entered:
                time.sleep(0.0005)
            if n >= 10:
                times.append(max(0.0, bench_jobs.entered[0] - start) * 1000)
        connection.close()
    return quantiles(times)


def quantiles(times: list[float]) -> Values:
    """What is told of latencies, in milliseconds."""
    times.sort()
    return {
        "p50 ms": statistics.median(times),
        "p99 ms": times[int(len(times) * 0.99)],
        "worst ms": times[-1],
    }


def backlog(many: int = 1_000_000, few: int = 10_000, times: int = 5) -> Values:
    """The drain rate with many waiting over that with few, each in a process of its own.

    Both are taken several times in turn, from copies of the same two databases.
    """
    rates: dict[int, list[float]] = {few: [], many: []}
    with tempfile.TemporaryDirectory() as folder:
        for waiting in rates:
            step("put", Path(folder) / str(waiting), waiting)
        for waiting in [few, many] * times:
            copy = shutil.copytree(Path(folder) / str(waiting), Path(folder) / "copy")
            os.sync()  # else the first commits would have to
            rate, megabytes = map(float, step("drain", copy, waiting).split())
            rates[waiting].append(rate)
            shutil.rmtree(copy)
    median = {waiting: statistics.median(found) for waiting, found in rates.items()}
    return {
        "ratio": median[many] / median[few],
        "MB": megabytes,
        "rate with many": median[many],
        "rate with few": median[few],
    }


def step(name: str, folder: Path, waiting: int) -> bytes:
    """A `backlog_step` in another process; what it prints."""
    folder.mkdir(exist_ok=True)
    command = [sys.executable, __file__, name, folder, str(waiting)]
    return subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout


def backlog_step(name: str, folder: str, waiting: int) -> None:
    """Put so many jobs, or drain 10,000 and print the rate and the memory (MB)."""
    number = 10_000
    with database(folder) as db:
        if name == "put":
            for _ in range(waiting // number):
                put_many(db, [bench_jobs.nothing] * number)
            return
        start = time.perf_counter()
        with zodbjobs.Worker(db):
            while (done := ended(db)) < number:  # and with many waiting, it goes on
                time.sleep(0.05)
            rate = done / (time.perf_counter() - start)
        print(rate, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)


def growth(number: int, batch: int) -> float:
    """Bytes of the file for each job, from put to history."""
    with database() as db:
        before = db.storage.getSize()
        put_many(db, [bench_jobs.nothing] * number, batch)
        run_until(db, number)
        size: int = db.storage.getSize()
    return (size - before) / number


def bytes_single() -> Values:
    """Put one by one, while no worker is there."""
    return {"bytes": growth(2_000, 1)}


def bytes_bulk() -> Values:
    """Put in one commit."""
    return {"bytes": growth(10_000, 10_000)}


def conflicts(threads: int = 8, each: int = 1_000) -> Values:
    """Put commits that conflicted, per 1,000, while a worker drains."""
    conflicted = []
    with database() as db, zodbjobs.Worker(db):

        def produce() -> None:
            connection = db.open()
            queue = zodbjobs.get_queue(connection)
            for _ in range(each):
                while True:
                    try:
                        queue.put(bench_jobs.nothing)
                        transaction.commit()
                        break
                    except ConflictError:
                        transaction.abort()
                        conflicted.append(1)
            connection.close()

        producers = [threading.Thread(target=produce) for _ in range(threads)]
        for producer in producers:
            producer.start()
        for producer in producers:
            producer.join()
    return {"per 1,000": 1000 * len(conflicted) / (threads * each)}


FILE_FIGURES = {
    "drain": Figure(
        "drain 20,000 no-op jobs / update 100 objects a commit",
        drain,
        "0.5",
        lambda v: v["ratio"] >= 0.5,
    ),
    "drain_single": Figure(
        "drain 10,000 put one a commit / update 100 objects a commit",
        drain_single,
        "0.4",
        lambda v: v["ratio"] >= 0.4,
    ),
    "one_put": Figure(
        "one put a commit / add one object a commit",
        one_put,
        "0.8",
        lambda v: v["ratio"] >= 0.8,
    ),
    "bulk_put": Figure(
        "10,000 puts in a commit / add 100 objects a commit",
        bulk_put,
        "1.0",
        lambda v: v["ratio"] >= 1.0,
    ),
    "latency": Figure(
        "put committed to job entered, idle worker",
        latency,
        "p50 5, p99 25",
        lambda v: v["p50 ms"] <= 5 and v["p99 ms"] <= 25,
    ),
    "backlog": Figure(
        "drain rate, 1,000,000 waiting / 10,000 waiting",
        backlog,
        "0.9, 300 MB",
        lambda v: v["ratio"] >= 0.9 and v["MB"] < 300,
    ),
    "bytes_single": Figure(
        "bytes a job, put one by one", bytes_single, "2,500", lambda v: v["bytes"] <= 2_500
    ),
    "bytes_bulk": Figure(
        "bytes a job, put in bulk", bytes_bulk, "1,000", lambda v: v["bytes"] <= 1_000
    ),
    "writers": Figure(
        "jobs that write one object / update one object a commit",
        writers,
        "0.7",
        lambda v: v["ratio"] >= 0.7,
    ),
    "conflicts": Figure(
        "put commits that conflicted, 8 producers, worker draining",
        conflicts,
        "under 1",
        lambda v: v["per 1,000"] < 1,
    ),
}


if __name__ == "__main__":
    backlog_step(sys.argv[1], sys.argv[2], int(sys.argv[3]))
