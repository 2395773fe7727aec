"""Dramatiq: jobs in Redis, results in another database of the same Redis.

All done: there is a result for each job.
"""

from __future__ import annotations

import functools

import dramatiq
import peer
from dramatiq.brokers.redis import RedisBroker
from dramatiq.results import Results
from dramatiq.results.backends import RedisBackend
from redis import Redis

THREADS = "8"
broker = RedisBroker(url=f"{peer.AT}/0")
broker.add_middleware(Results(backend=RedisBackend(url=f"{peer.AT}/1")))
dramatiq.set_broker(broker)


@dramatiq.actor(store_results=True)
def nothing() -> int:
    """The job."""
    return 1


class OnDramatiq(peer.Peer):
    """Jobs in Redis."""

    def fill(self, number: int) -> None:
        """One after the other."""
        for _ in range(number):
            nothing.send()

    put = fill

    def worker(self) -> list[str]:
        """Dramatiq's own."""
        return [peer.script("dramatiq"), "dramatiq_peer", "-p", "1", "-t", THREADS]

    def done(self, number: int) -> int:
        """The database of results has nothing else in it."""
        found: int = self._results.dbsize()
        return found

    @functools.cached_property
    def _results(self) -> Redis:
        return Redis.from_url(f"{peer.AT}/1")


PEER = OnDramatiq()
