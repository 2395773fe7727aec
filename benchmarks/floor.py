"""What the storage itself can do: the same machine, the same file system, no jobs.

Each function works on the open database of an empty folder and returns objects per second.
"""

from __future__ import annotations

import time
from typing import Any

import transaction
from bench_jobs import Thing
from BTrees.LOBTree import LOBTree

BATCH = 100


def update(db: Any, number: int, batch: int) -> float:
    """Update `number` objects, `batch` in a commit."""
    connection = db.open()
    things = connection.root()["things"] = LOBTree({n: Thing() for n in range(number)})
    transaction.commit()
    start = time.perf_counter()
    for n in range(number):
        things[n].value = n
        if (n + 1) % batch == 0:
            transaction.commit()
    transaction.commit()
    seconds = time.perf_counter() - start
    connection.close()
    return number / seconds


def update_behind_savepoints(db: Any, number: int, batch: int) -> float:
    """The same, each behind a savepoint."""
    connection = db.open()
    things = connection.root()["things"] = LOBTree({n: Thing() for n in range(number)})
    transaction.commit()
    start = time.perf_counter()
    for n in range(number):
        things[n].value = n
        transaction.savepoint()
        if (n + 1) % batch == 0:
            transaction.commit()
    transaction.commit()
    seconds = time.perf_counter() - start
    connection.close()
    return number / seconds


def add(db: Any, number: int, batch: int) -> float:
    """Add `number` objects to a tree, `batch` in a commit."""
    connection = db.open()
    things = connection.root()["things"] = LOBTree()
    transaction.commit()
    start = time.perf_counter()
    for n in range(number):
        things[n] = Thing()
        if (n + 1) % batch == 0:
            transaction.commit()
    transaction.commit()
    seconds = time.perf_counter() - start
    connection.close()
    return number / seconds
