"""Running: a worker's record of what runs right now, in a step of its dispatcher."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from zodbjobs import clock, defaults
from zodbjobs.runtime.context import Attempt
from zodbjobs.runtime.periodic import Interval
from zodbjobs.runtime.session import Session
from zodbjobs.runtime.slot import Slot
from zodbjobs.stored.lifecycle import telling
from zodbjobs.stored.workers import RunningJob, WorkerRecord

# A job is shown when it reports something, or runs for so long.
_SHOWN_AFTER_MICROS = 200_000


class ShowRunning:
    """Shows what runs, and what it reports, at most every RUNNING_SECONDS.

    A step that is made for another reason shows what wasn't shown before.
    """

    def __init__(self, slots: Sequence[Slot]) -> None:
        self._slots = slots
        self._interval = Interval(defaults.RUNNING_SECONDS, at_once=True)
        self._is_due = False
        self._shown: list[tuple[Attempt, int]] = []

    def is_due(self) -> bool:
        """Whether there is something new to show, and it is time to."""
        return self._interval.is_due() and bool(self._news())

    def _news(self) -> list[Attempt]:
        shown_before = clock.now() - _SHOWN_AFTER_MICROS
        attempts = [slot.attempt for slot in self._slots]
        return [
            attempt
            for attempt in attempts
            if attempt is not None
            and attempt.changes != attempt.written
            and (attempt.changes > 1 or attempt.started <= shown_before)
        ]

    def write(self, session: Session) -> None:
        """Show what is new; joins the transaction of `session`."""
        self._shown = []
        self._is_due = self._interval.is_due()
        for attempt in self._news():
            if not self._is_due and attempt.written:
                continue
            if attempt.key in session.record.lease:
                self._shown.append((attempt, attempt.changes))
                _show(session.record, attempt)

    def written(self) -> None:
        """Note that it was committed."""
        for attempt, changes in self._shown:
            attempt.written = changes
        if self._is_due and self._shown:
            self._interval.done()


def _progress(annotations: dict[str, Any] | None) -> tuple[Any, Any]:
    values = annotations or {}
    return values.get("percent"), values.get("message")


def _show(record: WorkerRecord, attempt: Attempt) -> None:
    entry = record.running.get(attempt.key)
    if entry is None:
        entry = record.running[attempt.key] = RunningJob(attempt.started)
    entry.started = attempt.started
    if attempt.annotations is not None:
        if _progress(entry.annotations) != _progress(attempt.annotations):
            telling.progressed(record.lease[attempt.key], record, attempt.annotations)
        entry.annotations = attempt.annotations
    if attempt.log is not None:
        entry.log = tuple(attempt.log.copy())[-defaults.LIVE_LOG_LINES :]
