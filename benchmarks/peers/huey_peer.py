"""Huey on SQLite: worker threads in one process. Results are kept in a table.

SQLite runs with synchronous=FULL and a write-ahead log. All done: there is a result for each
job.
"""

from __future__ import annotations

import functools
import sys
from typing import Any

import peer
import zodb_effect
from huey import SqliteHuey

WORKERS = "1"
huey = SqliteHuey(filename=f"{peer.AT}/huey.db", fsync="fill" not in sys.argv)


@huey.task()
def nothing() -> int:
    """The job."""
    return 1


@functools.cache
def db() -> Any:
    """The application's ZODB, opened once in a process."""
    return zodb_effect.open_db(peer.ZODB_AT)


@huey.task()
def add_one(number: int) -> int:
    """The job with an effect, in a connection and a transaction of its own."""
    with db().transaction() as connection:
        return zodb_effect.find(connection, number).add_one()


class OnHuey(peer.Peer):
    """Jobs in a file."""

    def fill(self, number: int) -> None:
        """One after the other; not synced, if it is only for what comes next."""
        for _ in range(number):
            nothing()

    put = fill

    def fill_effects(self, number: int) -> None:
        """A number for each object."""
        zodb_effect.prepare(peer.ZODB_AT, number)
        for n in range(number):
            add_one(n)

    def changed(self) -> int:
        """In the application's ZODB."""
        return zodb_effect.changed_at(peer.ZODB_AT)

    def worker(self) -> list[str]:
        """Huey's own."""
        return [peer.script("huey_consumer"), "huey_peer.huey", "-w", WORKERS, "-q"]

    def done(self, number: int) -> int:
        """Have a result."""
        found: int = huey.result_count()
        return found


PEER = OnHuey()
