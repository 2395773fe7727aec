"""What is kept of an exception: text, and the exception itself if it can be pickled."""

from __future__ import annotations

import io
import pickle
import traceback
from collections.abc import Iterator
from typing import Any

from persistent import Persistent
from persistent.wref import WeakRef
from ZODB.utils import u64

from zodbjobs import defaults

_MOST_CAUSES = 10


class Failure:
    """An exception as it is stored with a job: no frames, no live locals, no stored objects.

    `type` is the dotted name, `message` the text, `traceback` the formatted traceback,
    `cause` the Failure of the exception that led to it, or None. Of a text that is longer
    than defaults.FAILURE_TEXT characters the middle is left out, which it says itself.
    """

    cause: Failure | None = None
    _pickle: bytes | None = None
    _kinds: tuple[str, ...] = ()

    def __init__(self, type: str, message: str, traceback: str) -> None:
        self.type = type
        self.message = message
        self.traceback = traceback

    @classmethod
    def from_exception(cls, error: BaseException, depth: int = 0) -> Failure:
        """The Failure for `error` and the chain of its causes."""
        kind = type(error)
        lines = traceback.format_exception(kind, error, error.__traceback__, chain=False)
        failure = cls(dotted_name(kind), _shortened(_text(error)), _shortened("".join(lines)))
        failure._kinds = tuple(map(dotted_name, kind.__mro__))
        failure._pickle = _pickled(error)
        cause = error.__cause__
        if cause is None and not error.__suppress_context__:
            cause = error.__context__
        if cause is not None and depth < _MOST_CAUSES:
            failure.cause = cls.from_exception(cause, depth + 1)
        return failure

    @property
    def kinds(self) -> tuple[str, ...]:
        """The dotted names of the exception's class and of the bases of that, for a policy to
        go by. Of a Failure that was loaded from the database only that of the class.
        """
        return self._kinds or (self.type,)

    def __getstate__(self) -> dict[str, Any]:
        # The bases are of use while the policy is asked; stored they would make each failure long.
        return {name: value for name, value in vars(self).items() if name != "_kinds"}

    def brief(self) -> Failure:
        """A short copy, for a list of many: no cause, no exception, and of each text no more
        than defaults.PAST_FAILURE_TEXT characters.
        """
        most = defaults.PAST_FAILURE_TEXT
        texts = (_shortened(self.message, most), _shortened(self.traceback, most))
        return Failure(self.type, *texts)

    @property
    def exception(self) -> BaseException | None:
        """A copy of the exception, with a text in place of each persistent object.

        None if it couldn't be pickled, was longer than defaults.FAILURE_BYTES, or its class
        is gone.
        """
        if self._pickle is None:
            return None
        try:
            error = _Loader(io.BytesIO(self._pickle)).load()
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


def dotted_name(kind: type) -> str:
    """How a Failure names a class: with its module, unless that is builtins."""
    name = kind.__qualname__
    return name if kind.__module__ == "builtins" else f"{kind.__module__}.{name}"


def _text(error: BaseException) -> str:
    try:
        return str(error)
    except Exception:
        return "(its text can't be shown)"


def _shortened(text: str, most: int = defaults.FAILURE_TEXT) -> str:
    surplus = len(text) - most
    if surplus <= 0:
        return text
    half = most // 2
    return f"{text[:half]}\n[{surplus:,} characters are left out]\n{text[-half:]}"


class _Bounded(io.BytesIO):
    """A file that takes no more than defaults.FAILURE_BYTES."""

    def write(self, data: Any) -> int:
        if self.tell() + len(data) > defaults.FAILURE_BYTES:
            raise OverflowError("the exception is too long to be kept")
        return super().write(data)


class _Dumper(pickle.Pickler):
    """Pickles an exception, with a text in place of each object of a database."""

    def persistent_id(self, value: Any) -> str | None:
        # A weak reference leads to its object, and so does the wrapper of one, which says
        # that it is of the object's class.
        return _reference(value) if isinstance(value, Persistent | WeakRef) else None


class _Loader(pickle.Unpickler):
    def persistent_load(self, reference: str) -> str:
        return reference


def _reference(value: Any) -> str:
    """The class and the object id of a persistent object; no more, for anybody may read it."""
    kind = value.__class__
    oid = value.oid if isinstance(value, WeakRef) else value._p_oid
    number = f" {u64(oid)}" if isinstance(oid, bytes) else ""
    return f"<{kind.__module__}.{kind.__qualname__}{number}>"


def _pickled(error: BaseException) -> bytes | None:
    file = _Bounded()
    try:
        # It is written in frames, so that what is too long isn't built in full.
        _Dumper(file, 4).dump(error)
        _Loader(io.BytesIO(file.getvalue())).load()
    except Exception:
        return None
    return file.getvalue()
