"""A queue under random use does what a plain list of jobs would do."""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import sample
import transaction
from bench import run_in_groups
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from storages import MAKERS

import zodbjobs
from zodbjobs import defaults
from zodbjobs.errors import BadStatus
from zodbjobs.stored.lifecycle import keys
from zodbjobs.testing import moving_clock

PRIORITIES = st.sampled_from([0, 0, 0, -8, 1, 7])
# The clock stands at half seconds, due times at whole ones, so that there are no ties.
DELAYS = st.sampled_from([None, None, 0.5, 1.5, 30.5])
START = datetime(2030, 1, 1, 0, 0, 0, 500_000, tzinfo=UTC)


@dataclasses.dataclass
class Entry:
    """What the model knows of a job."""

    number: int
    fails: bool
    priority: int = 0
    due: datetime = START
    turn: int = 0
    state: str = "pending"

    def order(self) -> Any:
        return (-self.priority, self.due, self.turn)


class Model:
    """The queue as a list."""

    def __init__(self) -> None:
        self.entries: list[Entry] = []
        self.history: list[int] = []
        self.turn = 0

    def waiting(self, now: datetime) -> list[Entry]:
        pending = [e for e in self.entries if e.state == "pending"]
        due = sorted((e for e in pending if e.due <= now), key=Entry.order)
        later = [e for e in pending if e.due > now]
        return due + sorted(later, key=lambda e: (e.due, -e.priority, e.turn))

    def put(self, entry: Entry, priority: int, due: datetime) -> None:
        self.turn += 1
        entry.state, entry.priority, entry.due, entry.turn = "pending", priority, due, self.turn


def job_of(number: int, fails: bool) -> zodbjobs.Job:
    return zodbjobs.Job(sample.note_and_fail if fails else sample.note, number)


class QueueMachine(RuleBasedStateMachine):
    """Does the same to a queue and to the model."""

    maker: Any

    def __init__(self) -> None:
        super().__init__()
        with contextlib.ExitStack() as contexts:
            folder = contexts.enter_context(tempfile.TemporaryDirectory())
            place = contexts.enter_context(type(self).maker(Path(folder)))
            self.clock = contexts.enter_context(moving_clock(START))
            # Those of a few jobs also go into one record, as otherwise only those of many.
            patch = contexts.enter_context(pytest.MonkeyPatch.context())
            patch.setattr(defaults, "SHARED_TOGETHER", 2)
            self.contexts = contexts.pop_all()
        # The clock has been set back, by as much as may be taken for a jitter.
        keys._later_tie = keys._last_now = 0
        self.db = place.open()
        zodbjobs.install(self.db)
        self.connection = self.db.open()
        self.queue = zodbjobs.get_queue(self.connection)
        self.jobs: list[zodbjobs.Job] = []
        self.model = Model()
        self.committed = copy.deepcopy(self.model)
        sample.noted.clear()

    def teardown(self) -> None:
        transaction.abort()
        self.connection.close()
        self.db.close()
        self.contexts.close()

    def make(self, fails: bool) -> tuple[zodbjobs.Job, Entry]:
        number = len(self.jobs)
        job = job_of(number, fails)
        self.jobs.append(job)
        entry = Entry(number, fails)
        self.model.entries.append(entry)
        return job, entry

    def due(self, delay: float | None) -> datetime:
        return self.clock.datetime() + timedelta(seconds=delay or 0)

    @rule(fails=st.booleans(), priority=PRIORITIES, delay=DELAYS)
    def put(self, fails: bool, priority: int, delay: float | None) -> None:
        job, entry = self.make(fails)
        after = None if delay is None else timedelta(seconds=delay)
        self.queue.put(job, begin_after=after, priority=priority)
        self.model.put(entry, priority, self.due(delay))

    @rule(count=st.integers(1, 80), priority=PRIORITIES, delay=DELAYS)
    def put_many(self, count: int, priority: int, delay: float | None) -> None:
        made = [self.make(False) for _ in range(count)]
        after = None if delay is None else timedelta(seconds=delay)
        self.queue.put_many([job for job, _ in made], begin_after=after, priority=priority)
        for _, entry in made:
            self.model.put(entry, priority, self.due(delay))

    @rule(delay=DELAYS)
    def put_and_roll_back(self, delay: float | None) -> None:
        savepoint = transaction.savepoint()
        after = None if delay is None else timedelta(seconds=delay)
        self.queue.put(zodbjobs.Job(sample.note, "never"), begin_after=after)
        savepoint.rollback()

    @rule()
    def commit(self) -> None:
        transaction.commit()
        self.committed = copy.deepcopy(self.model)

    @rule()
    def abort(self) -> None:
        transaction.abort()
        self.model = copy.deepcopy(self.committed)
        del self.jobs[len(self.model.entries) :]
        for number, job in enumerate(self.jobs):
            if not hasattr(job, "_call"):  # never stored, but for a savepoint
                with pytest.raises(BadStatus, match="make another"):
                    self.queue.put(job)
                self.jobs[number] = job_of(number, self.model.entries[number].fails)

    @rule(seconds=st.integers(1, 20))
    def pass_time(self, seconds: int) -> None:
        self.clock.advance(seconds)

    @rule()
    def run(self) -> None:
        self.commit()
        due = [e for e in self.model.waiting(self.clock.datetime()) if e.due <= self.due(None)]
        sample.noted.clear()
        assert run_in_groups(self.db) == len(due)
        transaction.begin()
        assert sample.noted == [entry.number for entry in due]
        for entry in due:
            entry.state = "failed" if entry.fails else "succeeded"
            self.model.history.append(entry.number)
        self.committed = copy.deepcopy(self.model)

    @precondition(lambda self: self.model.waiting(self.clock.datetime()))
    @rule(data=st.data(), pull=st.booleans())
    def take_out(self, data: Any, pull: bool) -> None:
        waiting = self.model.waiting(self.clock.datetime())
        index = data.draw(st.integers(0, len(waiting) - 1))
        entry = waiting[index]
        if pull:
            assert self.queue.pull(index) is self.jobs[entry.number]
        else:
            self.queue.remove(self.jobs[entry.number])
        entry.state = "new"

    @precondition(lambda self: any(e.state == "new" for e in self.model.entries))
    @rule(priority=PRIORITIES)
    def put_again(self, priority: int) -> None:
        entry = next(e for e in self.model.entries if e.state == "new")
        self.queue.put(self.jobs[entry.number], begin_after=timedelta(0), priority=priority)
        self.model.put(entry, priority, self.due(None))

    @precondition(lambda self: self.model.waiting(self.clock.datetime()))
    @rule(data=st.data())
    def cancel(self, data: Any) -> None:
        entry = data.draw(st.sampled_from(self.model.waiting(self.clock.datetime())))
        self.jobs[entry.number].cancel()
        entry.state = "cancelled"
        self.model.history.append(entry.number)

    @precondition(lambda self: any(e.state in RETRIED for e in self.model.entries))
    @rule(data=st.data())
    def retry(self, data: Any) -> None:
        ended = [e for e in self.model.entries if e.state in RETRIED]
        entry = data.draw(st.sampled_from(ended))
        self.queue.retry(self.jobs[entry.number])
        self.model.history.remove(entry.number)
        self.model.put(entry, entry.priority, self.due(None))

    @precondition(lambda self: self.model.history)
    @rule(data=st.data())
    def forget(self, data: Any) -> None:
        number = data.draw(st.sampled_from(self.model.history))
        self.queue.forget(self.jobs[number])
        self.model.history.remove(number)
        self.model.entries[number].state = "forgotten"

    @invariant()
    def they_agree(self) -> None:
        waiting = [e.number for e in self.model.waiting(self.clock.datetime())]
        assert [job.args[0] for job in self.queue] == waiting
        assert len(self.queue) == len(waiting)
        assert bool(self.queue) == bool(waiting)
        ended = sorted(job.args[0] for job in self.queue.finished())
        assert ended == sorted(self.model.history)
        for entry in self.model.entries:
            job = self.jobs[entry.number]
            if entry.state != "forgotten":
                assert (job.outcome or job.status) == entry.state
            if entry.state == "succeeded":
                assert job.result == entry.number


RETRIED = ("failed", "cancelled")

_quick = settings(
    max_examples=25,
    stateful_step_count=25,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)


@pytest.mark.promise(23, 55, 60, 61, 62, 63)
@pytest.mark.parametrize("storage", sorted(MAKERS))
def test_a_queue_is_like_a_list(storage: str) -> None:
    machine: Any = type("Machine", (QueueMachine,), {"maker": staticmethod(MAKERS[storage])})
    from hypothesis.stateful import run_state_machine_as_test

    run_state_machine_as_test(machine, settings=_quick)


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    """Hypothesis runs many examples; their logs are of no use."""
    import logging

    logging.getLogger("zodbjobs").setLevel(logging.CRITICAL + 1)
    yield
    logging.getLogger("zodbjobs").setLevel(logging.NOTSET)
