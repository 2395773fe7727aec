"""A machine that does the same to a queue and to the model of it; hypothesis chooses what."""

from __future__ import annotations

import contextlib
import copy
import functools
import sys
import tempfile
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import sample
import transaction
from bench import run_in_groups
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from invariants import unended
from queue_model import ENDED, OVER, Entry, Model

import zodbjobs
from zodbjobs import defaults
from zodbjobs.errors import BadStatus
from zodbjobs.stored.lifecycle import keys, tallies
from zodbjobs.testing import moving_clock

PRIORITIES = st.sampled_from([0, 0, 0, -8, 1, 7])
# The clock stands at half seconds, due times at whole ones, so that there are no ties.
DELAYS = st.sampled_from([None, None, 0.5, 1.5, 30.5])
START = datetime(2030, 1, 1, 0, 0, 0, 500_000, tzinfo=UTC)

#: Those that may be put in again; how the other states of the model are shown.
RETRIED = ("failed", "cancelled", "skipped")
SHOWN = {"blocked": "pending", "held": "pending", "returned": "active"}
SHOWN |= dict.fromkeys(("callback", "gone", "part"), "new")


def quota_names(limited: bool, rated: bool) -> list[str]:
    """The quotas of a job: "one" has one slot, of "slow" one job begins in 10 seconds."""
    return ["one"] * limited + ["slow"] * rated


class QueueMachine(RuleBasedStateMachine):
    """Does the same to a queue and to the model: jobs, callbacks, quotas, unique keys, `after`."""

    maker: Any

    def __init__(self) -> None:
        super().__init__()
        with contextlib.ExitStack() as contexts:
            folder = contexts.enter_context(tempfile.TemporaryDirectory())
            place = contexts.enter_context(type(self).maker(Path(folder), True))
            self.clock = contexts.enter_context(moving_clock(START))
            # Those of a few jobs also go into one record, as otherwise only those of many.
            patch = contexts.enter_context(pytest.MonkeyPatch.context())
            patch.setattr(defaults, "SHARED_TOGETHER", 2)
            # Of more than so many that become due at once not all are looked at in one claim.
            patch.setattr(defaults, "DRAIN_PER_INBOX", 5_000)
            self.contexts = contexts.pop_all()
        # The clock has been set back, by as much as may be taken for a jitter.
        keys._later_tie = keys._last_now = 0
        self.db = place.open()
        self.connection = self.db.open()
        self.queue = zodbjobs.get_queue(self.connection)
        self.queue.quotas.create("one")
        self.queue.quotas.create("slow", rate=1, per=timedelta(seconds=10))
        transaction.commit()
        self.jobs: list[zodbjobs.Job] = []
        #: How each is made: an abort takes away what is in one that was never stored.
        self.makers: list[Callable[[], zodbjobs.Job]] = []
        self.model = Model()
        self.committed = copy.deepcopy(self.model)
        sample.noted.clear()

    def teardown(self) -> None:
        try:
            if sys.exc_info()[0] is None:
                self.run_dry()
        finally:
            self.close()

    def run_dry(self) -> None:
        """Run what is left, now and later."""
        for seconds in (0, 60):
            self.pass_time(seconds)
            self.run()
            self.they_agree()

    def close(self) -> None:
        transaction.abort()
        self.connection.close()
        self.db.close()
        self.contexts.close()

    def make(self, function: Callable[..., Any], *args: Any) -> tuple[zodbjobs.Job, Entry]:
        """A job that calls `function` with its number, and its entry."""
        number = len(self.jobs)
        return self.made(functools.partial(zodbjobs.Job, function, number, *args))

    def made(self, maker: Callable[[], zodbjobs.Job]) -> tuple[zodbjobs.Job, Entry]:
        job = maker()
        entry = Entry(len(self.jobs), calls=job.description)
        self.jobs.append(job)
        self.makers.append(maker)
        self.model.entries.append(entry)
        return job, entry

    def make_simple(self, fails: bool) -> tuple[zodbjobs.Job, Entry]:
        job, entry = self.make(sample.note_and_fail if fails else sample.note)
        entry.fails = fails
        return job, entry

    def due(self, delay: float | None) -> datetime:
        return self.clock.datetime() + timedelta(seconds=delay or 0)

    @rule(
        fails=st.booleans(),
        limited=st.booleans(),
        rated=st.booleans(),
        priority=PRIORITIES,
        delay=DELAYS,
    )
    def put(
        self, fails: bool, limited: bool, rated: bool, priority: int, delay: float | None
    ) -> None:
        job, entry = self.make_simple(fails)
        after = None if delay is None else timedelta(seconds=delay)
        names = quota_names(limited, rated)
        self.queue.put(job, begin_after=after, priority=priority, quota_names=names)
        entry.limited, entry.rated = limited, rated
        self.model.put(entry, priority, self.due(delay))

    @rule(
        key=st.sampled_from("ab"),
        priority=PRIORITIES,
        delay=DELAYS,
        limited=st.booleans(),
        until=st.sampled_from(["begun", "begun", "ended"]),
    )
    def put_unique(
        self, key: str, priority: int, delay: float | None, limited: bool, until: str
    ) -> None:
        after = None if delay is None else timedelta(seconds=delay)
        options: Any = {"begin_after": after, "priority": priority, "unique": key}
        options["unique_until"] = until
        holder = self.model.holder(key)
        if holder is not None:
            other = zodbjobs.Job(sample.note, "never")
            assert self.queue.put(other, **options) is self.jobs[holder.number]
            return
        job, entry = self.make_simple(False)
        self.queue.put(job, quota_names=["one"] if limited else [], **options)
        entry.limited, entry.unique = limited, key
        entry.has_key, entry.until_ended = True, until == "ended"
        self.model.put(entry, priority, self.due(delay))

    def limited(self) -> list[Entry]:
        waiting = self.model.waiting(self.clock.datetime())
        return [e for e in waiting if e.limited or e.rated]

    @precondition(lambda self: self.limited())
    @rule(data=st.data())
    def lift(self, data: Any) -> None:
        entry = data.draw(st.sampled_from(self.limited()))
        self.jobs[entry.number].quota_names = []
        entry.limited = entry.rated = False

    @rule(count=st.integers(1, 80), priority=PRIORITIES, delay=DELAYS)
    def put_many(self, count: int, priority: int, delay: float | None) -> None:
        made = [self.make_simple(False) for _ in range(count)]
        after = None if delay is None else timedelta(seconds=delay)
        self.queue.put_many([job for job, _ in made], begin_after=after, priority=priority)
        for _, entry in made:
            self.model.put(entry, priority, self.due(delay))

    @precondition(lambda self: self.may_be_followed())
    @rule(data=st.data(), skips=st.booleans(), fails=st.booleans(), priority=PRIORITIES)
    def put_after(self, data: Any, skips: bool, fails: bool, priority: int) -> None:
        before = data.draw(st.lists(st.sampled_from(self.may_be_followed()), min_size=1))
        before = [e for e in dict.fromkeys(before) if e.state not in ("new", "part")]
        job, entry = self.make_simple(fails)
        on_failure = "skip" if skips else "run"
        after = [self.jobs[e.number] for e in before]
        self.queue.put(job, priority=priority, after=after, on_failure=on_failure)
        self.model.put(entry, priority, self.due(None))
        self.model.put_after(entry, before, skips, self.due(None))

    @precondition(lambda self: self.may_be_followed())
    @rule(data=st.data())
    def add_callback(self, data: Any) -> None:
        parent = data.draw(st.sampled_from(self.may_be_followed()))
        callback, entry = self.make(sample.note_number)
        assert self.jobs[parent.number].add_callback(callback) is callback
        entry.is_callback = True
        parent.callbacks.append(entry.number)
        if parent.state in ENDED:
            self.model.put(entry, 0, self.due(None))
        else:
            entry.state, entry.counts = "callback", True

    def may_be_followed(self) -> list[Entry]:
        # A job that was never stored keeps what an abort takes from others.
        stored = (e for e in self.model.entries if self.jobs[e.number]._p_jar or e.state != "new")
        return [e for e in stored if e.state not in ("forgotten", "gone")]

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
        del self.jobs[len(self.model.entries) :], self.makers[len(self.model.entries) :]
        for number, job in enumerate(self.jobs):
            if not hasattr(job, "_call"):  # never stored, but for a savepoint
                with pytest.raises(BadStatus, match="make another"):
                    self.queue.put(job)
                self.jobs[number] = self.makers[number]()

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
        ran, claimed, then = self.model.run(now)
        assert sample.noted == ran
        assert (number, self.clock.datetime()) == (claimed, then)
        self.committed = copy.deepcopy(self.model)

    def in_state(self, *states: str) -> list[Entry]:
        return [e for e in self.model.entries if e.state in states]

    @precondition(lambda self: self.model.waiting(self.clock.datetime()))
    @rule(data=st.data())
    def pull(self, data: Any) -> None:
        waiting = self.model.waiting(self.clock.datetime())
        index = data.draw(st.integers(0, len(waiting) - 1))
        if waiting[index].returns is None:
            assert self.queue.pull(index) is self.jobs[waiting[index].number]
            self.model.take_out(waiting[index], self.due(None))

    @precondition(lambda self: self.in_state("pending", "blocked", "held"))
    @rule(data=st.data())
    def remove(self, data: Any) -> None:
        entry = data.draw(st.sampled_from(self.in_state("pending", "blocked", "held")))
        if entry.returns is None:
            self.queue.remove(self.jobs[entry.number])
            self.model.take_out(entry, self.due(None))

    @precondition(lambda self: any(e.state == "new" for e in self.model.entries))
    @rule(priority=PRIORITIES)
    def put_again(self, priority: int) -> None:
        entry = next(e for e in self.model.entries if e.state == "new")
        self.queue.put(self.jobs[entry.number], begin_after=timedelta(0), priority=priority)
        self.model.put(entry, priority, self.due(None))

    @precondition(lambda self: self.in_state("pending", "blocked", "held", "returned"))
    @rule(data=st.data())
    def cancel(self, data: Any) -> None:
        found = self.in_state("pending", "blocked", "held", "returned")
        entry = data.draw(st.sampled_from(found))
        self.jobs[entry.number].cancel()
        self.model.cancel(entry, self.due(None))

    def may_be_retried(self) -> list[Entry]:
        ended = [e for e in self.in_state(*RETRIED) if not e.is_callback and e.returns is None]
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
        holder = self.model.holder(entry.unique)
        if holder is not None:
            with pytest.raises(BadStatus, match="unique key"):
                self.queue.retry(self.jobs[entry.number])
            return
        self.queue.retry(self.jobs[entry.number])
        self.model.history.remove(entry.number)
        entry.waiters, entry.has_key = [], entry.unique is not None
        self.model.put_again(entry, self.due(None))

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
        numbers = {job: number for number, job in enumerate(self.jobs)}
        assert [numbers[job] for job in self.queue] == waiting
        assert len(self.queue) == len(waiting)
        assert bool(self.queue) == bool(waiting)
        ended = sorted(numbers[job] for job in self.queue.finished())
        assert ended == sorted(self.model.history)
        put = sum(map(tallies.put_into, self.queue.shards))
        ends = sum(sum(tallies.ends_of(shard).outcomes) for shard in self.queue.shards)
        assert put == unended(self.queue) + ends + self.model.removed
        for entry in self.model.entries:
            job = self.jobs[entry.number]
            if entry.state != "forgotten":
                shown = SHOWN.get(entry.state, entry.state)
                assert (job.outcome or job.status) == shown
            if entry.state in ENDED:
                status = "callbacks" if self.model.is_live(entry) else "completed"
                assert job.status == status
            if entry.state == "succeeded":
                assert job.result == entry.value
