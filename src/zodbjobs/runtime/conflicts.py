"""Conflicts: what the jobs of a worker's process fight over, and with whom."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Sequence
from typing import Any

from ZODB.POSException import ConflictError

from zodbjobs import clock, defaults
from zodbjobs.runtime.context import Attempt
from zodbjobs.runtime.periodic import Interval
from zodbjobs.runtime.session import Session
from zodbjobs.runtime.storage import abilities, errors
from zodbjobs.runtime.thread_session import ThreadSession
from zodbjobs.stored.conflicts import Conflicts
from zodbjobs.stored.failure import dotted_name
from zodbjobs.stored.job import Job
from zodbjobs.stored.lifecycle import fights
from zodbjobs.stored.lifecycle.attempt_result import AttemptResult
from zodbjobs.stored.lifecycle.fights import Fight, Fights, Key
from zodbjobs.stored.workers import WorkerRecord


class Noted:
    """Counts in memory, in any thread, what jobs fought over; a task of the dispatcher's, which
    writes it into the worker's record. What isn't written yet is lost if the process is killed.
    """

    def __init__(self, seconds: float = defaults.HEARTBEAT_SECONDS) -> None:
        self._lock = threading.Lock()
        self._fights: Fights = {}
        self._written: Fights = {}  # in a transaction that isn't committed yet
        self._interval = Interval(seconds)
        #: The jobs of this worker that have written to the database, by the transaction.
        self._own: dict[bytes, bytes] = {}
        self._next_look = 0.0

    # In the threads of runners

    def committed(self, results: Sequence[AttemptResult]) -> None:
        """Remember which job has written the transaction that was just committed."""
        job = results[0].job
        if job is None or results[0].shared is not None:
            return  # its record doesn't tell the transaction
        own = self._own
        own[job._p_serial] = job._p_oid  # without the lock: it is done for each job that writes
        if len(own) > 2 * defaults.OWN_COMMITS:
            with self._lock:
                for tid in list(own)[: -defaults.OWN_COMMITS]:
                    own.pop(tid, None)

    def note(
        self, error: BaseException, attempt: Attempt | None, thread_session: ThreadSession
    ) -> None:
        """Count an attempt that is thrown away for a conflict, or what it did since its last
        checkpoint.
        """
        if attempt is None or not errors.is_transient(error) or errors.is_used_id(error):
            return
        if attempt.cancelled:
            return  # it was taken away, which isn't the fault of what it does
        connection = thread_session.session.connection
        now = clock.now()
        key = Key(attempt.job.description, _kind(error, connection), _oid(error))
        other = self._other(error, connection)
        others = ((other, 1),) if other is not None else ()
        fight = Fight(1, max(0, now - attempt.uncommitted_since), now, now, others)
        attempt.uncommitted_since = now
        with self._lock:
            self._fights = fights.sum_of([self._fights, {key: fight}])
            if len(self._fights) > 2 * defaults.MOST_FIGHTS:
                self._fights = fights.bounded(self._fights, now)

    def _other(self, error: BaseException, connection: Any) -> str | None:
        """Who wrote the object meanwhile; '' if that isn't known, None if it wasn't looked up."""
        if not isinstance(error, ConflictError) or not error.serials or not error.oid:
            return ""
        with self._lock:
            own = self._own.get(error.serials[0])
            if own is None and time.monotonic() < self._next_look:
                return None
            self._next_look = time.monotonic() + defaults.RIVAL_SECONDS
        return _signature(error, connection) if own is None else _called(own, connection)

    # In the dispatcher's step

    def is_due(self) -> bool:
        """Whether there is something to write, and it is time for it."""
        return bool(self._fights or self._written) and self._interval.is_due()

    def write(self, session: Session) -> None:
        """Write what was counted so far; joins the transaction of `session`."""
        self.write_into(session.record)

    def write_into(self, record: WorkerRecord) -> None:
        """Write what was counted so far; joins the transaction of the record."""
        with self._lock:
            self._fights = fights.sum_of([self._written, self._fights])
            self._written, self._fights = self._fights, {}
        if self._written:
            if record.conflicts is None:
                record.conflicts = Conflicts()
            record.conflicts.add(self._written, clock.now())

    def written(self) -> None:
        """Note that it was committed."""
        self._written = {}
        self._interval.done()


def _kind(error: BaseException, connection: Any) -> str:
    """The class of the object; that of the error if it isn't about one."""
    if not isinstance(error, ConflictError) or not error.oid:
        return f"({dotted_name(type(error))})"
    if error.class_name:
        return str(error.class_name)
    try:
        return dotted_name(type(connection.get(error.oid)))
    except Exception:  # whatever a storage says of an object that it may not have
        return ""


def _oid(error: BaseException) -> bytes:
    return error.oid or b"" if isinstance(error, ConflictError) else b""


def _called(oid: bytes, connection: Any) -> str:
    """What the job of this worker calls that has that object id."""
    for each in connection.connections.values():
        with contextlib.suppress(Exception):  # it may be of another database, or gone
            job = each.get(oid)
            if isinstance(job, Job):
                return job.description
    return ""


def _signature(error: ConflictError, connection: Any) -> str:
    """What the other transaction says of itself: its description, else its user, else ''."""
    for each in connection.connections.values():
        if abilities.must_be_polled(each.db()):
            continue  # it would answer from a snapshot, and keep that open
        try:
            history = each.db().history(error.oid, size=defaults.RIVAL_REVISIONS)
        except Exception:  # a storage may have no history, or not this object
            continue
        for revision in history:
            if revision["tid"] == error.serials[0]:
                said = revision["description"] or revision["user_name"] or ""
                text = said.decode("utf-8", "replace") if isinstance(said, bytes) else said
                return text.strip().partition("\n")[0][: defaults.RIVAL_CHARACTERS]
    return ""
