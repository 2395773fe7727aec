"""What jobs fight over, and what to do."""

from __future__ import annotations

import dataclasses
from datetime import datetime

from zodbjobs.insights import ConflictInfo, list_conflicts
from zodbjobs.web import sentences
from zodbjobs.web.language import message as _
from zodbjobs.web.responses import Response
from zodbjobs.web.visit import Visit

_ROWS = 50

#: What to do, for each word of `insights.conflicts.ADVICE`.
_ADVICE = {
    "alone": _("One at a time: a quota of one, or “unique” where one is enough."),
    "one job": _("Many short ones: one job for all of them, or a quota of one."),
    "together": _("Give both the same quota of one."),
    "spread": _("Keys side by side share a bucket: spread them, or use a quota of one."),
    "smaller": _("Give what is changed a stored object of its own."),
    "itself": _("The job was cancelled, or something was added to it: no fault."),
    "locked": _("The storage had no time: fewer threads, or shorter transactions."),
}


@dataclasses.dataclass(frozen=True)
class ConflictRow:
    """What some jobs fought over, and who else."""

    job: str
    kind: str
    oid: str | None
    others: str
    count: str
    lost: str
    last: datetime
    advice: str


def conflicts(visit: Visit) -> Response:
    """The page of what jobs fight over."""
    rows = tuple(_row(visit, info) for info in list_conflicts(visit.connection, _ROWS))
    return visit.page("conflicts", visit.t("Conflicts"), rows, live=sentences.RESTING)


def _row(visit: Visit, info: ConflictInfo) -> ConflictRow:
    return ConflictRow(
        job=info.job,
        kind=info.kind,
        oid=info.oid,
        others=", ".join(who or visit.t("somebody who doesn’t say") for who in info.others),
        count=visit.language.number(info.count),
        lost=visit.language.duration(info.seconds),
        last=info.last,
        advice=visit.t(_ADVICE[info.advice]),
    )
