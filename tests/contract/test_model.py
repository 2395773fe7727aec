"""A queue under random use does what a plain list of jobs would do."""

from __future__ import annotations

import functools
from datetime import timedelta
from typing import Any

import pytest
import sample
import state_machines
from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule
from queue_machine import PRIORITIES, QueueMachine, quota_names
from queue_model import Entry, later
from storages import MAKERS

import zodbjobs

LIMITS = st.sampled_from([1, 3, None])
GLOBS = st.sampled_from([None, "sample:note", "sample:attempt"])


class Machine(QueueMachine):
    """With attempts that take time, fail or snooze, pauses, and jobs that are made of others."""

    def make_attempt(self, data: Any) -> tuple[zodbjobs.Job, Entry]:
        """A job that may fail, be late, snooze, or have other attempts."""
        fails, waits = data.draw(st.sampled_from([False, False, True])), data.draw(st.booleans())
        takes, snoozes = (
            data.draw(st.sampled_from([2, 0])),
            data.draw(st.sampled_from([0, 0, 1, 2])),
        )
        retries = data.draw(st.integers(0, 2))
        number = len(self.jobs)

        def maker() -> zodbjobs.Job:
            job = zodbjobs.Job(sample.attempt, number, fails, takes, snoozes, later(number))
            if retries:
                delay = later(number).total_seconds() if waits else 0
                job.retry_policy = zodbjobs.Retry(retries, delay=delay, backoff=1, jitter=0)
            return job

        job, entry = self.made(maker)
        entry.fails, entry.snoozes, entry.takes = fails, snoozes, takes
        entry.retries, entry.waits = retries, waits
        return job, entry

    @rule(
        data=st.data(),
        says=st.booleans(),
        limit=LIMITS,
        limited=st.booleans(),
        rated=st.booleans(),
    )
    def put_attempt(
        self, data: Any, says: bool, limit: float | None, limited: bool, rated: bool
    ) -> None:
        job, entry = self.make_attempt(data)
        options = {"timeout": limit} if says else {}
        self.queue.put(job, quota_names=quota_names(limited, rated), **options)
        entry.limited, entry.rated = limited, rated
        self.model.put(entry, 0, self.due(None))
        if says:
            entry.own_limit, entry.given_limit = limit, None

    @rule(
        data=st.data(),
        key=st.sampled_from("ab"),
        until=st.sampled_from(["begun", "ended"]),
        limit=LIMITS,
    )
    def put_unique_attempt(self, data: Any, key: str, until: str, limit: float | None) -> None:
        if self.model.holder(key) is None:
            job, entry = self.make_attempt(data)
            self.queue.put(job, unique=key, unique_until=until, timeout=limit)
            entry.unique, entry.has_key, entry.until_ended = key, True, until == "ended"
            self.model.put(entry, 0, self.due(None))
            entry.own_limit, entry.given_limit = limit, None

    @rule(limit=LIMITS)
    def set_limit(self, limit: float | None) -> None:
        self.queue.timeout = limit
        self.model.limit = limit

    # Pauses

    @rule(glob=GLOBS)
    def pause(self, glob: str | None) -> None:
        self.queue.pause("a reason", match=glob)
        if glob not in self.model.pauses:
            self.model.pauses.append(glob)
        assert self.queue.paused == ("a reason" if None in self.model.pauses else None)
        assert [pause.match for pause in self.queue.pauses] == self.model.pauses

    @precondition(lambda self: self.model.pauses)
    @rule(data=st.data())
    def resume(self, data: Any) -> None:
        glob = data.draw(st.sampled_from(self.model.pauses))
        assert self.queue.resume(glob)
        self.model.resume(glob)

    def run_dry(self) -> None:
        super().run_dry()
        while self.model.pauses:
            self.queue.resume(self.model.pauses[0])
            self.model.resume(self.model.pauses[0])
        super().run_dry()

    # Compositions

    @rule(data=st.data(), count=st.integers(1, 3), in_order=st.booleans(), priority=PRIORITIES)
    def compose(self, data: Any, count: int, in_order: bool, priority: int) -> None:
        parts = [self.make_attempt(data) for _ in range(count)]
        last, last_entry = self.make(sample.note_number)
        make = zodbjobs.serial if in_order else zodbjobs.parallel
        whole, entry = self.made(
            functools.partial(make, *(job for job, _ in parts), postprocess=last)
        )
        self.queue.put(whole, priority=priority)
        entry.calls, entry.in_order = "", in_order
        entry.parts, entry.returns = [e.number for _, e in parts], last_entry.number
        for each in (*entry.parts, entry.returns):
            self.model.entries[each].state = "part"
        self.model.put(entry, priority, self.due(None))

    @rule(data=st.data())
    def put_returning(self, data: Any) -> None:
        inner, inner_entry = self.make_attempt(data)
        outer, entry = self.make(sample.note_and_return, inner)
        self.queue.put(outer, begin_after=timedelta(seconds=0.5))
        entry.returns, inner_entry.state = inner_entry.number, "part"
        self.model.put(entry, 0, self.due(0.5))


#: How many examples take up to some 20 seconds.
EXAMPLES = {"MappingStorage": 45, "FileStorage": 30, "DemoStorage": 30}
EXAMPLES |= {"PostgreSQL": 12, "SQLite": 25, "ZEO": 15}


@pytest.mark.promise(23, 55, 60, 61, 62, 63)
@pytest.mark.timeout(900)  # 20 seconds, and as often as others want the processor, too
@pytest.mark.parametrize("storage", sorted(MAKERS))
def test_a_queue_is_like_a_list(storage: str) -> None:
    state_machines.run(Machine, storage, EXAMPLES[storage], steps=25)
