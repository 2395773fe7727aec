"""A process that does something with so many jobs, for `instructions.py` to count."""

from __future__ import annotations

import gc
import sys
from typing import Any

import bench_jobs
import transaction
import ZODB
from bench import run_in_groups
from bench_jobs import Thing
from BTrees.LOBTree import LOBTree
from ZODB.MappingStorage import MappingStorage

import zodbjobs


def put_singly(db: Any, number: int) -> None:
    """One put a commit."""
    queue = zodbjobs.get_queue(db.open())
    for _ in range(number):
        queue.put(bench_jobs.nothing)
        transaction.commit()


def put_together(db: Any, number: int) -> None:
    """All puts in one commit."""
    zodbjobs.get_queue(db.open()).put_many([bench_jobs.nothing] * number)
    transaction.commit()


def drain(db: Any, number: int) -> None:
    """Jobs that were put together, run."""
    put_together(db, number)
    run_in_groups(db)


def drain_single(db: Any, number: int) -> None:
    """Jobs that were put one a commit, run."""
    put_singly(db, number)
    run_in_groups(db)


def writers(db: Any, number: int) -> None:
    """Jobs that write an object each, put together, run."""
    connection = db.open()
    things = connection.root()["things"] = LOBTree({n: Thing() for n in range(number)})
    transaction.commit()
    zodbjobs.get_queue(connection).put_many([thing.change for thing in things.values()])
    transaction.commit()
    run_in_groups(db)


def main() -> None:
    """Do what the command line names."""
    name, number = sys.argv[1:]
    gc.disable()
    db = ZODB.DB(MappingStorage())
    zodbjobs.install(db)
    globals()[name](db, int(number))


if __name__ == "__main__":
    main()
