"""The threads of a worker that have nothing to do."""

from __future__ import annotations

from collections import deque
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


class Work(deque[Any]):
    """Jobs that mustn't be taken while a thread looks through them to load them."""

    crew: Any
    taken = 0

    def popleft(self) -> Any:
        assert self.crew._change._is_owned()
        self.taken += 1
        return super().popleft()

    def __iter__(self) -> Any:
        assert self.crew._change._is_owned()
        return super().__iter__()


def test_jobs_are_taken_one_thread_at_a_time(
    db: Any, queue: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else "deque mutated during iteration" ends the thread that looks through them."""
    made = crew.Crew.__init__

    def watched(self: crew.Crew, *args: Any) -> None:
        made(self, *args)
        self._work = work
        work.crew = self

    work = Work()
    monkeypatch.setattr(crew.Crew, "__init__", watched)
    jobs = queue.put_many([sample.nothing] * 300)
    transaction.commit()
    with zodbjobs.Worker(db):
        patience.wait_for(jobs)
    assert work.taken == 300
