"""A runner thread's session: its connection, and the transaction in which its next job runs."""

from __future__ import annotations

import contextlib
import copy
import time
from collections.abc import Callable, Sequence
from typing import Any

import transaction
from transaction._transaction import Status  # type: ignore[import-untyped]
from ZODB.Connection import Connection, resetCaches

from zodbjobs import defaults
from zodbjobs.errors import BadStatus
from zodbjobs.runtime.context import current
from zodbjobs.runtime.session import Session
from zodbjobs.runtime.storage import abilities
from zodbjobs.runtime.transactions import Backoff, Stopped
from zodbjobs.stored.lifecycle.claim import Claim
from zodbjobs.stored.lifecycle.delivery import only_delivers

# As long a snapshot serves for several jobs where it would have to be asked for a newer one.
_SNAPSHOT_SECONDS = 0.1

# What changes in a transaction whose databases are changed, and that has savepoints.
_CHANGED = frozenset({"_data", "_resources", "_savepoint_index", "_savepoint2index"})


class ThreadSession:
    """Opens a connection in the transaction manager of the thread that makes it, for that
    thread only: what the jobs do with `transaction` is this manager.

    `session_in` gives the worker's session in a connection. Raises what the storage raises.
    """

    def __init__(self, db: Any, session_in: Callable[[Any], Session]) -> None:
        self._db = db
        self._session_in = session_in
        self.manager = transaction.manager.manager
        #: Whether the storage has to be asked for the commits of others.
        self.must_poll = abilities.must_be_polled(db)
        self._open()

    def _open(self) -> None:
        connection = self._db.open(self.manager)
        # Poll when an attempt begins, not also after each commit; and no idle thread keeps a
        # transaction of PostgreSQL open.
        connection.explicit_transactions = True
        _keep_open(connection)
        self._connections = connection.connections
        self._snapshot: Any = None
        self._transaction: Any = None
        self._reusable = False
        try:
            # What each new transaction of this manager is like.
            self._fresh = {
                name: copy.copy(value) if isinstance(value, list | dict) else value
                for name, value in vars(self.manager.begin()).items()
            }
            self._unchanged = {n: v for n, v in self._fresh.items() if n not in _CHANGED}
            self.session = self._session_in(connection)
        except BaseException:
            self.manager.abort()
            connection.close()
            raise

    def close(self) -> None:
        """Abort what is under way, and close the connection."""
        self.manager.abort()
        self.session.connection.close()

    def reopen(self, backoff: Backoff) -> None:
        """Begin anew with an empty cache; see `errors.poisons`.

        Raises Stopped if others have the worker's jobs, or if the worker stops meanwhile.
        """
        resetCaches()
        self.close()
        while True:
            try:
                self._open()
                return
            except KeyError as error:
                raise Stopped from error
            except Exception as error:
                backoff.wait(error)

    # Transactions

    def begin(self) -> None:
        """Begin the transaction for the next job, with a snapshot of now.

        If nobody has committed since the last one began, and the last job has left no
        trace in it, then it is as good as a new one, which costs more than a short job. Unless
        it is over: results were committed meanwhile, or jobs claimed.
        Where that would have to be asked for, the same snapshot serves for _SNAPSHOT_SECONDS;
        it is at least as new as the claim of the job, or it wouldn't show the job as claimed.
        """
        reusable, self._reusable = self._reusable, False
        if self.must_poll:
            seen: Any = time.monotonic()
            fresh = self._snapshot is not None and seen - self._snapshot < _SNAPSHOT_SECONDS
        else:
            seen = self._db.lastTransaction()
            fresh = seen == self._snapshot
        if not (reusable and fresh and self.manager.get() is self._transaction):
            self._snapshot = seen
            self._transaction = self.manager.begin()

    def is_untouched(self) -> bool:
        """Whether the transaction is as it was at its begin: nothing joined, no hook, no note."""
        txn = self.manager.get()
        return txn is self._transaction and vars(txn) == self._fresh

    def was_aborted(self) -> bool:
        """Whether somebody else has aborted the transaction, or begun another one."""
        begun = self._transaction
        return self.manager.get() is not begun and begun.status != Status.COMMITTED

    def is_current(self) -> bool:
        """Whether the transaction that was begun last is the thread's still, and can go on."""
        txn = self.manager.get()
        return txn is self._transaction and txn.status == self._fresh["status"]

    def is_plain(self) -> bool:
        """Whether nothing but changes of databases, and puts, came to that transaction since its
        begin: no hook, no note, no resource of another kind.
        """
        txn = self.manager.get()
        if txn is not self._transaction:
            return False
        if not all(isinstance(resource, Connection) for resource in txn._resources):  # noqa: SLF001
            return False
        now = vars(txn)
        if "_data" in now and not only_delivers(now["_data"]):
            return False
        return {name: now[name] for name in now if name not in _CHANGED} == self._unchanged

    def reuse(self) -> None:
        """Let the next job have this transaction, which is untouched, if that is as good."""
        self._reusable = len(self._connections) == 1

    def check_joined(self) -> None:
        """Raise BadStatus if two connections of one database have joined the transaction.

        Each would wait for the other one's commit, and with them all commits of the process.
        """
        # The package transaction has no other way to ask.
        resources = self.manager.get()._resources  # noqa: SLF001
        if len(resources) == 1:
            return
        joined = [resource for resource in resources if isinstance(resource, Connection)]
        databases = [connection.db() for connection in joined]
        for database in databases:
            if databases.count(database) > 1:
                raise BadStatus(
                    f"the job has changed the database {database.database_name!r} through two "
                    "connections in one transaction, which could never be committed; work with "
                    "the objects that the job was given, or open the other connection with a "
                    "transaction manager of its own: db.open(transaction.TransactionManager())"
                )

    def catch_up(self) -> None:
        """Take note of the commits of others, which is kept for the connection until then."""
        self._reusable = False
        with contextlib.suppress(Exception):  # which the next job will meet again
            self.manager.begin()
            self.manager.abort()

    def load_ahead(self, claims: Sequence[Claim]) -> int:
        """Load jobs that are run next, which is cheaper at once than one by one; how many."""
        # Which the runner will meet again, and answer for; a module may call sys.exit.
        with contextlib.suppress(Exception, SystemExit):
            self.begin()
            self.reuse()
            return self.session.load(claims, defaults.LOAD_AHEAD)
        return 0


def _keep_open(connection: Any) -> None:
    """Refuse a job that closes the connection; others may, as the database when it closes."""

    def close(primary: bool = True) -> None:
        if current.get(None) is not None:
            raise BadStatus(
                "this connection is the worker's, which closes it; a job must leave the "
                "connections of its arguments open, and close only those that it has opened"
            )
        del connection.close  # this function
        connection.close(primary)

    connection.close = close
