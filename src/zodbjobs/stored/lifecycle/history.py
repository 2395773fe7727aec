"""History: what has ended, by the time of its end, and the counters of each minute.

An entry of a shard's `minutes` has how many ended, how many of these without success, and the
microseconds of work; the last one of each SPREAD_MINUTES has two spreads more, of work and of
waiting. Behind all minutes is what is counted for ever: see `tallies`.

Everything here works in the caller's transaction.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any

from zodbjobs.interfaces import SUCCEEDED
from zodbjobs.stored.lifecycle import tallies
from zodbjobs.stored.lifecycle.ids import keep_ids
from zodbjobs.stored.lifecycle.keys import SENTINEL
from zodbjobs.stored.lifecycle.spreads import merged, spread_of

if TYPE_CHECKING:
    from zodbjobs.stored.job import Job
    from zodbjobs.stored.shard import Shard

#: An ended job, when (microseconds), its outcome, microseconds of work, for how many it had waited
#: (None for one that wasn't begun, or of which that isn't known), and whether it is in the job
#: index.
Ended = tuple["Job", int, str, int, int | None, bool]

#: Microseconds of an entry of `minutes`.
MINUTE = 60_000_000

#: Minutes that have their spreads in one entry. Each booking writes some dozens of entries anew,
#: and with a spread in each they would be five times as large.
SPREAD_MINUTES = 10

#: Bits of a key of the history below the microseconds of the end.
HISTORY_TIE = 10

TIE_MASK = (1 << HISTORY_TIE) - 1

#: The last bit of a key: the job is in the job index. So one that isn't needn't be loaded when it
#: is pruned.
LISTED = 1


def book(shard: Shard, ended: Sequence[Ended]) -> None:
    """Book ended jobs: into the history, and onto the counters of their minutes."""
    history = shard.history
    minutes: dict[int, list[Ended]] = {}
    bad = 0
    for each in ended:
        job, finished, outcome = each[:3]
        place = finished << HISTORY_TIE | each[5]
        while not history.insert(place, job):
            place = (history.maxKey(place | TIE_MASK) + 2) & ~LISTED | each[5]
        if outcome != SUCCEEDED:
            shard.unsuccessful[place] = job
            bad += 1
        minutes.setdefault(finished // MINUTE, []).append(each)
    for minute, group in minutes.items():
        _count(shard, minute, group)
    tallies.note_ends(shard, ended)
    shard.history_length.change(sum(map(len, minutes.values())))
    if bad:
        shard.unsuccessful_length.change(bad)


def _count(shard: Shard, minute: int, group: list[Ended]) -> None:
    """Count jobs that ended in one minute."""
    _, _, outcomes, took, waited, _ = zip(*group, strict=True)
    before = shard.minutes.get(minute) or (0, 0, 0, *_take_spreads(shard, minute))
    done, bad, work, *spreads = before
    bad += len(group) - outcomes.count(SUCCEEDED)
    counts = (done + len(group), bad, work + sum(took))
    if None in waited:
        began = [each for each in group if each[4] is not None]
        took = tuple(each[3] for each in began)
        waited = tuple(each[4] for each in began)
    if waited:
        new = (spread_of(took), spread_of(waited))
        spreads = [merged(both) for both in zip(new, spreads or (None, None), strict=True)]
    shard.minutes[minute] = (*counts, *spreads)


def _take_spreads(shard: Shard, minute: int) -> list[Any]:
    """Take the spreads of the last entry before `minute` that would share them, if any."""
    first = minute - minute % SPREAD_MINUTES
    for last, (done, bad, work, *spreads) in list(shard.minutes.items(first, minute))[-1:]:
        shard.minutes[last] = (done, bad, work)
        return list(spreads)
    return []


def minutes_of(shard: Shard, first: int | None = None) -> Iterator[tuple[int, Any]]:
    """The entries of `minutes`, from the minute `first` on."""
    return iter(shard.minutes.items(first, tallies.LAST_MINUTE))


def has_ended(shard: Shard, job: Job, finished: int) -> bool:
    """Whether a job that ended then is in the history; False if the connection is closed."""
    is_closed = shard._p_jar is not None and shard._p_jar.transaction_manager is None
    return not is_closed and _place_of(shard, job, finished) is not None


def _place_of(shard: Shard, job: Job, finished: int) -> int | None:
    first = finished << HISTORY_TIE
    while True:
        last = first | TIE_MASK
        for place, found in shard.history.items(first, last):
            if found is job:
                return int(place)
        if last not in shard.history and last - 1 not in shard.history:
            return None
        first = last + 1  # so many ended in one microsecond


def drop(shard: Shard, job: Job, finished: int) -> bool:
    """Take an ended job out of the history; whether it was there."""
    place = _place_of(shard, job, finished)
    if place is not None:
        drop_places(shard, [place])
    return place is not None


def undone_places(shard: Shard, job: Job) -> list[int]:
    """The keys in the history of a job whose end was undone, so that it tells no time of it.

    Looks through the whole history.
    """
    return [place for place, found in shard.history.items() if found is job]


def drop_places(shard: Shard, places: list[int]) -> None:
    """Take the entries of the history with these keys out of it."""
    if not places:
        return
    keep_ids(shard, (shard.history[place] for place in places))
    for place in places:
        del shard.history[place]
    shard.history_length.change(-len(places))
    unsuccessful = shard.unsuccessful
    if unsuccessful.maxKey() == SENTINEL:
        return
    bad = [place for place in places if place in unsuccessful]
    for place in bad:
        del unsuccessful[place]
    if bad:
        shard.unsuccessful_length.change(-len(bad))


def drop_minutes(shard: Shard, before: int, limit: int) -> None:
    """Drop up to `limit` of the counters of minutes that ended before `before`."""
    for minute in list(islice(shard.minutes.keys(None, before // MINUTE - 1), limit)):
        del shard.minutes[minute]
