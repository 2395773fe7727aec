"""What zodbjobs does on servers, with workers in processes of their own; see SERVER_FIGURES."""

from __future__ import annotations

import contextlib
import functools
import os
import random
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import bench_jobs
import figures
import floor
import places
import transaction
from BTrees.LOBTree import LOBTree
from figures import Figure, Values

import zodbjobs
from zodbjobs.insights import list_workers

_WORKER = Path(__file__).with_name("worker_process.py")
_CLAIMING = Path(__file__).with_name("claiming_process.py")
_PRODUCER = Path(__file__).with_name("producer_process.py")
_TICKS = os.sysconf("SC_CLK_TCK")


@contextlib.contextmanager
def workers(place: places.Place, db: Any, number: int = 1) -> Iterator[list[int]]:
    """Worker processes; their ids, once all have begun."""
    command = [sys.executable, _WORKER, place.config]
    processes = [subprocess.Popen(command, stdin=subprocess.PIPE) for _ in range(number)]
    try:
        places.wait_until(lambda: begun(db) == number)
        yield [process.pid for process in processes]
    finally:
        for process in processes:
            process.communicate()


def begun(db: Any) -> int:
    """How many workers there are."""
    with db.transaction() as connection:
        return len(list_workers(connection))


def until_ended(db: Any, number: int) -> float:
    """Seconds until so many jobs are booked as ended; looks seldom, for the looks cost."""
    return places.wait_until(lambda: figures.ended(db) >= number, pause=0.1)


@contextlib.contextmanager
def database(kind: str) -> Iterator[Any]:
    """An empty one on that server, open here."""
    with places.place(kind) as place, place.open() as db:
        yield db


def drain(kind: str, number: int = 20_000) -> Values:
    """As on a file, the worker in this process; the floor is the same storage's."""

    def ours(db: Any) -> float:
        figures.put_many(db, [bench_jobs.nothing] * number)
        with zodbjobs.Worker(db):
            return number / until_ended(db, number)

    base = functools.partial(floor.update, number=number, batch=floor.BATCH)
    return figures.ratio(ours, base, functools.partial(database, kind))


def latency(kind: str, number: int = 100) -> Values:
    """Milliseconds from a commit here to the entry into the job there, worker idle."""
    times = []
    with places.place(kind) as place, place.open() as db, workers(place, db):
        connection = db.open()
        queue = zodbjobs.get_queue(connection)
        for n in range(number):
            time.sleep(random.uniform(0.2, 0.4))  # as long as it takes to be idle
            job = queue.put(bench_jobs.time_entered)
            transaction.commit()
            committed = time.perf_counter()
            while job.outcome is None:
                time.sleep(0.05)
                transaction.begin()
            if n >= 5:
                times.append((job.result - committed) * 1_000)
        connection.close()
    return figures.quantiles(times)


def computing(kind: str = "ZEO", number: int = 1_500) -> Values:
    """Jobs that compute for about 10 ms each: 2 worker processes over 1."""
    rates = {}
    for processes in random.sample([1, 2], 2):
        with places.place(kind) as place, place.open() as db, workers(place, db, processes):
            figures.put_many(db, [bench_jobs.compute] * number)
            rates[processes] = number / until_ended(db, number)
    return {"ratio": rates[2] / rates[1], "with 2": rates[2], "with 1": rates[1]}


def manager_conflicts(kind: str = "ZEO", processes: int = 4, each: int = 1_000) -> Values:
    """Commits of `JobManager.put` that conflicted, per 1,000, from several processes at once."""
    with places.place(kind) as place, place.open():
        command = [sys.executable, _PRODUCER, place.config, str(each)]
        pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
        producers = [subprocess.Popen(command, **pipes) for _ in range(processes)]
        for producer in producers:
            producer.stdout.readline()
        for producer in producers:
            producer.stdin.write("go\n")
            producer.stdin.flush()
        conflicts = sum(int(producer.communicate()[0]) for producer in producers)
    return {"per 1,000": 1000 * conflicts / (processes * each)}


def after_kill(kind: str = "ZEO", number: int = 1_000) -> Values:
    """Seconds from the kill -9 of a worker with so many claimed no-op jobs to the end of the
    last one, in another worker that is started then.
    """
    with places.place(kind) as place, place.open() as db:
        figures.put_many(db, [bench_jobs.nothing] * number)
        command = [sys.executable, _CLAIMING, place.config, str(number)]
        pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
        claiming = subprocess.Popen(command, **pipes)
        assert claiming.stdout is not None
        assert int(claiming.stdout.readline()) == number
        claiming.kill()
        claiming.communicate()
        start = time.perf_counter()
        with zodbjobs.Worker(db):
            until_ended(db, number)
            return {"seconds": time.perf_counter() - start}


def member_conflicts(kind: str = "ZEO", number: int = 5_000) -> Values:
    """Members of a `parallel` that write an object of their own, in 2 worker processes: how many
    conflicted, per 100; and of as many jobs that nothing waits for.
    """
    found = {}
    for name in random.sample(["members", "plain"], 2):
        with places.place(kind) as place, place.open() as db:
            with db.transaction() as connection:
                things = [bench_jobs.Thing() for _ in range(number)]
                connection.root()["things"] = LOBTree(dict(enumerate(things)))
                jobs = [zodbjobs.Job(thing.change) for thing in things]
                queue = zodbjobs.get_queue(connection)
                if name == "plain":
                    queue.put_many(jobs)
                else:
                    queue.put(zodbjobs.parallel(*jobs))
            with workers(place, db, 2):
                until_ended(db, number + (name == "members"))
            with db.transaction() as connection:
                ended = zodbjobs.get_queue(connection).finished()
                found[name] = 100 * sum(job.conflicts for job in ended) / number
    return {"per 100": found["members"], "plain": found["plain"]}


def idle(kind: str, seconds: float = 60.0) -> Values:
    """What a worker that has nothing to do costs."""
    with places.place(kind) as place, place.open() as db, workers(place, db) as [pid]:
        time.sleep(5)  # let it settle
        storage = db.storage.new_instance() if kind == "PostgreSQL" else None
        before, last, commits = cpu_seconds(pid), None, -1
        start = time.perf_counter()
        while time.perf_counter() < start + seconds:
            if storage is not None:
                storage.poll_invalidations()
            if last != (last := (storage or db).lastTransaction()):
                commits += 1
            time.sleep(0.2)
        spent = cpu_seconds(pid) - before
        if storage is not None:
            storage.release()
    return {
        "% of a core": 100 * spent / seconds,
        "transactions a minute": commits * 60 / seconds,
    }


def cpu_seconds(pid: int) -> float:
    """What the process has used until now."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


def _drain(kind: str, least: float) -> Figure:
    return Figure(
        f"{kind}: drain 20,000 no-op jobs / update 100 objects a commit",
        functools.partial(drain, kind),
        str(least),
        lambda v: v["ratio"] >= least,
    )


def _latency(kind: str, most: int) -> Figure:
    return Figure(
        f"{kind}: put committed to job entered in another process",
        functools.partial(latency, kind),
        f"p50 {most}",
        lambda v: v["p50 ms"] <= most,
    )


def _idle(kind: str) -> Figure:
    return Figure(
        f"{kind}: a worker that idles",
        functools.partial(idle, kind),
        "1 %, 4",
        lambda v: v["% of a core"] < 1 and v["transactions a minute"] <= 4,
    )


SERVER_FIGURES = {
    "member_conflicts": Figure(
        "ZEO: members of a parallel that conflicted, 2 workers",
        member_conflicts,
        "under 1 in 100",
        lambda v: v["per 100"] < 1,
    ),
    "zeo_drain": _drain("ZEO", 0.5),
    "zeo_latency": _latency("ZEO", 30),
    "zeo_idle": _idle("ZEO"),
    "pg_drain": _drain("PostgreSQL", 0.7),
    "pg_latency": _latency("PostgreSQL", 60),
    "pg_idle": _idle("PostgreSQL"),
    "computing": Figure(
        "ZEO: jobs that compute, 2 worker processes / 1",
        computing,
        "1.7",
        lambda v: v["ratio"] >= 1.7,
    ),
    "after_kill": Figure(
        "ZEO: 1,000 claimed jobs of a killed worker are done",
        after_kill,
        "2 s",
        lambda v: v["seconds"] <= 2,
    ),
    "manager_conflicts": Figure(
        "ZEO: commits of JobManager.put that conflicted, 4 processes",
        manager_conflicts,
        "at most 1",
        lambda v: v["per 1,000"] <= 1,
    ),
}
