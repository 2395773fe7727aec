"""Values are stored as references, and loaded again; see `zodbjobs.references`."""

from __future__ import annotations

import io
import pickle
from collections.abc import Callable
from typing import Any

from persistent import Persistent
from persistent.wref import WeakRef

from zodbjobs import cures, references
from zodbjobs.errors import BadArgument, MissingCode
from zodbjobs.stored.lifecycle.storable import is_simple
from zodbjobs.stored.reference import Reference, Referring

# Containers of which the pickle says nothing of itself.
_CONTAINERS = (tuple, list, dict, set, frozenset)


def storable_form(value: Any, what: str) -> Any:
    """`value`, or what is to be stored for it. `what` names it in messages.

    Raises BadArgument if there is something in it that no kind of reference can store.
    """
    kinds = references.kinds
    if not kinds or is_simple(value) or type(value) in (Reference, Referring):
        return value
    found: set[str] = set()

    def replaced(part: Any) -> Any:
        for name, kind in kinds.items():
            if kind.recognizes(part):
                found.add(name)
                return Reference(name, *_stored(kind, part, what))
        return part

    try:
        copy = _copied(value, replaced)
    except BadArgument:
        raise
    except Exception as error:
        if not found:
            return value  # which the check of all that is stored says better
        raise BadArgument(
            f"{what} can't be stored ({type(error).__name__}: {error}); pass the objects by "
            "themselves, or in lists and dicts"
        ) from error
    return Referring(tuple(sorted(found)), copy) if found else value


def _stored(kind: references.Kind, part: Any, what: str) -> tuple[Any, Any]:
    try:
        return kind.store(part)
    except BadArgument as error:
        raise BadArgument(f"{what} can't be stored: {error}") from None


def check_known(value: Referring) -> None:
    """Raise MissingCode if this process can't load it."""
    for kind in value.kinds:
        if kind not in references.kinds:
            raise MissingCode(
                f"the job refers to objects in a way ({kind}) that this worker doesn't know; "
                f"{cures.of_missing(kind)}, then retry the job"
            )


def loaded(value: Any) -> Any:
    """The value that `storable_form` was given, with the objects as they are now.

    Raises MissingCode, and what the kinds of reference raise.
    """
    if type(value) is not Referring:
        return value
    check_known(value)

    def found(part: Any) -> Any:
        if type(part) is not Reference:
            return part
        return references.kinds[part.kind].load(part.obj, part.place)

    return _copied(value.value, found)


def _copied(value: Any, replace: Callable[[Any], Any]) -> Any:
    """A copy of a value with what `replace` returns for each part of it that isn't plain data.

    Objects of a database aren't copied, nor looked into. Raises what pickling raises.
    """
    if type(value) not in _CONTAINERS:
        replacement = replace(value)
        if replacement is not value or isinstance(value, Persistent | WeakRef):
            return replacement
    parts: list[Any] = []
    written = io.BytesIO()
    pickler = _Pickler(written, parts, replace)
    pickler.dump(value)
    unpickler = pickle.Unpickler(io.BytesIO(written.getvalue()))
    unpickler.persistent_load = parts.__getitem__  # type: ignore[method-assign]
    return unpickler.load()


class _Pickler(pickle.Pickler):
    """Leaves out what is replaced, and the objects of a database."""

    def __init__(
        self, written: io.BytesIO, parts: list[Any], replace: Callable[[Any], Any]
    ) -> None:
        super().__init__(written, 4)
        self._parts = parts
        self._replace = replace
        self._numbers: dict[int, int] = {}

    def persistent_id(self, value: Any) -> int | None:
        kind = type(value)
        if kind in _CONTAINERS or is_simple(value) or isinstance(value, type):
            return None
        known = self._numbers.get(id(value))
        if known is not None:
            return known
        replacement = self._replace(value)
        if replacement is value and not isinstance(value, Persistent | WeakRef):
            return None
        self._parts += [replacement, value]  # the value is kept, so that its id stays its own
        self._numbers[id(value)] = number = len(self._parts) - 2
        return number
