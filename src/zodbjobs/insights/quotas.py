"""The quotas of a queue, and what has a slot of them, or waits for one or for its turn."""

from __future__ import annotations

import dataclasses
from datetime import datetime, timedelta
from typing import Any

from zodbjobs import clock
from zodbjobs.insights.infos import Info
from zodbjobs.stored.lifecycle.root import get_queue
from zodbjobs.stored.quotas import Quotas


@dataclasses.dataclass(frozen=True)
class QuotaInfo(Info):
    """A quota: how many of its jobs run at once, have a slot, and wait for one or for their turn.

    `size`, `rate`, `per` and `burst` are as in IQuota. `next_turn`: when the next job may begin by
    the rate, if that isn't at once. `held`, `waiting` and `next_turn` are None for a pattern,
    which stands for many names; `held` also without a size.
    """

    name: str
    size: int | None
    held: int | None
    waiting: int | None
    rate: int | None = None
    per: timedelta | None = None
    burst: int = 1
    next_turn: datetime | None = None


def list_quotas(place: Any, queue: str) -> list[QuotaInfo]:
    """The quotas of a queue, by name. Raises UnknownQueue."""
    quotas = get_queue(place, queue).quotas
    return [_info(quotas, name) for name in quotas]


def _info(quotas: Quotas, name: str) -> QuotaInfo:
    quota, slots = quotas[name], quotas.slots(name)
    info = QuotaInfo(
        name, quota.size, None, None, rate=quota.rate, per=quota.per, burst=quota.burst
    )
    if name.endswith(":*"):
        return info
    return dataclasses.replace(
        info,
        held=None if quota.size is None else 0 if slots is None else len(slots.held),
        waiting=0 if slots is None or slots.waiting is None else len(slots.waiting) - 1,
        next_turn=_next_turn(quotas, name),
    )


def _next_turn(quotas: Quotas, name: str) -> datetime | None:
    turns, now = quotas[name].turns, clock.now()
    if turns is None:
        return None
    due = quotas.rates.next_turn(name, turns, now)
    return clock.to_datetime(due) if due > now else None
