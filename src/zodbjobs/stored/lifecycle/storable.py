"""Whether a value can be stored, asked before it is too late."""

from __future__ import annotations

import contextlib
import datetime
import decimal
import io
import pickle
import sys
import uuid
import zoneinfo
from collections.abc import Iterator
from types import FunctionType
from typing import Any

from persistent import Persistent
from persistent.wref import WeakRef
from ZODB.broken import Broken

from zodbjobs import defaults
from zodbjobs.errors import BadArgument
from zodbjobs.stored.lifecycle.unreadable import why_unreadable

_TIMES = frozenset({datetime.datetime, datetime.time})

_SIMPLE = _TIMES | {
    *(type(None), bool, int, float, complex, str, bytes, decimal.Decimal, uuid.UUID),
    *(datetime.date, datetime.timedelta),
}

# The pickle of these says nothing of itself, only of what is in them.
_ORDINARY = _SIMPLE | {tuple, list, dict, set, frozenset}

# Of these it has the name alone ...
_BY_NAME = (type, FunctionType)

# ... and of these the object id.
_REFERENCES = (Persistent, WeakRef)

# Names of the module that a process was started with, in itself and in its children.
_MAIN = ("__main__", "__mp_main__")


class _Refused(Exception):
    """A value that can't be stored; the text says why, and the cure."""


class _Probe(pickle.Pickler):
    """Pickles as a commit would, following new persistent objects.

    `jar` is the connection that is to store it. None: it isn't known yet, and an object of
    any connection is taken.
    """

    def __init__(self, jar: Any = None) -> None:
        self.written = io.BytesIO()
        super().__init__(self.written, 3)
        self.seen: dict[int, Any] = {}
        self._jar = jar
        self._waiting: list[Any] = []
        self._wrappers = _wrappers()

    def probe(self, value: object) -> None:
        """Pickle `value`, and what the commit would store with it."""
        self.dump(value)
        while self._waiting:
            self.dump(self._waiting.pop())

    def persistent_id(self, value: Any) -> str | None:
        kind = type(value)
        if kind in _ORDINARY:
            return None
        if kind in self._wrappers:
            raise _Refused(_WRAPPED)
        if isinstance(value, _BY_NAME):
            _check_named(value)
        if (missing := _missing_class(value)) is not None:
            raise _Refused(f"the class {missing} is missing in this process; install it")
        if not isinstance(value, _REFERENCES):
            return None
        if id(value) not in self.seen:
            self.seen[id(value)] = value
            (self._refer if isinstance(value, Persistent) else self._refer_weakly)(value)
        return ""

    def _refer(self, value: Any) -> None:
        _check_named(type(value))  # which the reference names
        if value._p_oid is None:
            self._waiting += [type(value), value.__getstate__()]
        elif self._jar is not None and value._p_jar is not self._jar:
            self._check_other(value._p_jar)

    def _refer_weakly(self, value: Any) -> None:
        if value.oid is None:
            self.persistent_id(value())  # a commit would store it
        elif self._jar is not None and not _is_among(self._jar.db(), value.dm.db()):
            raise _Refused(_FOREIGN)

    def _check_other(self, other: Any) -> None:
        mine, theirs = self._jar.db(), other.db()
        if self._jar.connections.get(theirs.database_name) is not other:
            raise _Refused(_SEPARATE if _is_among(mine, theirs) else _FOREIGN)
        if not mine.xrefs:
            raise _Refused(
                f"the database {mine.database_name!r} doesn't allow references to objects of "
                "another one; configure it with allow-implicit-cross-references"
            )


_WRAPPED = (
    "it is wrapped for acquisition, and acquisition context isn't stored; pass its path "
    "(getPhysicalPath()) and look it up in the job, or include zodbjobs.zope, which stores and "
    "restores the context"
)
_FOREIGN = (
    "there is an object of another database in it, to which the database of the queue can't "
    "refer; pass what identifies the object, and look it up in the job"
)
_SEPARATE = (
    "there is an object in it that was loaded by another connection than that of the queue; "
    "take both from the same connection"
)


def _wrappers() -> tuple[type, ...]:
    """The classes of Acquisition's wrappers, if this process uses it."""
    found: Any = sys.modules.get("Acquisition")
    if found is None:
        return ()
    return found.ImplicitAcquisitionWrapper, found.ExplicitAcquisitionWrapper


def _is_among(mine: Any, theirs: Any) -> bool:
    return mine.databases.get(theirs.database_name) is theirs


def _check_named(value: Any) -> None:
    module = getattr(value, "__module__", None)
    if module in _MAIN:
        raise _Refused(
            f"{value.__qualname__} is defined in {module}, the script that runs here, and a "
            "worker runs another one; put it into a module that the worker can import"
        )


def _missing_class(value: object) -> str | None:
    """The class of `value` if it is missing here, or `value` if it is such a class itself."""
    kind = value if isinstance(value, type) else type(value)
    if issubclass(kind, Broken) and kind.__module__ != Broken.__module__:
        return f"{kind.__module__}.{kind.__name__}"
    return None


class _Nowhere:
    """A file that keeps nothing."""

    def write(self, data: bytes) -> int:
        """The number of bytes that would have been written."""
        return len(data)


class _Search(pickle.Pickler):
    """Looks for a class that is missing here, in all that one record has of a value."""

    def __init__(self) -> None:
        super().__init__(_Nowhere(), 4)
        self.missing: str | None = None

    def persistent_id(self, value: Any) -> str | None:
        if type(value) in _ORDINARY:
            return None
        self.missing = self.missing or _missing_class(value)
        return "" if isinstance(value, (*_REFERENCES, Broken)) else None


def missing_class(value: object) -> str | None:
    """The dotted name of a class that `value`, or anything in it, needs and this process lacks.

    None if there is all. Other persistent objects aren't looked into.
    """
    if type(value) in _SIMPLE:
        return None
    if isinstance(value, _REFERENCES):
        return _missing_class(value)
    search = _Search()
    with contextlib.suppress(Exception):  # which storing it will meet again, and answer for
        search.dump(value)
    return search.missing


def is_simple(value: object) -> bool:
    """Whether `value` can be stored for certain, and by any connection."""
    kind = type(value)
    return kind in _SIMPLE and (kind not in _TIMES or _has_known_zone(value))


def _has_known_zone(value: Any) -> bool:
    zone = value.tzinfo
    if zone is None or type(zone) is datetime.timezone:
        return True
    if type(zone) is not zoneinfo.ZoneInfo:
        return False
    try:
        zone.__reduce__()
    except pickle.PicklingError:  # it was read from a file, and has no name
        return False
    return True


def is_short(value: Any) -> bool:
    """Whether it is of a bounded size, and can be loaded by any process."""
    kind = type(value)
    if kind in (str, bytes):
        return len(value) <= defaults.SHORT_RESULT
    if kind is int:
        return bool(value.bit_length() <= defaults.SHORT_RESULT)
    return value is None or kind in (bool, float)


def check_storable(value: object, what: str, jar: Any = None) -> None:
    """Raise BadArgument if `value` can't be stored; `what` names it in the message.

    `jar` is the connection that is to store it. None: it isn't known yet, and an object of
    any connection is taken.
    """
    if not is_simple(value):
        _probe(value, what, jar)


def check_context(value: object, what: str) -> None:
    """Raise BadArgument if `value` is wrapped for acquisition."""
    if type(value) in _wrappers():
        raise BadArgument(f"{what} can't be stored: {_WRAPPED}")


def check_named(value: object, what: str) -> None:
    """Raise BadArgument if a class or function is one that only this process has."""
    try:
        _check_named(value)
    except _Refused as error:
        raise BadArgument(f"{what} can't be stored: {error}") from None


def can_be_stored(job: Any) -> bool:
    """Whether the record of a job can be written again with the code that is here.

    It can't if the job can't be loaded, or if the class or function that an argument is has
    gone. Raises what the storage raises while the job is loaded.
    """
    if isinstance(job, Broken):  # which gives its state, but takes no change
        return False
    try:
        state = job.__getstate__()
    except (Exception, SystemExit) as error:
        if why_unreadable(error) is None:
            raise
        return False
    try:
        _Probe().dump(state)
    except Exception:
        return False
    return True


def portable_copy(value: Any, what: str) -> tuple[Any, bool]:
    """A copy of `value` that nobody changes and any connection may store, and True.

    `value` itself and False if there are persistent objects in it. Raises BadArgument if
    it can't be pickled and loaded again.
    """
    probe = _probe(value, what)
    if probe.seen:
        return value, False
    try:
        return pickle.loads(probe.written.getvalue()), True
    except Exception as error:
        raise BadArgument(
            f"{what} can't be loaded again ({type(error).__name__}: {error}); "
            "use something that can be pickled"
        ) from error


def _probe(value: object, what: str, jar: Any = None) -> _Probe:
    probe = _Probe(jar)
    try:
        probe.probe(value)
    except _Refused as error:
        raise BadArgument(f"{what} can't be stored: {error}") from None
    except Exception as error:
        raise BadArgument(
            f"{what} can't be stored ({type(error).__name__}: {error}); "
            "use something that can be pickled, or an object of the database"
        ) from error
    return probe


def check_immutable(value: object, what: str) -> object:
    """Return `value`; raise BadArgument unless it is made of plain immutable values."""
    for part in _parts(value):
        if not is_simple(part) and type(part) not in (tuple, frozenset):
            raise BadArgument(
                f"{what} must be immutable (text, number, tuple of those, date or time in UTC "
                f"or a zone of zoneinfo, ...), not {type(part).__name__}"
            )
    return value


def _parts(value: object) -> Iterator[object]:
    yield value
    if type(value) in (tuple, frozenset):
        for part in value:  # type: ignore[attr-defined]
            yield from _parts(part)
