"""Fights: what jobs conflicted about, how often, and what it cost; plain values that add up."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import NamedTuple

from zodbjobs import defaults


class Key(NamedTuple):
    """What a job calls, and the class and the object id of what it fought over.

    `oid` is empty for all other objects of the class; `kind` too if the storage doesn't tell.
    """

    calls: str
    kind: str = ""
    oid: bytes = b""


class Fight(NamedTuple):
    """How often; microseconds of attempts that were thrown away; when first and last, in
    microseconds; and who else wrote it, as far as that was looked up, with how often.
    """

    times: int
    lost: int
    first: int
    last: int
    others: tuple[tuple[str, int], ...] = ()


Fights = dict[Key, Fight]


def sum_of(parts: Iterable[Fights]) -> Fights:
    """Several added up."""
    found: Fights = {}
    for part in parts:
        for key, fight in part.items():
            found[key] = _both(found[key], fight) if key in found else fight
    return found


def bounded(fights: Fights, now: int) -> Fights:
    """Without what is older than the history; of too many the cheapest go by class alone."""
    oldest = now - int(defaults.HISTORY_SECONDS * 1_000_000)
    recent = {key: fight for key, fight in fights.items() if fight.last >= oldest}
    if len(recent) <= defaults.MOST_FIGHTS:
        return recent
    dearest = sorted(recent, key=lambda key: -recent[key].lost)
    kept = {key: recent[key] for key in dearest[: defaults.MOST_FIGHTS // 2]}
    rest = [{key._replace(oid=b""): recent[key]} for key in dearest[len(kept) :]]
    found = sum_of([kept, *rest])
    dearest = sorted(found, key=lambda key: -found[key].lost)[: defaults.MOST_FIGHTS]
    return {key: found[key] for key in dearest}


def _both(one: Fight, other: Fight) -> Fight:
    others = Counter(dict(one.others))
    for who, count in other.others:
        others[who] += count
    return Fight(
        one.times + other.times,
        one.lost + other.lost,
        min(one.first, other.first),
        max(one.last, other.last),
        tuple(others.most_common(defaults.MOST_RIVALS)),
    )
