"""The quotas of a queue, and what has a slot of them or waits for one."""

from __future__ import annotations

import dataclasses
from typing import Any

from zodbjobs.insights.infos import Info
from zodbjobs.stored.lifecycle.root import get_queue


@dataclasses.dataclass(frozen=True)
class QuotaInfo(Info):
    """A quota: how many of its jobs run at once, have a slot, and wait for one.

    `held` and `waiting` are None for a pattern, which stands for many names.
    """

    name: str
    size: int
    held: int | None
    waiting: int | None


def list_quotas(place: Any, queue: str) -> list[QuotaInfo]:
    """The quotas of a queue, by name. Raises UnknownQueue."""
    quotas = get_queue(place, queue).quotas
    found = []
    for name in quotas:
        slots, size = quotas.slots(name), quotas[name].size
        if name.endswith(":*"):
            found.append(QuotaInfo(name, size, None, None))
        elif slots is None:
            found.append(QuotaInfo(name, size, 0, 0))
        else:
            waiting = 0 if slots.waiting is None else len(slots.waiting) - 1
            found.append(QuotaInfo(name, size, len(slots.held), waiting))
    return found
