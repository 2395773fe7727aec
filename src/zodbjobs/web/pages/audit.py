"""The audit trail: who did what, when and why."""

from __future__ import annotations

import dataclasses
from datetime import datetime

from zodbjobs.insights import AuditEntry, list_audit
from zodbjobs.web import filters, sentences, words
from zodbjobs.web.responses import Response
from zodbjobs.web.visit import Visit

_ROWS = 50

# Ids of jobs that a row shows.
_MOST_IDS = 5


@dataclasses.dataclass(frozen=True)
class DeedRow:
    """A deed. `queue`: a name, and where it is; `more`: how many jobs aren't named."""

    when: datetime
    by: str | None
    word: str
    why: str | None
    queue: tuple[str, str] | None
    jobs: tuple[str, ...]
    more: str | None
    detail: str | None


@dataclasses.dataclass(frozen=True)
class Trail:
    """All that the page shows; `error`: why it shows nothing."""

    error: str | None
    by: str
    rows: tuple[DeedRow, ...]
    older: str | None
    newest: str | None


def audit(visit: Visit) -> Response:
    """The page of the audit trail."""
    by, before = (visit.given.get(name, "").strip() for name in ("by", "before"))
    error, moment = None, None
    try:
        moment = filters.moment(visit, before) if before else None
    except filters.BadFilter as wrong:
        error = str(wrong)
    found = (
        []
        if error
        else list_audit(
            visit.connection,
            by=by or None,
            realm=visit.rights.realm,
            before=moment,
            limit=_ROWS + 1,
        )
    )
    older = found[_ROWS - 1].when.isoformat() if len(found) > _ROWS else None
    shown = Trail(
        error,
        by,
        tuple(_row(visit, entry) for entry in found[:_ROWS]),
        None if older is None else visit.url("audit", by=by or None, before=older),
        visit.url("audit", by=by or None) if before else None,
    )
    return visit.page("audit", visit.t("Audit"), shown, live=None if before else sentences.RESTING)


def _row(visit: Visit, entry: AuditEntry) -> DeedRow:
    more = len(entry.job_ids) - _MOST_IDS
    queue = None
    if entry.queue is not None:
        path = visit.url("queues", filters.encoded(entry.queue)) if visit.may("view") else ""
        queue = (entry.queue or visit.t("default queue"), path)
    return DeedRow(
        when=entry.when,
        by=entry.by,
        word=words.of_deed(visit.language, entry.action),
        why=entry.why,
        queue=queue,
        jobs=entry.job_ids[:_MOST_IDS],
        more=visit.t("and {count} more", count=visit.language.number(more)) if more > 0 else None,
        detail=entry.detail,
    )
