"""The audit trail: who did what."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from zodbjobs import clock
from zodbjobs.insights.infos import AuditEntry
from zodbjobs.insights.search import micros_of
from zodbjobs.redaction import Redactor
from zodbjobs.stored.lifecycle import auditing
from zodbjobs.stored.lifecycle.root import get_queues

# Deeds that are looked at for those of one realm or person.
_MOST_LOOKS = 10_000


def list_audit(
    place: Any,
    *,
    by: str | None = None,
    realm: str | None = None,
    before: datetime | None = None,
    limit: int = 50,
) -> list[AuditEntry]:
    """Up to `limit` deeds, the newest first: of one person, and of a realm, if these are given.

    `before`: an aware datetime; to go on, give the `when` of the last one. Looks at 10,000 of them
    at most. Raises BadArgument for a naive datetime.
    """
    last = None if before is None else micros_of("before", before)
    found: list[AuditEntry] = []
    hidden = Redactor()
    for number, (micros, record) in enumerate(auditing.newest(get_queues(place), last)):
        if len(found) >= limit or number >= _MOST_LOOKS:
            break
        if (by is not None and record.by != by) or (realm is not None and record.realm != realm):
            continue
        when, ids = clock.to_datetime(micros), tuple(map(str, record.job_ids))
        found.append(
            AuditEntry(
                when,
                record.by,
                record.action,
                record.why and hidden.text(record.why, "why"),
                record.queue,
                ids,
                record.detail and hidden.text(record.detail, "detail"),
                record.realm,
            )
        )
    return found
