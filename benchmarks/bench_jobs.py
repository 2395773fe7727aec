"""What the measured jobs call."""

from __future__ import annotations

import hashlib
import time
from typing import Any

import transaction
from persistent import Persistent

from zodbjobs import local

#: When each `enter` was entered.
entered: list[float] = []


class Thing(Persistent):
    """An object with one attribute."""

    def __init__(self) -> None:
        self.value = 0

    def change(self) -> int:
        """Write the object."""
        self.value += 1
        return self.value


def nothing() -> int:
    """As little as a job can do that has a result."""
    return 1


def take(result: object) -> None:
    """Take the result of another job."""


def enter() -> None:
    """Say when it was called."""
    entered.append(time.perf_counter())


def time_entered() -> float:
    """When it was called; the same clock in all processes of a machine."""
    return time.perf_counter()


def compute() -> str:
    """About 10 ms of the processor."""
    digest = b""
    for _ in range(12_000):
        digest = hashlib.sha256(digest).digest()
    return digest.hex()


def touch(thing: Any) -> int:
    """Write one object."""
    result: int = thing.change()
    return result


def report_until_cancelled() -> None:
    """Report progress ten times a second for as long as it may."""
    while not local.cancel_requested():
        local.set_progress(time.time() * 10 % 100)
        time.sleep(0.1)


#: The objects that `contend` has written from outside already.
contended: set[bytes] = set()


def contend(thing: Any) -> int:
    """Write one object, which the first time an outside writer does at the same time."""
    if thing._p_oid not in contended:
        contended.add(thing._p_oid)
        manager = transaction.TransactionManager()
        connection = thing._p_jar.db().open(manager)
        connection.get(thing._p_oid).written = True
        manager.commit()
        connection.close()
    return touch(thing)
