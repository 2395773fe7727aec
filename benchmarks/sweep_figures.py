"""A Sweep over many objects, against the storage's own floor, and what memory it needs."""

from __future__ import annotations

import resource
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import bench_jobs
import floor
import transaction
from bench_jobs import Thing
from BTrees.LOBTree import LOBTree
from figures import Figure, Values, database, ratio, run_until

import zodbjobs


def put_sweep(db: Any, number: int) -> None:
    """Put a sweep over so many new objects."""
    connection = db.open()
    things = connection.root()["things"] = LOBTree()
    for start in range(0, number, 10_000):
        things.update({n: Thing() for n in range(start, min(start + 10_000, number))})
        transaction.commit()
        connection.cacheMinimize()
    zodbjobs.get_queue(connection).put(zodbjobs.Sweep(things, bench_jobs.touch))
    transaction.commit()
    connection.close()


def check_swept(db: Any, number: int) -> None:
    """Each object was written once."""
    connection = db.open()
    (job,) = zodbjobs.get_queue(connection).finished()
    assert job.result == (number, ()), job.result
    for place, thing in enumerate(connection.root()["things"].values()):
        assert thing.value == 1
        if place % 10_000 == 0:
            connection.cacheMinimize()
    connection.close()


def sweep(number: int = 100_000) -> Values:
    """One attribute of each object."""

    def ours(db: Any) -> float:
        put_sweep(db, number)
        seconds = run_until(db, 1)
        check_swept(db, number)
        return number / seconds

    return ratio(ours, lambda db: floor.update(db, number, floor.BATCH))


def sweep_memory(number: int = 1_000_000) -> Values:
    """The most that the process of a worker has in memory; the objects are made in another one."""
    with tempfile.TemporaryDirectory() as folder:
        for name in ("put", "sweep"):
            command = [sys.executable, __file__, name, folder, str(number)]
            printed = subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout
    rate, megabytes = map(float, printed.split())
    return {"MB": megabytes, "rate": rate}


def step(name: str, folder: str, number: int) -> None:
    """Put a sweep, or run it and print the rate and the memory (MB)."""
    with database(folder) as db:
        if name == "put":
            put_sweep(db, number)
        else:
            rate = number / run_until(db, 1)
            print(rate, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)


SWEEP_FIGURES = {
    "sweep": Figure(
        "a Sweep over 100,000 objects / update 100 objects a commit",
        sweep,
        "0.7",
        lambda v: v["ratio"] >= 0.7,
    ),
    "sweep_memory": Figure(
        "memory of a Sweep over 1,000,000 objects",
        sweep_memory,
        "under 150 MB",
        lambda v: v["MB"] < 150,
    ),
}


if __name__ == "__main__":
    assert Path(sys.argv[2]).is_dir()
    step(sys.argv[1], sys.argv[2], int(sys.argv[3]))
