"""The threads of a worker that have nothing to do."""

from __future__ import annotations

from typing import Any

import patience
import pytest
import sample
import transaction

import zodbjobs
from zodbjobs.runtime import crew


def test_idle_threads_take_note_of_commits(
    db: Any, queue: Any, account: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else what others have changed would be kept for them, and become more and more."""
    monkeypatch.setattr(crew, "_REST_SECONDS", 0.01)
    with zodbjobs.Worker(db, threads=3):
        queue.put(sample.nothing)
        for _ in range(50):
            account.deposit(1)
            transaction.commit()
        # The dispatcher's connection is told with its next beat.
        patience.until(lambda: sum(map(bool, untold(db))) <= 1)


def untold(db: Any) -> list[set[bytes]]:
    """For each connection, the objects of whose change it hasn't been told yet."""
    with db.transaction():
        return [connection._storage._invalidations for connection in open_connections(db)]


def open_connections(db: Any) -> list[Any]:
    found: list[Any] = []
    db._connectionMap(lambda c: found.append(c) if c.opened else None)
    return found
