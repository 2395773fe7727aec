"""Rates: how many jobs of a name may begin now, and when the next one may.

Pure functions of what has begun. A job takes its *turn* in the claim, and must begin within
`Rate.slack` of that; one that is later moves its turn. So it is enough to count turns: in a window
of `per` and the slack there are never more than `rate`.
"""

from __future__ import annotations

from typing import NamedTuple

from zodbjobs import defaults

_CATCH_UP = int(defaults.RATE_CATCH_UP_SECONDS * 1_000_000)
_LEAST_SLACK = int(defaults.RATE_LEAST_SLACK_SECONDS * 1_000_000)
_MOST_SLACK = int(defaults.RATE_MOST_SLACK_SECONDS * 1_000_000)


class Turn(NamedTuple):
    """When a job took its turn, and until when it may begin; microseconds."""

    at: int
    until: int


class Rate(NamedTuple):
    """At most `rate` jobs begin in `per` microseconds, up to `burst` of them at once."""

    rate: int
    per: int
    burst: int = 1

    @property
    def slack(self) -> int:
        """How much later than its turn a job may begin."""
        part = int(self.per * defaults.RATE_SLACK)
        return min(max(part, _LEAST_SLACK), _MOST_SLACK)

    @property
    def grain(self) -> int:
        """What is counted as one moment: what is noted stays small, whatever the rate."""
        return 0 if self.rate <= defaults.RATE_MOMENTS else self.per // defaults.RATE_MOMENTS

    @property
    def window(self) -> int:
        """In so many microseconds there are at most `rate` turns."""
        return self.per + self.slack

    @property
    def gap(self) -> int:
        """From one turn to the next, if they come evenly."""
        # With the grain, or they would meet the end of the window now and then.
        return -(-(self.window + self.grain) // self.rate)

    @property
    def ahead(self) -> int:
        """How much earlier than evenly turns may come."""
        return (min(self.burst, self.rate) - 1) * self.gap


class Taken(NamedTuple):
    """The turns that were taken: the moments of the last ones, and of each how many; when the next
    one is due if they come evenly, and by which rate that is.
    """

    moments: tuple[tuple[int, int], ...] = ()
    next: int = 0
    rate: Rate | None = None


def room(rate: Rate, taken: Taken, now: int) -> int:
    """How many turns may be taken now."""
    base = _base(rate, taken, now)
    if base > now + rate.ahead:
        return 0
    evenly = (now + rate.ahead - base) // rate.gap + 1
    return max(0, min(evenly, rate.rate - sum(n for _, n in _in_window(rate, taken, now))))


def next_turn(rate: Rate, taken: Taken, now: int) -> int:
    """When there is room for one; `now` if there is. Never later than in two windows."""
    due = max(now, _base(rate, taken, now) - rate.ahead)
    inside = sorted(_in_window(rate, taken, now))
    total = sum(number for _, number in inside)
    for moment, number in inside:
        if total < rate.rate:
            break
        total -= number
        due = max(due, moment + rate.window)
    return due


def take(rate: Rate, taken: Taken, now: int) -> Taken:
    """Take a turn, also if there is no room."""
    return Taken(
        _added(rate, _in_window(rate, taken, now), now), _base(rate, taken, now) + rate.gap, rate
    )


def move(rate: Rate, taken: Taken, at: int, now: int) -> Taken | None:
    """Take a turn in place of the one that was taken at `at`; None if that doesn't count any more,
    and there is no room for another one.
    """
    moments = _in_window(rate, taken, now)
    for place, (moment, number) in enumerate(moments):
        if moment >= at and _is_one(rate, moment, at):
            del moments[place]
            if number > 1:
                moments.append((moment, number - 1))
            return taken._replace(moments=_added(rate, moments, now))
    if sum(number for _, number in moments) >= rate.rate:
        return None
    return taken._replace(moments=_added(rate, moments, now))


def is_over(rate: Rate, taken: Taken, now: int) -> bool:
    """Whether nothing that was taken counts any more."""
    return not _in_window(rate, taken, now)


def _base(rate: Rate, taken: Taken, now: int) -> int:
    """When the next turn is due, if they come evenly."""
    due = taken.next
    if taken.rate != rate and taken.moments:  # the rate was changed since
        due = max(taken.moments)[0] + rate.gap
    # Who claims a little late catches up. A clock that was wrong by more than a window is ignored.
    return due if now - _CATCH_UP < due <= now + 2 * rate.window else now


def _in_window(rate: Rate, taken: Taken, now: int) -> list[tuple[int, int]]:
    """The moments whose turns count at `now`, also of clocks that are ahead."""
    return [each for each in taken.moments if -rate.window < each[0] - now <= rate.window]


def _added(rate: Rate, moments: list[tuple[int, int]], now: int) -> tuple[tuple[int, int], ...]:
    for place, (moment, number) in enumerate(moments):
        if _is_one(rate, moment, now):
            # The later one counts longer.
            moments[place] = (max(moment, now), number + 1)
            break
    else:
        moments.append((now, 1))
    return tuple(moments)


def _is_one(rate: Rate, moment: int, other: int) -> bool:
    """Whether two moments are counted as one."""
    grain = max(1, rate.grain)
    return moment // grain == other // grain
