"""Auditing: a deed is noted where it is looked for, in the transaction that does it.

It goes into the trail of the database, and into the record of each job that the deed writes.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import TYPE_CHECKING, Any, NamedTuple

from ZODB.broken import Broken

from zodbjobs import clock, defaults
from zodbjobs.stored.audit import TIE_BITS, Record
from zodbjobs.stored.lifecycle.keys import LAST, backwards

if TYPE_CHECKING:
    from zodbjobs.stored.job import Job
    from zodbjobs.stored.queues import Queues


class Deed(NamedTuple):
    """A deed as the record of a job has it."""

    micros: int
    by: str | None
    action: str
    why: str | None


def note(queues: Queues, record: Record) -> None:
    """Note a deed in the trail, and in the storage's undo log."""
    queues._audit.add(clock.now(), record)
    current = queues._p_jar.transaction_manager.get()
    ids = ", ".join(map(str, record.job_ids[: defaults.AUDIT_IDS_SHOWN]))
    more = "" if len(record.job_ids) <= defaults.AUDIT_IDS_SHOWN else ", ..."
    parts = [f"{record.action} job {ids}{more}" if ids else record.action]
    parts += [f"of queue {record.queue!r}"] if record.queue is not None and not ids else []
    parts += [f"({record.why})"] if record.why else []
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
