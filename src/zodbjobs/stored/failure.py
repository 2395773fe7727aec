"""What is kept of an exception: text, and the exception itself if it can be pickled."""

from __future__ import annotations

import pickle
import traceback
from collections.abc import Iterator

_MOST_CAUSES = 10


class Failure:
    """An exception as it is stored with a job: no frames, no live locals.

    `type` is the dotted name, `message` the text, `traceback` the formatted traceback,
    `cause` the Failure of the exception that led to it, or None.
    """

    cause: Failure | None = None
    _pickle: bytes | None = None

    def __init__(self, type: str, message: str, traceback: str) -> None:
        self.type = type
        self.message = message
        self.traceback = traceback

    @classmethod
    def from_exception(cls, error: BaseException, depth: int = 0) -> Failure:
        """The Failure for `error` and the chain of its causes."""
        kind = type(error)
        name = kind.__qualname__
        if kind.__module__ != "builtins":
            name = f"{kind.__module__}.{name}"
        lines = traceback.format_exception(kind, error, error.__traceback__, chain=False)
        failure = cls(name, _text(error), "".join(lines))
        failure._pickle = _pickled(error)
        cause = error.__cause__
        if cause is None and not error.__suppress_context__:
            cause = error.__context__
        if cause is not None and depth < _MOST_CAUSES:
            failure.cause = cls.from_exception(cause, depth + 1)
        return failure

    @property
    def exception(self) -> BaseException | None:
        """A copy of the exception, or None if it couldn't be pickled or its class is gone."""
        if self._pickle is None:
            return None
        try:
            error = pickle.loads(self._pickle)
        except Exception:
            return None
        return error if isinstance(error, BaseException) else None

    def chain(self) -> Iterator[Failure]:
        """The failure itself, then its cause, then the cause of that."""
        failure: Failure | None = self
        while failure is not None:
            yield failure
            failure = failure.cause

    def render(self) -> str:
        """The tracebacks of the whole chain, causes first."""
        between = "\nThis led to the following exception:\n\n"
        return between.join(failure.traceback for failure in reversed(list(self.chain())))

    def __str__(self) -> str:
        return f"{self.type}: {self.message}" if self.message else self.type

    def __repr__(self) -> str:
        return f"<Failure {self}>"


def _text(error: BaseException) -> str:
    try:
        return str(error)
    except Exception:
        return "(its text can't be shown)"


def _pickled(error: BaseException) -> bytes | None:
    try:
        data = pickle.dumps(error, 3)
        pickle.loads(data)
    except Exception:
        return None
    return data
