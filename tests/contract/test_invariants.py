"""Two workers and two clients do what they like, in any order, and what is promised holds."""

from __future__ import annotations

import contextlib
import sys
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import sample
import state_machines
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
)
from storages import MAKERS
from two_workers import World

from zodbjobs import defaults
from zodbjobs.stored import job_index
from zodbjobs.stored.lifecycle import delivery, keys
from zodbjobs.testing import moving_clock

START = datetime(2030, 1, 1, tzinfo=UTC)

WORKER = st.integers(0, 1)
#: The second one is slow.
CLIENT = st.sampled_from([0, 0, 0, 1])
NUMBER = st.integers(0, 30)
HOW = st.sampled_from(["deposit", "deposit", "look", "fail", "snooze"])
NAMES = st.lists(st.sampled_from(["one", "two", "rate"]), max_size=2, unique=True)
MATCH = st.sampled_from([None, "sample:work", "sample:chore", "* of * jobs"])

OPTIONS = st.fixed_dictionaries(
    {
        "is_chore": st.booleans(),
        "retries": st.booleans(),
        "priority": st.sampled_from([0, 0, 5, -5]),
        "begin_after": st.sampled_from([None, None, None, timedelta(seconds=3)]),
        "quota_names": NAMES,
        "after": st.one_of(st.just([]), st.lists(NUMBER, max_size=2)),
        "on_failure": st.sampled_from(["run", "skip"]),
    },
    optional={
        "begin_by": st.just(timedelta(seconds=50)),
        "unique": st.sampled_from("ab"),
        "unique_until": st.just("ended"),
        "timeout": st.none(),
        "transactional": st.just(True),
    },
)


def action(name: str, *args: Any) -> Any:
    return st.tuples(st.just(name), *args)


PUTS = st.one_of(
    action("put", CLIENT, HOW, OPTIONS),
    action("put", CLIENT, HOW, OPTIONS),
    action("put", CLIENT, HOW, OPTIONS),
    action("put_many", CLIENT, st.integers(2, 6)),
    action("add_callback", CLIENT, NUMBER, HOW),
    action("compose", CLIENT, st.booleans(), st.lists(HOW, max_size=3), NAMES),
    action("put_returning", CLIENT, HOW, NAMES),
)
CHANGES = st.one_of(
    *(action(n, CLIENT, NUMBER) for n in ("cancel", "fail", "remove", "retry", "forget")),
    action("set_quotas", CLIENT, NUMBER, NAMES),
    action("resize", CLIENT, st.sampled_from(["one", "two"]), st.integers(1, 3)),
    action("pause", CLIENT, MATCH),
    action("resume", CLIENT, MATCH),
    action("resume", CLIENT, MATCH),
    action("commit"),
    action("commit"),
)
STEPS = st.one_of(
    action("turn", WORKER),
    action("claim", WORKER, st.integers(0, 5)),
    action("run", WORKER, st.integers(1, 3)),
    *(action(name, WORKER) for name in ("flush", "tick", "give_back")),
)
ACCIDENTS = st.one_of(
    *(action(name, WORKER) for name in ("kill", "stop", "fence", "overrun", "rescue")),
    action("pass_time", st.integers(1, 40)),
)
ANY = st.one_of(PUTS, CHANGES, STEPS, ACCIDENTS)


class Machine(RuleBasedStateMachine):
    """Any action after any other, or in the middle of it."""

    maker: Any

    def __init__(self) -> None:
        super().__init__()
        with contextlib.ExitStack() as contexts:
            folder = contexts.enter_context(tempfile.TemporaryDirectory())
            place = contexts.enter_context(type(self).maker(Path(folder), True))
            clock = contexts.enter_context(moving_clock(START))
            patch = contexts.enter_context(pytest.MonkeyPatch.context())
            # Few inboxes, bundles of a few jobs, and results together also of those.
            patch.setattr(defaults, "INBOXES", 2)
            patch.setattr(defaults, "SHARED_TOGETHER", 2)
            self.contexts = contexts.pop_all()
        # As in the example before.
        keys._later_tie = keys._last_now = job_index._last_place = 0
        delivery._producer.number = 0
        sample.noted.clear()
        self.db = place.open()
        self.world = World(self.db, clock)

    def teardown(self) -> None:
        try:
            if sys.exc_info()[0] is None:
                self.world.run_dry()
        finally:
            self.world.close()
            self.db.close()
            self.contexts.close()

    @initialize(actions=st.lists(PUTS, min_size=2, max_size=5))
    def begin(self, actions: list[Any]) -> None:
        for action in actions:
            self.world.do(action)
        self.world.commit()

    @rule(action=PUTS)
    def put(self, action: Any) -> None:
        self.world.do(action)

    @rule(action=st.one_of(CHANGES, STEPS, ACCIDENTS))
    def do(self, action: Any) -> None:
        self.world.do(action)

    @rule(which=WORKER)
    def turn(self, which: int) -> None:
        self.world.turn(which)

    @rule(which=WORKER, inner=ANY)
    def in_a_job(self, which: int, inner: Any) -> None:
        self.world.do_meanwhile(("turn", which), inner, "call")

    @rule(which=WORKER, name=st.sampled_from(["overrun", "fence", "cancel_running", "disturb"]))
    def take_away(self, which: int, name: str) -> None:
        self.world.do_meanwhile(("turn", which), (name, which), "call")

    @rule(which=WORKER, name=st.sampled_from(["turn", "tick", "flush"]))
    def at_once(self, which: int, name: str) -> None:
        self.world.do_meanwhile((name, which), ("turn", 1 - which), "commit")

    @rule(outer=st.one_of(STEPS, PUTS, CHANGES), inner=ANY)
    def in_a_commit(self, outer: Any, inner: Any) -> None:
        self.world.do_meanwhile(outer, inner, "commit")

    @invariant()
    def check(self) -> None:
        self.world.check()


#: How many examples take up to some 20 seconds.
EXAMPLES = {"MappingStorage": 50, "FileStorage": 30, "DemoStorage": 25}
EXAMPLES |= {"PostgreSQL": 5, "SQLite": 12, "ZEO": 15}


@pytest.mark.timeout(900)  # 20 seconds, and as often as others want the processor, too
@pytest.mark.parametrize("storage", sorted(MAKERS))
def test_what_always_holds(storage: str) -> None:
    state_machines.run(Machine, storage, EXAMPLES[storage], steps=40)
