"""What runs: the progress, the log and the cancellation of an attempt, in memory."""

from __future__ import annotations

import contextlib
import logging
import threading
from collections import deque
from collections.abc import Callable, Iterator
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

    __slots__ = (
        *("annotations", "cancelled", "changes", "job", "key", "log", "policy", "started"),
        *("worker", "written"),
    )

    def __init__(self, key: int, job: Job, started: int, policy: Any = None) -> None:
        self.key = key
        self.job = job
        self.started = started
        #: The id of the worker.
        self.worker = ""
        #: The job's, as it was when the attempt began.
        self.policy = policy
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


class _LineHandler(logging.Handler):
    """Gives what a job logs to its attempt. It is a handler of no logger."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            current.get().add_line(self.format(record))
        except Exception:
            self.handleError(record)


_handler = _LineHandler()
_handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
_users = 0
_lock = threading.Lock()
_call_handlers: Callable[[logging.Logger, logging.LogRecord], None]
_is_wrapped = False


def _call_handlers_and_keep(logger: logging.Logger, record: logging.LogRecord) -> None:
    """Pass a record to the handlers of its logger, and keep it if a job has logged it."""
    _call_handlers(logger, record)
    if current.get(None) is not None and _reaches_root(logger):
        _handler.handle(record)


def _reaches_root(logger: logging.Logger) -> bool:
    while logger.parent is not None and logger.propagate:
        logger = logger.parent
    return logger is logging.root


def _wrap() -> None:
    global _is_wrapped, _call_handlers
    if not _is_wrapped:
        _is_wrapped = True
        _call_handlers = logging.Logger.callHandlers
        logging.Logger.callHandlers = _call_handlers_and_keep  # type: ignore[method-assign, assignment]


def _unwrap() -> None:
    global _is_wrapped
    # If somebody has wrapped it again since then, this one stays below that.
    if logging.Logger.callHandlers is _call_handlers_and_keep:
        logging.Logger.callHandlers = _call_handlers  # type: ignore[method-assign, assignment]
        _is_wrapped = False


@contextlib.contextmanager
def logs_are_kept() -> Iterator[None]:
    """Keep with each job what it logs and what propagates to the root logger, meanwhile.

    A handler on the root logger would be simpler. But logging counts handlers: with one of
    ours `logging.basicConfig` of the application does nothing, nor does that of a library
    which looks first whether there is any; and what configures logging anew takes it away.
    """
    global _users
    with _lock:
        _users += 1
        _wrap()
    try:
        yield
    finally:
        with _lock:
            _users -= 1
            if not _users:
                _unwrap()
