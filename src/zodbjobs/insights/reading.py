"""Reading: a connection for who only looks."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import transaction


@contextlib.contextmanager
def reading(db: Any) -> Iterator[Any]:
    """A connection to read from, with a transaction manager of its own. Nothing is committed."""
    manager = transaction.TransactionManager()
    connection = db.open(manager)
    try:
        yield connection
    finally:
        manager.abort()
        connection.close()
