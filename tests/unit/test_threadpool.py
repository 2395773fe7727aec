"""The threads of a worker."""

from __future__ import annotations

from collections import deque
from typing import Any

import patience
import pytest
import sample
import transaction

import zodbjobs
from zodbjobs.runtime import threadpool
from zodbjobs.runtime.assembly import Parts
from zodbjobs.runtime.workload import Workload


def test_idle_threads_take_note_of_commits(
    db: Any, queue: Any, account: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else what others have changed would be kept for them, and become more and more."""
    runners: list[Any] = []
    make = Parts.make_runner
    monkeypatch.setattr(
        Parts, "make_runner", lambda *args: runners.append(make(*args)) or runners[-1]
    )
    monkeypatch.setattr(threadpool, "_REST_SECONDS", 0.01)
    with zodbjobs.Worker(db, threads=3):
        queue.put(sample.nothing)
        for _ in range(50):
            account.deposit(1)
            transaction.commit()
        patience.until(lambda: len(runners) == 3 and all(map(is_told, runners)))


def is_told(runner: Any) -> bool:
    """Whether its connection has been told of all changes; it is opened by its thread."""
    return not runner.thread_session.session.connection._storage._invalidations


class Work(deque[Any]):
    """Jobs that mustn't be taken while a thread looks through them to load them."""

    workload: Any
    taken = 0

    def popleft(self) -> Any:
        assert self.workload.change._is_owned()
        self.taken += 1
        return super().popleft()

    def __iter__(self) -> Any:
        assert self.workload.change._is_owned()
        return super().__iter__()


def test_jobs_are_taken_one_thread_at_a_time(
    db: Any, queue: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else "deque mutated during iteration" ends the thread that looks through them."""
    made = Workload.__init__

    def watched(self: Workload, *args: Any) -> None:
        made(self, *args)
        self._claims = work
        work.workload = self

    work = Work()
    monkeypatch.setattr(Workload, "__init__", watched)
    jobs = queue.put_many([sample.nothing] * 300)
    transaction.commit()
    with zodbjobs.Worker(db):
        patience.wait_for(jobs)
    assert work.taken == 300
