"""How values are stored that are more than a stored object, such as one with its acquisition
context: ``from zodbjobs import references``.

A value that `recognizes` says it knows is stored as an object of the database and its place,
wherever it is in the arguments of a job, as the object whose method is called, or in a result. The
call gets what `load` makes of the two.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, NamedTuple

from zodbjobs.errors import BadArgument


class Kind(NamedTuple):
    """How the values of one kind are recognized, stored and loaded."""

    recognizes: Callable[[Any], bool]
    store: Callable[[Any], tuple[Any, Any]]
    load: Callable[[Any, Any], Any]
    describe: Callable[[Any], str]


#: Replaced, not changed, for threads are reading it.
kinds: dict[str, Kind] = {}
_lock = threading.Lock()


def register(
    kind: str,
    recognizes: Callable[[Any], bool],
    store: Callable[[Any], tuple[Any, Any]],
    load: Callable[[Any, Any], Any],
    describe: Callable[[Any], str] = repr,
) -> None:
    """Have the values of a kind stored as an object and a place, and loaded from these.

    `recognizes(value)` is asked of each value that isn't plain data. `store(value)` returns a
    persistent object, and its place as plain data; it raises BadArgument, with the cure, for what
    can't be stored. `load(obj, place)` is called in the attempt's transaction, in the run context
    of the job; it may raise ObjectGone, with which the job fails for good. `describe(place)`: the
    place, for people.

    A worker in which the kind isn't registered parks the job. A kind of the same name is replaced.
    Raises BadArgument if `kind` is no text, or one of the functions can't be called.
    """
    global kinds
    functions = (recognizes, store, load, describe)
    if not isinstance(kind, str) or not kind or not all(map(callable, functions)):
        raise BadArgument(
            f"a kind of reference needs a name and functions, not {kind!r} and {functions!r}"
        )
    with _lock:
        kinds = {**kinds, kind: Kind(*functions)}


def unregister(kind: str) -> None:
    """Store and load nothing of that kind any more; it needn't be registered."""
    global kinds
    with _lock:
        kinds = {known: each for known, each in kinds.items() if known != kind}


def describe(kind: str, place: Any) -> str:
    """A place for people; as it is stored if the kind isn't registered here."""
    known = kinds.get(kind)
    return repr(place) if known is None else known.describe(place)


__all__ = ["register", "unregister"]
