"""Where a scenario takes place: a server, worker processes, and somebody who looks on."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import psycopg2
import transaction
from ZEO.Exceptions import ClientDisconnected

from chaos import books
from chaos.books import Books
from chaos.proxy import Proxy
from chaos.servers import SERVERS
from chaos.table import Row
from chaos.workers import WorkerProcess, Workers

#: Seconds without any progress after which jobs are stuck.
PATIENCE = 90


#: What is seen for a moment after the server has crashed.
OUTAGE = (ClientDisconnected, psycopg2.Error)


class Stuck(Exception):
    """What was waited for didn't happen."""


class Stage:
    """A scenario's database on a server of its own, watched directly; workers may go through
    a proxy. `options` are those of each worker.
    """

    def __init__(
        self,
        storage: str,
        folder: Path,
        options: Mapping[str, Any],
        with_proxy: bool = False,
    ) -> None:
        self.server: Any = SERVERS[storage]()
        self.proxy = Proxy(self.server.socket) if with_proxy else None
        self.place = self.server.place(folder)
        self.db = self.place.open("onlooker")
        self.workers = Workers(self.server.place(folder, self.proxy), folder, options)
        self.ids: list[str] = []
        books.open_books(self.db)

    def fill(self, *args: Any, **kwargs: Any) -> list[str]:
        """`books.fill`."""
        ids = books.fill(self.db, *args, **kwargs)
        self.ids += ids
        return ids

    def pad(self) -> None:
        """Make the database larger than any other file that its processes write."""
        with self.db.transaction() as connection:
            connection.root()["padding"] = "." * 4_000_000

    @contextlib.contextmanager
    def file_is_free(self) -> Iterator[None]:
        """Meanwhile nobody looks on, since there is room for one only."""
        self.db.close()
        try:
            yield
        finally:
            self.workers.close()
            self.db = self.place.open("onlooker")

    def start_workers(self, number: int, **orders: Any) -> list[WorkerProcess]:
        """Start some, and wait until each has started, which fails where there is no server."""
        workers = [self.workers.start(**orders) for _ in range(number)]
        self.wait(lambda now: all(w.says("works with") for w in workers), "the workers have begun")
        return workers

    @contextlib.contextmanager
    def books(self) -> Iterator[Books]:
        """The books as of now."""
        manager = transaction.TransactionManager(explicit=True)
        connection = self.db.open(manager)
        try:
            manager.begin()
            yield Books(connection)
        finally:
            manager.abort()
            connection.close()

    def wait(self, condition: Callable[[Books], Any], what: str) -> float:
        """Wait until it holds; returns the seconds. Stuck after PATIENCE without progress."""
        began = time.monotonic()
        last = (began, -1)
        state = "nothing to be seen"
        while time.monotonic() - last[0] < PATIENCE:
            with contextlib.suppress(*OUTAGE), self.books() as now:
                if condition(now):
                    return time.monotonic() - began
                state = now.state()
                if now.finished() != last[1]:
                    last = (time.monotonic(), now.finished())
            time.sleep(0.02)
        raise Stuck(f"{what}: not in {PATIENCE} s; {state}")

    def finished(self) -> int:
        """How many jobs are in the history, as soon as that can be seen."""
        seen: list[int] = []
        self.wait(lambda now: seen.append(now.finished()) or seen, "the history is seen")
        return seen[0]

    def wait_for_file(self, path: Path) -> None:
        """Wait until it is there."""
        self.wait(lambda now: path.exists(), f"{path.name} is there")

    def crash(self, seconds: float) -> None:
        """Crash the server, and start it again after some seconds."""
        self.server.crash()
        time.sleep(seconds)
        self.server.start()
        self.look_anew()

    def look_anew(self) -> None:
        """The onlooker opens the database again: how clients recover isn't shown by it."""
        with contextlib.suppress(*OUTAGE):
            self.db.close()
        self.db = self.place.open("onlooker")

    def take_note(self, put: int) -> None:
        """Wait for `put` jobs, some of which were put by others; take note of their ids."""
        self.wait(lambda now: now.finished() >= put, "all is put and done")
        with self.books() as now:
            self.ids += {job.id for job in now.ended()} - set(self.ids)

    def is_drained(self, now: Books) -> bool:
        """Whether all that was put is in the history."""
        return now.finished() >= len(self.ids)

    def wait_until_drained(self) -> float:
        """Wait until all that was put is in the history."""
        return self.wait(self.is_drained, "the queue is drained")

    def close(self) -> None:
        """End everything."""
        self.workers.close()
        self.db.close()
        if self.proxy is not None:
            self.proxy.close()
        self.server.stop()


@contextlib.contextmanager
def staged(
    row: Row,
    folder: Path,
    options: Mapping[str, Any],
    *,
    with_proxy: bool = False,
    outcomes: Mapping[str, int] | None = None,
) -> Iterator[Stage]:
    """A stage for what happens inside; then the books are checked, and the row is filled in.

    `outcomes`: how many jobs end otherwise than succeeded.
    """
    began = time.monotonic()
    stage = Stage(row.storage, folder, {"threads": 4, **options}, with_proxy)
    try:
        try:
            yield stage
            stage.wait_until_drained()
        except Stuck as error:
            row.faults.append(str(error))
        row.faults += stage.workers.stop()
        row.jobs = len(stage.ids)
        with stage.books() as now:
            others = dict(outcomes or {})
            good = {"succeeded": row.jobs - sum(others.values())}
            row.faults += now.faults(stage.ids, {**good, **others})
            row.interrupted = now.interruptions()
            row.conflicts = now.conflicts()
    finally:
        stage.close()
        row.took = time.monotonic() - began
