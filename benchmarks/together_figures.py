"""What transactional jobs do that share their commits; see TOGETHER_FIGURES."""

from __future__ import annotations

import functools
import random
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


def processes(kind: str = "ZEO", number: int = 10_000) -> Values:
    """Transactional jobs that write one object each: 2 worker processes over 1."""
    rates = {}
    for count in random.sample([1, 2], 2):
        with places.place(kind) as place, place.open() as db:
            put(db, number)
            with server_figures.workers(place, db, count):
                left = number - figures.ended(db)
                rates[count] = left / server_figures.until_ended(db, number)
            check(db)
    return {"ratio": rates[2] / rates[1], "with 2": rates[2], "with 1": rates[1]}


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


TOGETHER_FIGURES = {
    "together": _writers("FileStorage", 3),
    "together_contended": _contended("FileStorage", 1.5),
    "zeo_together": _writers("ZEO", 2),
    "zeo_together_contended": _contended("ZEO", 1),
    "pg_together": _writers("PostgreSQL", 5),
    "pg_together_contended": _contended("PostgreSQL", 2.5),
    "together_processes": Figure(
        "ZEO: transactional jobs that write, 2 worker processes / 1",
        processes,
        "1.7",
        lambda v: v["ratio"] >= 1.7,
    ),
}
