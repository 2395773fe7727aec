"""What transactional jobs do that share their commits; see TOGETHER_FIGURES."""

from __future__ import annotations

import functools
import os
import random
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import bench_jobs
import figures
import floor
import places
import server_figures
import transaction
from bench_jobs import Thing
from BTrees.LOBTree import LOBTree
from figures import Figure, Values

import zodbjobs
from zodbjobs.interfaces import SUCCEEDED

#: Of as many jobs one has its object written by an outside writer while it runs.
CONTENDED = 100


def put(db: Any, number: int, contended: bool = False, transactional: bool = True) -> None:
    """Put jobs that write one object each, in one commit."""
    connection = db.open()
    things = connection.root()["things"] = LOBTree({n: Thing() for n in range(number)})
    transaction.commit()
    jobs = [
        zodbjobs.Job(bench_jobs.contend, thing)
        if contended and n % CONTENDED == CONTENDED // 2
        else zodbjobs.Job(thing.change)
        for n, thing in things.items()
    ]
    zodbjobs.get_queue(connection).put_many(jobs, transactional=transactional)
    transaction.commit()
    connection.close()


def check(db: Any) -> None:
    """Each object was written once."""
    with db.transaction() as connection:
        assert all(thing.value == 1 for thing in connection.root()["things"].values())
        ended = zodbjobs.get_queue(connection).finished()
        assert all(job.outcome == SUCCEEDED for job in ended)


def writers(kind: str, number: int = 4_000, contended: bool = False) -> Values:
    """Transactional jobs that write one object each, in a worker in this process."""

    def ours(db: Any) -> float:
        put(db, number, contended)
        if kind == "FileStorage":
            seconds = figures.run_until(db, number)
        else:
            with zodbjobs.Worker(db):
                seconds = server_figures.until_ended(db, number)
        check(db)
        return number / seconds

    base = functools.partial(floor.update, number=number // 4, batch=1)
    found = figures.ratio(ours, base, functools.partial(server_figures.database, kind))
    with server_figures.database(kind) as db:
        most = floor.update_behind_savepoints(db, number, floor.BATCH)
    return {**found, "floor with savepoints": most}


def put_no_ops(db: Any, number: int) -> None:
    """Put as many jobs that write nothing."""
    figures.put_many(db, [bench_jobs.nothing] * number)


def processes(put_jobs: Callable[[Any, int], None], number: int, kind: str = "ZEO") -> Values:
    """2 worker processes over 1, and the processor's milliseconds for a job, in them and in the
    server: where these are the same for both, the cores are what holds two back.
    """
    rates, own, served = {}, {}, {}
    for count in random.sample([1, 2], 2):
        with places.place(kind) as place, place.open() as db:
            put_jobs(db, number)
            with server_figures.workers(place, db, count) as pids:
                left = number - figures.ended(db)
                servers = children() - set(pids)
                before = spent_by(pids), spent_by(servers)
                rates[count] = left / server_figures.until_ended(db, number)
                own[count] = 1_000 * (spent_by(pids) - before[0]) / left
                served[count] = 1_000 * (spent_by(servers) - before[1]) / left
    return {
        "ratio": rates[2] / rates[1],
        "with 2": rates[2],
        "with 1": rates[1],
        "ms of 2": own[2],
        "ms of 1": own[1],
        "server's with 2": served[2],
        "server's with 1": served[1],
    }


def children() -> set[int]:
    """The processes that this one has started."""
    found = Path(f"/proc/{os.getpid()}/task/{os.getpid()}/children").read_text()
    return set(map(int, found.split()))


def spent_by(pids: Iterable[int]) -> float:
    """The seconds of the processor that these processes have used."""
    return sum(map(server_figures.cpu_seconds, pids))


def _writers(kind: str, least: float) -> Figure:
    return Figure(
        f"{kind}: transactional jobs that write an object / one object a commit",
        functools.partial(writers, kind),
        str(least),
        lambda v: v["ratio"] >= least,
    )


def _contended(kind: str, least: float) -> Figure:
    return Figure(
        f"{kind}: the same, 1 in {CONTENDED} conflicts with an outside writer",
        functools.partial(writers, kind, contended=True),
        str(least),
        lambda v: v["ratio"] >= least,
    )


def _processes(what: str, put_jobs: Callable[[Any, int], None], number: int) -> Figure:
    return Figure(
        f"ZEO: {what}, 2 worker processes / 1",
        functools.partial(processes, put_jobs, number),
        "1.7",
        lambda v: v["ratio"] >= 1.7,
    )


TOGETHER_FIGURES = {
    "together": _writers("FileStorage", 3),
    "together_contended": _contended("FileStorage", 1.5),
    "zeo_together": _writers("ZEO", 2),
    "zeo_together_contended": _contended("ZEO", 1),
    "pg_together": _writers("PostgreSQL", 5),
    "pg_together_contended": _contended("PostgreSQL", 2.5),
    "together_processes": _processes("transactional jobs that write", put, 10_000),
    "drain_processes": _processes("no-op jobs", put_no_ops, 20_000),
}
