"""Auditing: a deed is noted where it is looked for, in the transaction that does it.

It goes into the trail of the database, and into the record of each job that the deed writes.
"""

from __future__ import annotations

import reprlib
from collections.abc import Iterator
from itertools import islice
from typing import TYPE_CHECKING, Any, NamedTuple

from ZODB.broken import Broken

from zodbjobs import clock, defaults
from zodbjobs.errors import BadArgument
from zodbjobs.queue_names import spoken
from zodbjobs.redaction import Redactor
from zodbjobs.stored.audit import TIE_BITS, Record
from zodbjobs.stored.lifecycle.keys import LAST, backwards
from zodbjobs.stored.lifecycle.labels import is_utf8

if TYPE_CHECKING:
    from zodbjobs.stored.job import Job
    from zodbjobs.stored.queues import Queues


class Deed(NamedTuple):
    """A deed as the record of a job has it."""

    micros: int
    by: str | None
    action: str
    why: str | None


def check(by: str | None, why: str | None) -> None:
    """Raise BadArgument for what can't be noted as who does something, and why."""
    for name, value, most in (
        ("by", by, defaults.LABEL_CHARACTERS),
        ("why", why, defaults.TITLE_CHARACTERS),
    ):
        if value is None:
            continue
        if not isinstance(value, str) or len(value) > most or not is_utf8(value):
            shown = reprlib.repr(value)
            raise BadArgument(
                f"{name} is a text of at most {most:,} characters or None, not {shown}"
            )


def note(queues: Queues, record: Record) -> None:
    """Note a deed in the trail, and in the storage's undo log, which is for all to read: there its
    reason is without secrets, and its text of what a storage takes.
    """
    queues._audit.add(clock.now(), record)
    current = queues._p_jar.transaction_manager.get()
    if len(current.description) > defaults.AUDIT_NOTE_CHARACTERS:
        return
    ids = ", ".join(map(str, record.job_ids[: defaults.AUDIT_IDS_SHOWN]))
    more = "" if len(record.job_ids) <= defaults.AUDIT_IDS_SHOWN else ", ..."
    parts = [f"{record.action} job {ids}{more}" if ids else record.action]
    parts += [f"of {spoken(record.queue)}"] if record.queue is not None and not ids else []
    parts += [f"({Redactor().text(record.why, 'why')})"] if record.why else []
    current.note(f"zodbjobs: {' '.join(parts)}")
    if record.by and not current.user:
        current.user = record.by


def note_on_job(job: Job, by: str | None, action: str, why: str | None) -> None:
    """Note a deed in the record of a job that the deed writes; one that it doesn't stays."""
    if isinstance(job, Broken) or not job._p_changed:
        return
    deed = Deed(clock.now(), by, action, why)
    job._audit = (*job._audit, tuple(deed))[-defaults.AUDIT_PER_JOB :]


def deeds_of(job: Job) -> list[Deed]:
    """The last deeds that were done to a job, the oldest first."""
    return [Deed(*each) for each in job._audit]


def newest(queues: Queues, before: int | None) -> Iterator[tuple[int, Record]]:
    """The deeds of the trail, before those microseconds, the newest first."""
    last = LAST if before is None else (before << TIE_BITS) - 1
    for key, found in backwards(queues._audit.entries, last):
        yield key >> TIE_BITS, Record(*found)


def prune(queues: Queues) -> int:
    """Drop deeds that are older than AUDIT_SECONDS, up to PRUNE_BATCH; how many."""
    before = clock.now() - int(defaults.AUDIT_SECONDS * 1_000_000)
    entries: Any = queues._audit.entries
    keys = list(islice(entries.keys(None, before << TIE_BITS), defaults.PRUNE_BATCH))
    for key in keys:
        del entries[key]
    return len(keys)
