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
    with zodbjobs.Worker(db, threads=3) as worker:
        queue.put(sample.nothing)
        for _ in range(50):
            account.deposit(1)
            transaction.commit()
        patience.until(lambda: all(is_told(runner) for runner in worker._shift._runners))


def is_told(runner: Any) -> bool:
    """Whether its connection has been told of all changes; it is opened by its thread."""
    return hasattr(runner, "desk") and not runner.desk.connection._storage._invalidations
