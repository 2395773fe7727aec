"""Tallies: numbers that only grow, for who measures a database over weeks.

They stand where a transaction writes anyway, so that counting writes no record more, conflicts
with nobody, and is as true as what it counts: both are one commit.

* How many jobs were put: the value of an inbox's sentinel is how many have left it, and what lies
  there now was put as well. So is what is blocked; the value of that tree's sentinel is how many
  left it without having been delivered.
* How many ended, and how: an entry of a shard's `minutes` behind all minutes, so that it is in the
  leaf that each booking writes.

Everything here works in the caller's transaction.
"""

from __future__ import annotations

import pickle
from bisect import bisect_left
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, NamedTuple

from zodbjobs import defaults
from zodbjobs.interfaces import ABORTED, CANCELLED, EXPIRED, FAILED, SKIPPED, SUCCEEDED
from zodbjobs.stored.bundle import Bundle
from zodbjobs.stored.lifecycle.keys import SENTINEL

if TYPE_CHECKING:
    from zodbjobs.stored.lifecycle.history import Ended
    from zodbjobs.stored.shard import Shard

#: The key of `minutes` that no minute has.
ENDS = 2**62

#: The last key of `minutes` that a minute may have.
LAST_MINUTE = ENDS - 1

#: The order in which outcomes are stored; a new one goes to the end.
OUTCOMES = (SUCCEEDED, FAILED, CANCELLED, EXPIRED, ABORTED, SKIPPED)

_PROTOCOL = 4  # which each Python loads that zodbjobs runs on
_BOUNDS = tuple(round(seconds * 1_000_000) for seconds in defaults.SECONDS_BUCKETS)


class Counted(NamedTuple):
    """How often something was measured, by class; `sums` is that of all values.

    The class of a value is the place of the first bound that it doesn't exceed; the last class has
    what exceeds them all.
    """

    sums: int
    classes: tuple[int, ...]


class Ends(NamedTuple):
    """How many jobs ended with each of OUTCOMES, and how many microseconds they had waited and
    run, by the bounds of SECONDS_BUCKETS; the last two of those that were begun.
    """

    outcomes: tuple[int, ...]
    waited: Counted
    ran: Counted


_NOTHING = Counted(0, (0,) * (len(_BOUNDS) + 1))
_NO_ENDS = Ends((0,) * len(OUTCOMES), _NOTHING, _NOTHING)
_OUTCOME_PLACES = {outcome: place for place, outcome in enumerate(OUTCOMES)}
_FAILED = _OUTCOME_PLACES[FAILED]


# What was put


def left(tree: Any, number: int) -> None:
    """Count jobs that leave an inbox, or the blocked ones without being delivered; less than none
    of those that come into an inbox though they were put before.
    """
    tree[SENTINEL] = (tree[SENTINEL] or 0) + number


def size_of(item: Any) -> int:
    """How many jobs were put as that item of an inbox."""
    return item.put_count() if isinstance(item, Bundle) else 1


def put_into(shard: Shard) -> int:
    """How many jobs were ever put into a shard; reads what its inboxes hold."""
    gone = sum(tree[SENTINEL] or 0 for tree in (*shard.inboxes, shard.blocked))
    there = sum(size_of(item) for box in shard.inboxes for item in box.values(SENTINEL + 1))
    return int(gone) + there + len(shard.blocked) - 1


# What ended


def note_ends(shard: Shard, ended: Iterable[Ended]) -> None:
    """Count ended jobs that are booked."""
    by_outcome, (waited, by_wait), (ran, by_run) = _loaded(shard)
    outcomes, waits, runs = list(by_outcome), list(by_wait), list(by_run)
    for _, _, outcome, took, waiting, _ in ended:
        # One that another release may have written is no reason not to book a job.
        outcomes[_OUTCOME_PLACES.get(outcome, _FAILED)] += 1
        if waiting is None:
            continue
        waits[bisect_left(_BOUNDS, waiting)] += 1
        runs[bisect_left(_BOUNDS, took)] += 1
        if waiting > 0:  # by the clock of another machine it may be less
            waited += waiting
        if took > 0:
            ran += took
    stored = (tuple(outcomes), (waited, tuple(waits)), (ran, tuple(runs)))
    # As bytes: ZODB's writer asks about each number in a tree.
    shard.minutes[ENDS] = pickle.dumps(stored, _PROTOCOL)


def ends_of(shard: Shard) -> Ends:
    """What was counted of the jobs of a shard that ended."""
    outcomes, waited, ran = _loaded(shard)
    return Ends(outcomes, Counted(*waited), Counted(*ran))


def _loaded(shard: Shard) -> Any:
    packed = shard.minutes.get(ENDS)
    return _NO_ENDS if packed is None else pickle.loads(packed)


def added(ends: Iterable[Ends]) -> Ends:
    """What was counted in several shards together."""
    total = _NO_ENDS
    for each in ends:
        total = Ends(
            _sum(total.outcomes, each.outcomes),
            Counted(total.waited.sums + each.waited.sums,
                    _sum(total.waited.classes, each.waited.classes)),
            Counted(total.ran.sums + each.ran.sums, _sum(total.ran.classes, each.ran.classes)),
        )  # fmt: skip
    return total


def _sum(some: tuple[int, ...], others: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(map(sum, zip(some, others, strict=True)))
