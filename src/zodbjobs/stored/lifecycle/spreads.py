"""Spreads: how long many jobs took, or waited, in as few bytes as that takes.

A spread is a plain tuple, for a server merges trees with these only: the least and the most in
microseconds, and how many were in each class. There are two classes for each factor of 2, so
what is told of a class is at most 19 % (the fourth root of 2) from what was.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable

#: The least, the most, and how many are in each class.
Spread = tuple[int, int, dict[int, int]]

_CLASSES = 2  # for each factor of 2

# Where the classes begin; the last one has whatever is longer than any job.
_STARTS = (0.0, *(2 ** (number / _CLASSES) for number in range(1, 64 * _CLASSES)))


def spread_of(values: Iterable[int]) -> Spread | None:
    """The spread of microseconds, what is below 0 as 0; None for no values."""
    # Sorted there is something to do for each class only; each end of a job comes here.
    found = sorted(values)
    if not found:
        return None
    classes: dict[int, int] = {}
    place = 0
    while place < len(found):
        number = bisect_right(_STARTS, max(found[place], 0)) - 1
        after = len(found)
        if number + 1 < len(_STARTS):
            after = bisect_left(found, _STARTS[number + 1], place)
        classes[number] = after - place
        place = after
    return max(found[0], 0), max(found[-1], 0), classes


def merged(spreads: Iterable[Spread | None]) -> Spread | None:
    """The spread of all values of all `spreads`, or None."""
    found = [spread for spread in spreads if spread is not None]
    if len(found) < 2:
        return found[0] if found else None
    classes: dict[int, int] = {}
    for _, _, each in found:
        for number, count in each.items():
            classes[number] = classes.get(number, 0) + count
    return min(least for least, _, _ in found), max(most for _, most, _ in found), classes


def quantile(spread: Spread, part: float) -> float:
    """The microseconds that `part` of the values, between 0 and 1, don't exceed; to 19 %."""
    least, most, classes = spread
    left = part * sum(classes.values())
    for number in sorted(classes):
        left -= classes[number]
        if left <= 0:
            middle: float = 2 ** ((number + 0.5) / _CLASSES)
            return float(min(max(middle, least), most))
    return float(most)
