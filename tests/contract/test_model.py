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
    #: "callback": one whose job hasn't ended; "gone": one that was taken out.
    state: str = "pending"
    callbacks: list[int] = dataclasses.field(default_factory=list)
    #: Whether it is a callback, and whether its job isn't COMPLETED before it has ended.
    is_callback: bool = False
    counts: bool = False
    #: What it waits for, whether any of that ended without success, and matters.
    waits: set[int] = dataclasses.field(default_factory=set)
    skips: bool = False
    has_failed: bool = False
    #: Whether it has a quota, of which there is one slot, and its unique key.
    limited: bool = False
    unique: str | None = None

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
        entry.waits, entry.skips, entry.has_failed = set(), False, False

    def end(self, entry: Entry, state: str, now: datetime) -> None:
        """An entry has ended; what follows it goes on."""
        entry.state = state
        self.history.append(entry.number)
        for number in entry.callbacks:
            callback = self.entries[number]
            if callback.state == "callback":
                self.put(callback, 0, now)
        self.count(entry, state == "succeeded", now)

    def holder(self, key: str | None) -> Entry | None:
        """What waits with a unique key."""
        waiting = [e for e in self.entries if e.state in ("pending", "blocked")]
        return next((e for e in waiting if key is not None and e.unique == key), None)

    def batch(self, now: datetime) -> list[Entry]:
        """What is claimed at once: of what has a quota the first one only."""
        due = [e for e in self.waiting(now) if e.due <= now]
        first = next((e for e in due if e.limited), None)
        return [e for e in due if not e.limited or e is first][:100]

    def count(self, entry: Entry, succeeded: bool, now: datetime) -> None:
        for waiting in self.entries:
            if entry.number in waiting.waits and waiting.state == "blocked":
                waiting.waits.remove(entry.number)
                waiting.has_failed = waiting.has_failed or not succeeded
                if not waiting.waits:
                    self.open(waiting, now)

    def open(self, entry: Entry, now: datetime) -> None:
        if entry.skips and entry.has_failed:
            self.end(entry, "skipped", now)
        else:
            entry.state = "pending"

    def is_live(self, entry: Entry) -> bool:
        """Whether its status is CALLBACKS, if it has ended."""
        found = [self.entries[number] for number in entry.callbacks]
        return any(e.counts and (e.state not in OVER or self.is_live(e)) for e in found)


def job_of(number: int, fails: bool) -> zodbjobs.Job:
    return zodbjobs.Job(sample.note_and_fail if fails else sample.note, number)


ENDED = ("succeeded", "failed", "cancelled", "skipped")
OVER = (*ENDED, "forgotten")


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
        self.queue.quotas.create("one")
        transaction.commit()
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

    @rule(fails=st.booleans(), limited=st.booleans(), priority=PRIORITIES, delay=DELAYS)
    def put(self, fails: bool, limited: bool, priority: int, delay: float | None) -> None:
        job, entry = self.make(fails)
        after = None if delay is None else timedelta(seconds=delay)
        names = ["one"] if limited else None
        self.queue.put(job, begin_after=after, priority=priority, quota_names=names)
        entry.limited = limited
        self.model.put(entry, priority, self.due(delay))

    @rule(key=st.sampled_from("ab"), priority=PRIORITIES, delay=DELAYS, limited=st.booleans())
    def put_unique(self, key: str, priority: int, delay: float | None, limited: bool) -> None:
        after = None if delay is None else timedelta(seconds=delay)
        options: Any = {"begin_after": after, "priority": priority, "unique": key}
        holder = self.model.holder(key)
        if holder is not None:
            other = zodbjobs.Job(sample.note, "never")
            assert self.queue.put(other, **options) is self.jobs[holder.number]
            return
        job, entry = self.make(False)
        self.queue.put(job, quota_names=["one"] if limited else [], **options)
        entry.limited, entry.unique = limited, key
        self.model.put(entry, priority, self.due(delay))

    def limited(self) -> list[Entry]:
        return [e for e in self.model.waiting(self.clock.datetime()) if e.limited]

    @precondition(lambda self: self.limited())
    @rule(data=st.data())
    def lift(self, data: Any) -> None:
        entry = data.draw(st.sampled_from(self.limited()))
        self.jobs[entry.number].quota_names = []
        entry.limited = False

    @rule(count=st.integers(1, 80), priority=PRIORITIES, delay=DELAYS)
    def put_many(self, count: int, priority: int, delay: float | None) -> None:
        made = [self.make(False) for _ in range(count)]
        after = None if delay is None else timedelta(seconds=delay)
        self.queue.put_many([job for job, _ in made], begin_after=after, priority=priority)
        for _, entry in made:
            self.model.put(entry, priority, self.due(delay))

    @precondition(lambda self: self.may_be_followed())
    @rule(data=st.data(), skips=st.booleans(), fails=st.booleans(), priority=PRIORITIES)
    def put_after(self, data: Any, skips: bool, fails: bool, priority: int) -> None:
        before = data.draw(st.lists(st.sampled_from(self.may_be_followed()), min_size=1))
        before = [e for e in before if e.state != "new"]
        job, entry = self.make(fails)
        on_failure = "skip" if skips else "run"
        after = [self.jobs[e.number] for e in before]
        self.queue.put(job, priority=priority, after=after, on_failure=on_failure)
        self.model.put(entry, priority, self.due(None))
        entry.skips = skips
        entry.waits = {e.number for e in before if e.state not in ENDED}
        entry.has_failed = any(e.state in ENDED and e.state != "succeeded" for e in before)
        entry.state = "blocked"
        if not entry.waits:
            self.model.open(entry, self.due(None))

    @precondition(lambda self: self.may_be_followed())
    @rule(data=st.data())
    def add_callback(self, data: Any) -> None:
        parent = data.draw(st.sampled_from(self.may_be_followed()))
        callback, entry = self.make(False)
        callback.callable = sample.note_number
        assert self.jobs[parent.number].add_callback(callback) is callback
        entry.is_callback = True
        parent.callbacks.append(entry.number)
        if parent.state in ENDED:
            self.model.put(entry, 0, self.due(None))
        else:
            entry.state, entry.counts = "callback", True

    def may_be_followed(self) -> list[Entry]:
        return [e for e in self.model.entries if e.state not in ("forgotten", "gone")]

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
        now = self.clock.datetime()
        sample.noted.clear()
        number = run_in_groups(self.db)
        transaction.begin()
        ran: list[int] = []
        while batch := self.model.batch(now):
            ran += [entry.number for entry in batch]
            for entry in batch:
                self.model.end(entry, "failed" if entry.fails else "succeeded", now)
        assert (sample.noted, number) == (ran, len(ran))
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
        entry.state, entry.counts = "gone" if entry.is_callback else "new", False
        entry.unique = None
        self.model.count(entry, False, self.due(None))

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
        self.model.end(entry, "cancelled", self.due(None))

    def may_be_retried(self) -> list[Entry]:
        ended = [e for e in self.model.entries if e.state in RETRIED and not e.is_callback]
        entries = self.model.entries
        return [
            entry
            for entry in ended
            if not self.model.is_live(entry)
            and all(entries[n].state in (*OVER, "gone", "callback") for n in entry.callbacks)
        ]

    @precondition(lambda self: self.may_be_retried())
    @rule(data=st.data())
    def retry(self, data: Any) -> None:
        entry = data.draw(st.sampled_from(self.may_be_retried()))
        if self.model.holder(entry.unique) is not None:
            with pytest.raises(BadStatus, match="unique key"):
                self.queue.retry(self.jobs[entry.number])
            return
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
                shown = SHOWN.get(entry.state, entry.state)
                assert (job.outcome or job.status) == shown
            if entry.state in ENDED:
                status = "callbacks" if self.model.is_live(entry) else "completed"
                assert job.status == status
            if entry.state == "succeeded":
                assert job.result == entry.number


RETRIED = ("failed", "cancelled", "skipped")
SHOWN = {"blocked": "pending", "callback": "new", "gone": "new"}

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
