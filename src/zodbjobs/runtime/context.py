"""What runs: the progress, the log and the cancellation of an attempt, in memory."""

from __future__ import annotations

import contextlib
import logging
import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

from zodbjobs import clock, defaults
from zodbjobs.errors import Cancelled, TimedOut, ZodbjobsError
from zodbjobs.queue_names import spoken
from zodbjobs.stored.job import Job
from zodbjobs.stored.lifecycle import completion, followers
from zodbjobs.stored.lifecycle.attempt_result import AttemptResult
from zodbjobs.stored.lifecycle.options import timeout_of

if TYPE_CHECKING:
    from zodbjobs.runtime.checkpoint import Checkpoints
    from zodbjobs.stored.pauses import Pause

#: The attempt that runs in this context.
current: ContextVar[Attempt] = ContextVar("zodbjobs.current")


class RunAlone(BaseException):
    """Ends an attempt that shares its transaction: it is made again in one of its own.

    No code of the job's is to catch it as an error.
    """


class CantRunHere(Exception):
    """Ends an attempt, of which nothing is to be committed: something that the job needs isn't
    there in this process, so it is parked.
    """


class Attempt:
    """One call of a job while it runs: its thread writes it, the dispatcher reads it.

    `changes` counts what the job has told; `written` how much of that others can see. `cancelled`
    is set once the job was taken away, `timed_out` if that was for its timeout; `shown` is its
    repr then. `is_behind`: effects of other jobs are in its transaction; `must_be_alone`: they
    mustn't be. `deadline` is the end of the timeout by the monotonic clock, None without one.
    """

    __slots__ = (
        *("agent", "annotations", "broken", "cancelled", "changes", "checkpoints", "conflicts"),
        *("connection", "deadline", "given_back", "has_checkpoint", "is_behind", "job"),
        *("key", "log", "must_be_alone", "pause", "policy", "shown", "started"),
        *("stop_coroutine", "timed_out", "uncommitted_since", "worker", "written"),
    )

    def __init__(self, key: int, job: Job, started: int, policy: Any = None) -> None:
        self.key = key
        self.job = job
        self.started = started
        #: Since when a conflict costs what it has done, in microseconds.
        self.uncommitted_since = started
        #: The id of the worker.
        self.worker = ""
        #: The job's, as it was when the attempt began.
        self.policy = policy
        #: The agent that it runs for, as its connection has that.
        self.agent: Any = None
        #: That of the database that the worker was given.
        self.connection: Any = None
        self.annotations: dict[str, Any] | None = None
        self.log: deque[str] | None = None
        self.is_behind = self.must_be_alone = False
        self.cancelled = False
        self.timed_out = False
        self.shown = ""
        micros = timeout_of(job)
        self.deadline = None if micros is None else clock.monotonic() + micros / 1_000_000
        #: Cancels the coroutine that runs, called in another thread; None if there is none.
        self.stop_coroutine: Callable[[], object] | None = None
        self.changes = 1
        self.written = 0
        #: What makes its checkpoints.
        self.checkpoints: Checkpoints | None = None
        #: How many attempts before it, or before its last checkpoint, were rolled back.
        self.conflicts = 0
        self.has_checkpoint = False
        #: What the commit of a checkpoint raised: the attempt is over, whatever the job does now.
        self.broken: Exception | None = None
        #: Whether it has ended at a checkpoint, and the pause for which it did.
        self.given_back = False
        self.pause: Pause | None = None

    def is_overdue(self) -> bool:
        """Whether it has run for longer than its timeout."""
        return self.deadline is not None and clock.monotonic() >= self.deadline

    def go_alone(self) -> None:
        """Have nothing of other jobs in the transaction, nor anything come after this one's.

        Raises RunAlone if there is: the attempt is made again.
        """
        self.must_be_alone = True
        if self.is_behind:
            raise RunAlone

    def take_away(self, timed_out: bool = False) -> None:
        """Tell that the job was taken away; called in another thread."""
        self.timed_out = self.timed_out or timed_out
        self.cancelled = True
        self._stop()

    def watch(self, stop_coroutine: Callable[[], object] | None) -> None:
        """Take how to cancel the coroutine that begins, or None at its end."""
        self.stop_coroutine = stop_coroutine
        if self.cancelled:
            self._stop()

    def _stop(self) -> None:
        stop, self.stop_coroutine = self.stop_coroutine, None
        if stop is not None:
            with contextlib.suppress(RuntimeError):  # its loop has just been closed
                stop()

    def reason_to_stop(self) -> ZodbjobsError | None:
        """The error to end with, once it was taken away or is past its timeout; else None."""
        if self.timed_out or (self.is_overdue() and not self.cancelled):
            return timeout_error(self.job)
        if self.cancelled:
            return Cancelled(f"job {self.job.id} was taken away while it ran; it can't commit")
        return None

    def check_time(self) -> None:
        """Raise TimedOut if it is past its timeout."""
        if self.is_overdue():
            raise timeout_error(self.job)

    def blame(self, error: BaseException) -> BaseException:
        """What the attempt failed with that raised `error`: past its timeout that is TimedOut."""
        if not self.is_overdue() or isinstance(error, TimedOut):
            return error
        late = timeout_error(self.job)
        late.__cause__ = error
        return late

    def tell(self, result: AttemptResult, job: Job) -> None:
        """Let `result` have what is known of the attempt; `job` is that of any connection."""
        result.followed = followers.is_followed(job)
        attempts, earlier_conflicts = completion.attempts_before(job)
        result.attempts = attempts + 1
        result.conflicts += earlier_conflicts
        result.annotations = self.annotations
        result.log = () if self.log is None else tuple(self.log.copy())

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


def timeout_error(job: Job) -> TimedOut:
    """The error of an attempt at `job` that took longer than its timeout."""
    shard = completion.shard_of(job)
    name = "" if shard is None else shard.queue.name
    return TimedOut(
        f"job {job.id} ({job.description}) of {spoken(name)} took longer than its timeout of "
        f"{job.timeout}; give it a longer one, or divide its work into several jobs"
    )


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
