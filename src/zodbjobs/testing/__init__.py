"""For the tests of applications: run jobs, look at what was put, move the clock, have accidents.

With pytest the fixture `zodbjobs_db` is there: a database in memory, with queues, in which what
is put is noted for `assert_put`.
"""

from zodbjobs.testing.accidents import conflict_once, die_once, lose_connection_once
from zodbjobs.testing.clocks import MovableClock, moving_clock
from zodbjobs.testing.puts import assert_not_put, assert_put, recorded_puts
from zodbjobs.testing.running import run_at_once, run_jobs, wait_for

__all__ = [
    "MovableClock",
    "assert_not_put",
    "assert_put",
    "conflict_once",
    "die_once",
    "lose_connection_once",
    "moving_clock",
    "recorded_puts",
    "run_at_once",
    "run_jobs",
    "wait_for",
]
