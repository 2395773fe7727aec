"""zodbjobs, on whatever `AT` names: a folder (FileStorage), `HOST:PORT` (ZEO), or PostgreSQL.

The settings are those that it comes with. All done: the committed history has all jobs. A
FileStorage can be opened by one process only, so there the looks come from another thread of the
worker's process; elsewhere from another process, as for all the others.
"""

from __future__ import annotations

import contextlib
import functools
import urllib.parse
from collections.abc import Iterator
from typing import Any

import peer
import transaction
import ZODB
import zodb_effect

import zodbjobs

IS_FILE = peer.AT.startswith("/")


def nothing() -> int:
    """The job."""
    return 1


class Ours(peer.Peer):
    """Jobs in a ZODB."""

    @functools.cached_property
    def db(self) -> Any:
        """The database, open as long as the process lives."""
        if peer.AT.startswith("postgresql:"):
            return ZODB.DB(relstorage(peer.AT))
        return zodb_effect.open_db(f"{peer.AT}/Data.fs" if IS_FILE else peer.AT)

    @functools.cached_property
    def connection(self) -> Any:
        """The main thread's."""
        return self.db.open()

    @property
    def queue(self) -> Any:
        """The default queue."""
        return zodbjobs.get_queue(self.connection)

    def setup(self) -> None:
        """Make the queue."""
        zodbjobs.install(self.db)

    def fill(self, number: int) -> None:
        """10,000 in a transaction."""
        self._put_all([nothing] * number)

    def _put_all(self, calls: list[Any]) -> None:
        for start in range(0, len(calls), 10_000):
            self.queue.put_many(calls[start : start + 10_000])
            transaction.commit()

    def put(self, number: int) -> None:
        """One in a transaction, as a request does."""
        queue = self.queue
        for _ in range(number):
            queue.put(nothing)
            transaction.commit()

    def fill_effects(self, number: int) -> None:
        """The objects are in the database of the jobs; that is the point."""
        things = zodb_effect.make(self.connection, number)
        self._put_all([thing.add_one for thing in things.values()])

    def changed(self) -> int:
        """In the same database."""
        transaction.begin()
        return zodb_effect.changed(self.connection)

    def work(self) -> None:
        """As `zodbjobs worker` does."""
        zodbjobs.Worker(self.db).run()

    @contextlib.contextmanager
    def working(self) -> Iterator[None]:
        """In this process where no other can open the file."""
        if IS_FILE:
            with zodbjobs.Worker(self.db):
                yield
        else:
            with super().working():
                yield

    def done(self, number: int) -> int:
        """Booked as ended."""
        transaction.begin()
        return sum(shard.history_length() for shard in self.queue.shards)


def relstorage(url: str) -> Any:
    """On PostgreSQL, without old revisions, as the peers keep none."""
    from relstorage.adapters.postgresql import PostgreSQLAdapter
    from relstorage.options import Options
    from relstorage.storage import RelStorage

    parts = urllib.parse.urlsplit(url)  # RelStorage adds words to it, which a URL doesn't take
    host = urllib.parse.parse_qs(parts.query)["host"][0]
    dsn = f"dbname={parts.path[1:]} user={parts.username} host={host}"
    options = Options(keep_history=False)
    return RelStorage(PostgreSQLAdapter(dsn=dsn, options=options), options=options)


PEER = Ours()
