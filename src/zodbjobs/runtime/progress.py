"""What a running job tells of itself, in memory, until the dispatcher writes it down."""

from __future__ import annotations

import contextlib
import logging
import threading
from collections import deque
from collections.abc import Iterator, Sequence
from contextvars import ContextVar
from typing import Any

from zodbjobs import defaults
from zodbjobs.stored.job import Job
from zodbjobs.stored.workers import BoardEntry, WorkerRecord

#: The job that runs in this context.
current: ContextVar[Running] = ContextVar("zodbjobs.current")


class Running:
    """The face of one running job: its runner writes it, the dispatcher reads it."""

    __slots__ = ("annotations", "cancelled", "changes", "job", "key", "log", "started", "written")

    def __init__(self, key: int, job: Job, started: int) -> None:
        self.key = key
        self.job = job
        self.started = started
        self.annotations: dict[str, Any] | None = None
        self.log: deque[str] | None = None
        self.cancelled = False
        self.changes = 1
        self.written = 0

    def annotate(self, values: dict[str, Any]) -> None:
        """Set live annotations."""
        # A new dict each time, for the dispatcher may be reading the old one.
        self.annotations = {**(self.annotations or {}), **values}
        self.changes += 1

    def add_line(self, line: str) -> None:
        """Add a line of the job's log."""
        if self.log is None:
            self.log = deque(maxlen=defaults.LOG_LINES)
        self.log.append(line)
        self.changes += 1


def write_board(record: WorkerRecord, running: Sequence[Running]) -> None:
    """Put what changed onto the board; joins the transaction of `record`."""
    for live in running:
        if live.changes == live.written or live.key not in record.lease:
            continue
        changes = live.changes
        entry = record.board.get(live.key)
        if entry is None:
            entry = record.board[live.key] = BoardEntry(live.started)
        entry.started = live.started
        if live.annotations is not None:
            entry.annotations = live.annotations
        if live.log is not None:
            entry.log = tuple(live.log.copy())[-defaults.LIVE_LOG_LINES :]
        live.written = changes


class _LogHandler(logging.Handler):
    """Gives what a job logs to its Running; what others log passes by."""

    def emit(self, record: logging.LogRecord) -> None:
        last = logging.lastResort
        if logging.root.handlers == [self] and last is not None and record.levelno >= last.level:
            # Without this handler logging would have shown it; it mustn't be lost now.
            last.handle(record)
        running = current.get(None)
        if running is not None:
            try:
                running.add_line(self.format(record))
            except Exception:
                self.handleError(record)


_handler = _LogHandler()
_handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
_users = 0
_lock = threading.Lock()


@contextlib.contextmanager
def logs_are_kept() -> Iterator[None]:
    """While a worker is there, what jobs log through the root logger is kept with them."""
    global _users
    root = logging.getLogger()
    with _lock:
        _users += 1
        root.addHandler(_handler)
    try:
        yield
    finally:
        with _lock:
            _users -= 1
            if not _users:
                root.removeHandler(_handler)
