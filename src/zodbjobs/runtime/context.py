"""What runs: the progress, the log and the cancellation of an attempt, in memory."""

from __future__ import annotations

import contextlib
import logging
import threading
from collections import deque
from collections.abc import Iterator
from contextvars import ContextVar
from typing import Any

from zodbjobs import defaults
from zodbjobs.stored.job import Job

#: The attempt that runs in this context.
current: ContextVar[Attempt] = ContextVar("zodbjobs.current")


class Attempt:
    """One call of a job while it runs: its thread writes it, the dispatcher reads it.

    `changes` counts what the job has told; `written` how much of that others can see.
    """

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


class _LogHandler(logging.Handler):
    """Gives what a job logs to its attempt; what others log passes by."""

    def emit(self, record: logging.LogRecord) -> None:
        last = logging.lastResort
        if logging.root.handlers == [self] and last is not None and record.levelno >= last.level:
            # Without this handler logging would have shown it; it mustn't be lost now.
            last.handle(record)
        attempt = current.get(None)
        if attempt is not None:
            try:
                attempt.add_line(self.format(record))
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
