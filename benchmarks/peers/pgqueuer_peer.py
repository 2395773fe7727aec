"""PgQueuer: asyncio with asyncpg. Jobs are coroutines; what they return is not kept.

Its default batch of 10 means two commits for every 10 jobs; of 10, 100, 300 and 1,000, batches
of 100 were as fast as any. All done: nothing is left in its table, since what has ended is
moved to its log.
"""

from __future__ import annotations

import functools
from collections.abc import Awaitable, Callable
from typing import Any

import asyncpg
import peer
import psycopg
import uvloop
from pgqueuer import PgQueuer
from pgqueuer.db import AsyncpgDriver
from pgqueuer.models import Job
from pgqueuer.queries import Queries

BATCH = 100


class OnPgQueuer(peer.Peer):
    """Jobs in a table, with a log."""

    def setup(self) -> None:
        """Its tables, all of them logged."""
        run(lambda connection: Queries(AsyncpgDriver(connection)).install())

    def fill(self, number: int) -> None:
        """1,000 in a statement."""

        async def enqueue(connection: Any) -> None:
            queries = Queries(AsyncpgDriver(connection))
            for start in range(0, number, 1000):
                n = min(1000, number - start)
                await queries.enqueue(["nothing"] * n, [None] * n, [0] * n)

        run(enqueue)

    def put(self, number: int) -> None:
        """One in a statement."""

        async def enqueue(connection: Any) -> None:
            queries = Queries(AsyncpgDriver(connection))
            for _ in range(number):
                await queries.enqueue("nothing", None)

        run(enqueue)

    def work(self) -> None:
        """As `pgq run` does."""

        async def work(connection: Any) -> None:
            pgqueuer = PgQueuer(AsyncpgDriver(connection))

            @pgqueuer.entrypoint("nothing")
            async def nothing(job: Job) -> int:
                return 1

            await pgqueuer.run(batch_size=BATCH)

        run(work)

    def done(self, number: int) -> int:
        """Not in the table any more."""
        left: int = self._connection.execute("SELECT count(*) FROM pgqueuer").fetchone()[0]
        return number - left

    @functools.cached_property
    def _connection(self) -> Any:
        return psycopg.connect(peer.AT, autocommit=True)


def run(work: Callable[[Any], Awaitable[None]]) -> None:
    """Run a coroutine with a connection."""

    async def main() -> None:
        connection = await asyncpg.connect(peer.AT)
        try:
            await work(connection)
        finally:
            await connection.close()

    uvloop.run(main())


PEER = OnPgQueuer()
