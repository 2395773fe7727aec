"""Whether a value can be stored, asked before it is too late."""

from __future__ import annotations

import datetime
import decimal
import io
import pickle
import uuid
from collections.abc import Iterator
from typing import Any

from persistent import Persistent
from ZODB.POSException import StateLoadError

from zodbjobs import defaults
from zodbjobs.errors import BadArgument

_SIMPLE = frozenset(
    {type(None), bool, int, float, complex, str, bytes, decimal.Decimal, uuid.UUID}
    | {datetime.datetime, datetime.date, datetime.time, datetime.timedelta}
)

_IMMUTABLE = _SIMPLE | {tuple, frozenset}


class _Probe(pickle.Pickler):
    """Pickles as a commit would, following new persistent objects."""

    def __init__(self) -> None:
        self.written = io.BytesIO()
        super().__init__(self.written, 3)
        self.seen: dict[int, Persistent] = {}
        self.waiting: list[Persistent] = []

    def persistent_id(self, value: Any) -> str | None:
        if not isinstance(value, Persistent):
            return None
        if id(value) not in self.seen:
            self.seen[id(value)] = value
            if value._p_oid is None:
                self.waiting.append(value)
        return ""


def is_simple(value: object) -> bool:
    """Whether `value` can be stored for certain, and by any connection."""
    return type(value) in _SIMPLE


def is_short(value: Any) -> bool:
    """Whether it is of a bounded size, and can be loaded by any process."""
    kind = type(value)
    if kind in (str, bytes):
        return len(value) <= defaults.SHORT_RESULT
    if kind is int:
        return bool(value.bit_length() <= defaults.SHORT_RESULT)
    return value is None or kind in (bool, float)


def check_storable(value: object, what: str) -> None:
    """Raise BadArgument if `value` can't be pickled; `what` names it in the message."""
    if not is_simple(value):
        _probe(value, what)


def can_be_stored(job: Any) -> bool:
    """Whether the record of a job can be written again with the code that is here.

    It can't if the job can't be loaded, or if the class or function that an argument is has
    gone. Raises what the storage raises while the job is loaded.
    """
    try:
        state = job.__getstate__()
    except StateLoadError:
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


def _probe(value: object, what: str) -> _Probe:
    probe = _Probe()
    try:
        probe.dump(value)
        while probe.waiting:
            probe.dump(probe.waiting.pop().__getstate__())
    except Exception as error:
        raise BadArgument(
            f"{what} can't be stored ({type(error).__name__}: {error}); "
            "use something that can be pickled, or an object of the database"
        ) from error
    return probe


def check_immutable(value: object, what: str) -> None:
    """Raise BadArgument unless `value` is made of plain immutable values."""
    for part in _parts(value):
        if type(part) not in _IMMUTABLE:
            raise BadArgument(
                f"{what} must be immutable (text, number, date, tuple of those, ...), "
                f"not {type(part).__name__}"
            )


def _parts(value: object) -> Iterator[object]:
    yield value
    if type(value) in (tuple, frozenset):
        for part in value:  # type: ignore[attr-defined]
            yield from _parts(part)
