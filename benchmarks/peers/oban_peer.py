"""Oban for Python, the free edition: asyncio with psycopg. A result is kept if it is wrapped.

It fetches as many jobs as it may run at a time. 10 is what its documentation shows; for jobs
this short 1,000 is faster. All done: all jobs have the state 'completed'.
"""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Awaitable, Callable
from typing import Any

import peer
import psycopg
import uvloop
from oban import Oban, Record, worker
from oban.schema import install

LIMIT = 1_000


@worker(queue="default")
class Nothing:
    """The job."""

    async def process(self, job: Any) -> Any:
        """Return 1, to be stored."""
        return Record(1)


class OnOban(peer.Peer):
    """Jobs in a table."""

    def setup(self) -> None:
        """Its tables."""
        run(install)

    def fill(self, number: int) -> None:
        """1,000 in a statement."""

        async def enqueue(pool: Any) -> None:
            oban = Oban(pool=pool)
            for start in range(0, number, 1000):
                jobs = [Nothing.new({}) for _ in range(min(1000, number - start))]
                await oban.enqueue_many(jobs)

        run(enqueue)

    def put(self, number: int) -> None:
        """One in a statement."""

        async def enqueue(pool: Any) -> None:
            oban = Oban(pool=pool)
            for _ in range(number):
                await oban.enqueue(Nothing.new({}))

        run(enqueue)

    def work(self) -> None:
        """As `oban start` does."""

        async def work(pool: Any) -> None:
            async with Oban(pool=pool, queues={"default": LIMIT}):
                await asyncio.Event().wait()

        run(work)

    def done(self, number: int) -> int:
        """Completed."""
        query = "SELECT count(*) FROM oban_jobs WHERE state = 'completed'"
        found: int = self._connection.execute(query).fetchone()[0]
        return found

    @functools.cached_property
    def _connection(self) -> Any:
        return psycopg.connect(peer.AT, autocommit=True)


def run(work: Callable[[Any], Awaitable[None]]) -> None:
    """Run a coroutine with a pool of connections."""

    async def main() -> None:
        pool = await Oban.create_pool(peer.AT)
        try:
            await work(pool)
        finally:
            await pool.close()

    uvloop.run(main())


PEER = OnOban()
