"""What jobs fight over: which two, how often, what it costs, and what to do."""

from __future__ import annotations

import dataclasses
import re
from datetime import datetime
from typing import Any

from ZODB.utils import u64

from zodbjobs import clock
from zodbjobs.insights.infos import Info
from zodbjobs.redaction import Redactor
from zodbjobs.stored.lifecycle import fights
from zodbjobs.stored.lifecycle.fights import Fight, Key
from zodbjobs.stored.lifecycle.root import get_queues

#: What to do, by a word for each case. The pages have the same in the language of the reader.
ADVICE = {
    "alone": "run one at a time: a quota with size=1 for {job}, or unique= where one of them is "
    "enough",
    "one job": "they are many and short: one job for all of them, a Sweep, or a quota with size=1",
    "together": "give both the same quota with size=1",
    "spread": "keys side by side share a bucket, and one that is full or emptied conflicts: keys "
    "by chance, a tree for each owner, or a quota with size=1",
    "smaller": "give what is changed a stored object of its own, so that two who change different "
    "things write different records",
    "itself": "somebody cancelled the job, or added something to it, while it ran: that is no "
    "fault",
    "locked": "the storage had no time: fewer threads or workers, or shorter transactions",
}

# Seconds below which an attempt is short, and how many are many.
_SHORT, _MANY = 0.1, 20

_CALLED = re.compile(r"\w+(\.\w+)*[.:]\w+(\.\w+)*")


@dataclasses.dataclass(frozen=True)
class ConflictInfo(Info):
    """What jobs that call `job` fought over, since their workers know it: for a week.

    `kind`: the class of the object, `oid` its id as text, None for several of the class.
    `others`: who else wrote it, the likeliest first, as far as that was looked up: what jobs call,
    or what transactions say of themselves; '' where they say nothing. `count`: how often an
    attempt was thrown away, `seconds` how long these had taken. `advice`: a word of ADVICE.
    """

    job: str
    kind: str
    oid: str | None
    others: tuple[str, ...]
    count: int
    seconds: float
    first: datetime
    last: datetime
    advice: str

    @property
    def what_to_do(self) -> str:
        """The advice as a sentence."""
        return ADVICE[self.advice].format(job=self.job)


def list_conflicts(place: Any, limit: int = 50) -> list[ConflictInfo]:
    """Up to `limit` of what jobs fought over, what cost most first, of all workers.

    Workers write it with their heartbeats, so the last seconds may be missing.
    """
    queues = get_queues(place)
    books = [queues.conflicts, *(worker.conflicts for worker in queues.workers.values())]
    found = fights.bounded(
        fights.sum_of(book.fights for book in books if book is not None), clock.now()
    )
    dearest = sorted(found, key=lambda key: (-found[key].lost, key))[:limit]
    hidden = Redactor()
    return [_info(key, found[key], hidden) for key in dearest]


def _info(key: Key, fight: Fight, hidden: Redactor) -> ConflictInfo:
    return ConflictInfo(
        job=key.calls,
        kind=key.kind,
        oid=str(u64(key.oid)) if key.oid else None,
        others=tuple(hidden.text(who, "description") for who, _ in fight.others),
        count=fight.times,
        seconds=fight.lost / 1_000_000,
        first=clock.to_datetime(fight.first),
        last=clock.to_datetime(fight.last),
        advice=_advice(key, fight),
    )


def _advice(key: Key, fight: Fight) -> str:
    rival = next((who for who, _ in fight.others), "")
    if key.kind.startswith("("):
        return "locked"
    if key.kind.startswith("zodbjobs."):
        return "itself"
    if rival == key.calls:
        short = fight.lost < _SHORT * 1_000_000 * fight.times
        return "one job" if short and fight.times >= _MANY else "alone"
    if key.kind.startswith("BTrees."):
        return "spread"
    return "together" if _is_job(rival) else "smaller"


def _is_job(who: str) -> bool:
    """Whether that is what a job calls, as 'shop.mail:send' or 'Cart.pay'."""
    return _CALLED.fullmatch(who) is not None
