"""Spreads: how long many jobs took, or waited, in as few bytes as that takes.

A spread is a plain tuple, for a server merges trees with these only: the least and the most in
microseconds, and how many were in each class. There are two classes for each factor of 2, so
what is told of a class is at most 19 % (the fourth root of 2) from what was.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable
from math import log2

#: The least, the most, and how many are in each class.
Spread = tuple[int, int, dict[int, int]]

_CLASSES = 2  # for each factor of 2


def spread_of(values: Collection[int]) -> Spread | None:
    """The spread of microseconds, of which none may be below 0; None for no values."""
    if not values:
        return None
    classes = Counter([int(_CLASSES * log2(value)) if value > 1 else 0 for value in values])
    return min(values), max(values), dict(classes)


def merged(spreads: Iterable[Spread | None]) -> Spread | None:
    """The spread of all values of all `spreads`, or None."""
    found = [spread for spread in spreads if spread is not None]
    if len(found) < 2:
        return found[0] if found else None
    classes: Counter[int] = Counter()
    for _, _, each in found:
        classes.update(each)
    return min(least for least, _, _ in found), max(most for _, most, _ in found), dict(classes)


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
