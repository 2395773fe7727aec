"""Celery: jobs in Redis, results in another database of the same Redis.

All done: there is a result for each job.
"""

from __future__ import annotations

import functools
from typing import Any

import peer
import zodb_effect
from celery import Celery
from redis import Redis

POOL = ["prefork", "2"]
app = Celery("celery_peer", broker=f"{peer.AT}/0", backend=f"{peer.AT}/1")
app.conf.broker_connection_retry_on_startup = True


@app.task
def nothing() -> int:
    """The job."""
    return 1


@functools.cache
def db() -> Any:
    """The application's ZODB, opened once in a process."""
    return zodb_effect.open_db(peer.ZODB_AT)


@app.task
def add_one(number: int) -> int:
    """The job with an effect, in a connection and a transaction of its own."""
    with db().transaction() as connection:
        return zodb_effect.find(connection, number).add_one()


class OnCelery(peer.Peer):
    """Jobs in Redis."""

    def fill(self, number: int) -> None:
        """One after the other."""
        for _ in range(number):
            nothing.delay()

    put = fill

    def fill_effects(self, number: int) -> None:
        """A number for each object."""
        zodb_effect.prepare(peer.ZODB_AT, number)
        for n in range(number):
            add_one.delay(n)

    def changed(self) -> int:
        """In the application's ZODB."""
        return zodb_effect.changed_at(peer.ZODB_AT)

    def worker(self) -> list[str]:
        """Celery's own."""
        options = ["-P", POOL[0], "-c", POOL[1], "-l", "ERROR"]
        return [peer.script("celery"), "-A", "celery_peer", "worker", *options]

    def done(self, number: int) -> int:
        """The database of results has nothing else in it."""
        found: int = self._results.dbsize()
        return found

    @functools.cached_property
    def _results(self) -> Redis:
        return Redis.from_url(f"{peer.AT}/1")


PEER = OnCelery()
