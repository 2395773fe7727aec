"""Transactions of two, one in the middle of the other's commit."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import transaction

import zodbjobs


@contextlib.contextmanager
def committed(db: Any) -> Iterator[Any]:
    """The queue in another connection, and a commit at the end."""
    manager = transaction.TransactionManager()
    connection = db.open(manager)
    try:
        with manager:
            yield zodbjobs.get_queue(connection)
    finally:
        connection.close()


def commit_meanwhile(manager: Any, change: Callable[[], None]) -> None:
    """Let `change` be committed by another, once, at the next commit of `manager`."""
    commit = manager.commit

    def late_commit() -> None:
        manager.commit = commit
        change()
        commit()

    manager.commit = late_commit
