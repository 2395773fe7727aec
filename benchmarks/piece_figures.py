"""What jobs cost that use callbacks, quotas, compositions and unique keys, against plain ones.

Plain: put one a commit, with a record of its own. Both of a ratio are taken in one round, in an
order drawn by lot.
"""

from __future__ import annotations

import functools
import itertools
import random
import threading
import time
from collections.abc import Callable
from typing import Any

import bench_jobs
import transaction
from figures import Figure, Values, database, put_many, run_until
from ZODB.POSException import ConflictError

import zodbjobs

Put = Callable[[Any, zodbjobs.Job], Any]


def seconds(put: Put, number: int, ends: int) -> float:
    """From the first put, one a commit, to the last of `ends` jobs, once the puts are done."""
    with database() as db:
        connection = db.open()
        queue = zodbjobs.get_queue(connection)
        queue.quotas.create("some", 100)
        transaction.commit()
        start = time.perf_counter()
        for _ in range(number):
            put(queue, zodbjobs.Job(bench_jobs.nothing))
            transaction.commit()
        spent = time.perf_counter() - start
        connection.close()
        return spent + run_until(db, ends)


def times_plain(put: Put, number: int = 2_000, each: int = 1) -> Values:
    """How many times as long as plain jobs they take."""
    found = {}
    both: list[tuple[str, Put, int]] = [
        ("it", put, number * each),
        ("plain", lambda queue, job: queue.put(job), number),
    ]
    random.shuffle(both)
    for name, how, ends in both:
        found[name] = seconds(how, number, ends)
    return {
        "ratio": found["it"] / found["plain"],
        "us": 1e6 * found["it"] / number,
        "plain us": 1e6 * found["plain"] / number,
    }


def one_callback() -> Values:
    """A job with one callback."""

    def put(queue: Any, job: zodbjobs.Job) -> None:
        job.add_callback(bench_jobs.take)
        queue.put(job)

    return times_plain(put, each=2)


def one_quota() -> Values:
    """A job with one quota, which isn't full."""
    return times_plain(lambda queue, job: queue.put(job, quota_names=["some"]))


def one_unique() -> Values:
    """A job with a unique key of its own."""
    number = itertools.count()
    return times_plain(lambda queue, job: queue.put(job, unique=f"key {next(number)}"))


def members(number: int = 10_000) -> Values:
    """`parallel` of many, put in one commit, against as many plain jobs, and against as many that
    were put together, which share their results.
    """
    found = {}
    kinds: list[tuple[str, Callable[[Any, list[zodbjobs.Job]], None], int]] = [
        ("it", _put_members, number + 1),
        ("plain", functools.partial(put_many, batch=1), number),
        ("bulk", put_many, number),
    ]
    for name, put, ends in random.sample(kinds, len(kinds)):
        with database() as db:
            jobs = [zodbjobs.Job(bench_jobs.nothing) for _ in range(number)]
            start = time.perf_counter()
            put(db, jobs)
            spent = time.perf_counter() - start
            found[name] = spent + run_until(db, ends)
    return {
        "ratio": found["it"] / found["plain"],
        "over bulk": found["it"] / found["bulk"],
        "us": 1e6 * found["it"] / number,
        "plain us": 1e6 * found["plain"] / number,
    }


def _put_members(db: Any, jobs: list[zodbjobs.Job]) -> None:
    put_many(db, [zodbjobs.parallel(*jobs)])


def behind_full_quota(waiting: int = 100_000, number: int = 10_000) -> Values:
    """The drain rate of others with many jobs behind a full quota, over that without them."""
    rates = {}
    for name, behind in random.sample([("with", waiting), ("without", 0)], 2):
        with database() as db:
            _fill_quota(db, behind)
            put_many(db, [bench_jobs.nothing] * number)
            rates[name] = number / run_until(db, number)
    return {"ratio": rates["with"] / rates["without"], **rates}


def _fill_quota(db: Any, waiting: int) -> None:
    """Put a quota that is full, and so many jobs behind it that have been filed there."""
    connection = db.open()
    queue = zodbjobs.get_queue(connection)
    queue.quotas.create("full").size = 1
    queue.quotas.take(["full"], ("somebody", 1))
    transaction.commit()
    for first in range(0, waiting, 10_000):
        jobs = [bench_jobs.nothing] * min(10_000, waiting - first)
        queue.put_many(jobs, quota_names=["full"])
        transaction.commit()
    with zodbjobs.Worker(db):
        while sum(len(shard.limited) - 1 for shard in queue.shards) < waiting:
            time.sleep(0.05)
            transaction.begin()
    connection.close()


def unique_conflicts(threads: int = 8, each: int = 500) -> Values:
    """Put commits with keys that differ which conflicted, per 1,000, while a worker drains."""
    conflicted = []
    with database() as db:
        put_first = db.open()
        zodbjobs.get_queue(put_first).put(bench_jobs.nothing, unique="first")
        transaction.commit()
        put_first.close()
        with zodbjobs.Worker(db):

            def produce(producer: int) -> None:
                connection = db.open()
                queue = zodbjobs.get_queue(connection)
                for number in range(each):
                    while True:
                        try:
                            queue.put(bench_jobs.nothing, unique=f"{producer} {number}")
                            transaction.commit()
                            break
                        except ConflictError:
                            transaction.abort()
                            conflicted.append(1)
                connection.close()

            producers = [threading.Thread(target=produce, args=(n,)) for n in range(threads)]
            for producer in producers:
                producer.start()
            for producer in producers:
                producer.join()
    return {"per 1,000": 1000 * len(conflicted) / (threads * each)}


PIECE_FIGURES = {
    "one_callback": Figure(
        "a job with a callback / a plain one", one_callback, "2.2", lambda v: v["ratio"] <= 2.2
    ),
    "one_quota": Figure(
        "a job with a quota / a plain one", one_quota, "1.5", lambda v: v["ratio"] <= 1.5
    ),
    "one_unique": Figure(
        "a job with a unique key / a plain one", one_unique, "none", lambda v: True
    ),
    "members": Figure(
        "a member of a parallel of 10,000 / a plain job",
        members,
        "1.0",
        lambda v: v["ratio"] <= 1.0,
    ),
    "behind_full_quota": Figure(
        "drain of others, 100,000 behind a full quota / none",
        behind_full_quota,
        "0.9",
        lambda v: v["ratio"] >= 0.9,
    ),
    "unique_conflicts": Figure(
        "put commits of unique keys that conflicted, 8 producers",
        unique_conflicts,
        "under 1",
        lambda v: v["per 1,000"] < 1,
    ),
}
