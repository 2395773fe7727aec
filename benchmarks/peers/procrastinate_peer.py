"""Procrastinate: asyncio with psycopg. What jobs return is logged, but not kept.

It fetches and ends one job after the other, each with a commit; of 1, 10 and 30
at a time, 30 was the fastest. All done: all jobs have the status 'succeeded'.
"""

from __future__ import annotations

import asyncio
import functools
from typing import Any

import peer
import procrastinate
import psycopg

CONCURRENCY = 30
app = procrastinate.App(connector=procrastinate.PsycopgConnector(conninfo=peer.AT))


@app.task(name="nothing")
async def nothing() -> int:
    """The job."""
    return 1


class OnProcrastinate(peer.Peer):
    """Jobs in a table, with one of events."""

    def setup(self) -> None:
        """Its tables and functions."""
        with app.open():
            app.schema_manager.apply_schema()

    def fill(self, number: int) -> None:
        """1,000 in a statement."""

        async def defer() -> None:
            async with app.open_async():
                for start in range(0, number, 1000):
                    calls: list[Any] = [{}] * min(1000, number - start)
                    await nothing.batch_defer_async(*calls)

        asyncio.run(defer())

    def put(self, number: int) -> None:
        """One in a statement."""

        async def defer() -> None:
            async with app.open_async():
                for _ in range(number):
                    await nothing.defer_async()

        asyncio.run(defer())

    def work(self) -> None:
        """As `procrastinate worker` does."""
        app.run_worker(concurrency=CONCURRENCY)

    def done(self, number: int) -> int:
        """Succeeded."""
        query = "SELECT count(*) FROM procrastinate_jobs WHERE status = 'succeeded'"
        found: int = self._connection.execute(query).fetchone()[0]
        return found

    @functools.cached_property
    def _connection(self) -> Any:
        return psycopg.connect(peer.AT, autocommit=True)


PEER = OnProcrastinate()
