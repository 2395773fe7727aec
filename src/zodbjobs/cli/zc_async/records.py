"""Reads records of Python 2 as plain values. No class of theirs is imported or called."""

from __future__ import annotations

import io
import pickle
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

from ZODB.POSException import POSKeyError
from ZODB.utils import u64, z64

from zodbjobs.terminal import one_line

# What the package zc.zlibstorage puts in front of a record that it has compressed.
_COMPRESSED = b".z"


class Instance:
    """What stands for an object that lies within a record.

    `name` is that of its class, as ``"module:name"``. A class or a function by itself is a
    subclass of this one.
    """

    name: ClassVar[str] = ""
    args: tuple[Any, ...]
    state: Any

    def __new__(cls, *args: Any) -> Instance:
        """Keep the arguments."""
        made = super().__new__(cls)
        made.args, made.state = args, None
        return made

    def __init__(self, *args: Any) -> None:
        """Take them once more."""

    def __setstate__(self, state: Any) -> None:
        """Keep the state."""
        self.state = _named(state)

    def append(self, value: Any) -> None:
        """Take an item of a list's subclass."""

    def __setitem__(self, key: Any, value: Any) -> None:
        """Take an item of a dict's subclass."""


@dataclass(frozen=True)
class Reference:
    """A reference to another record, with the name of its class if that is told."""

    oid: bytes
    name: str = ""
    database: str = ""
    weak: bool = False

    @property
    def id(self) -> str:
        """The object id in decimal."""
        return str(u64(self.oid))


@dataclass(frozen=True)
class Record:
    """A stored object: the name of its class, and its state."""

    name: str
    state: Any

    def get(self, attribute: str, default: Any = None) -> Any:
        """An attribute; `default` if there is none."""
        return self.state.get(attribute, default) if isinstance(self.state, dict) else default


class Unreadable(Exception):
    """A record that isn't there, or can't be read; the text says which and why."""


class Records:
    """The records that `load` gives the data of, by the oid."""

    def __init__(self, load: Callable[[bytes], bytes]) -> None:
        self._load = load

    def get(self, reference: Any) -> Record:
        """The record that a reference leads to; raises Unreadable."""
        if not isinstance(reference, Reference):
            raise Unreadable(f"{one_line(repr(reference))[:80]} is where an object should be")
        if reference.database:
            raise Unreadable(
                f"object {reference.id} is in the database {reference.database!r}, another one"
            )
        try:
            data = self._load(reference.oid)
        except POSKeyError:
            raise Unreadable(f"object {reference.id} isn't in the database") from None
        try:
            return _read(data)
        except Exception as error:  # whatever a broken pickle leads to
            raise Unreadable(
                f"the record of object {reference.id} can't be read "
                f"({type(error).__name__}: {one_line(error)})"
            ) from error


def text_of(value: Any) -> Any:
    """A string of Python 2 as text, if it is one in UTF-8; else as it is."""
    if isinstance(value, bytes):
        try:
            return value.decode("utf-8")
        except UnicodeDecodeError:
            pass
    return value


class _Reader(pickle.Unpickler):
    """Gives strings of Python 2 as bytes, and imports nothing."""

    def __init__(self, data: bytes) -> None:
        super().__init__(io.BytesIO(data), encoding="bytes", fix_imports=False)
        self._classes: dict[str, type[Instance]] = {}

    def find_class(self, module: str, name: str) -> type[Instance]:
        path = f"{module}:{name}"
        if path not in self._classes:
            self._classes[path] = type("Global", (Instance,), {"name": path})
        return self._classes[path]

    def persistent_load(self, reference: Any) -> Reference:
        """The forms that ZODB.serialize has written since ZODB 3."""
        found = _in_list(reference) if isinstance(reference, list) else _plain(reference)
        if found is None or len(found.oid) != len(z64):
            raise pickle.UnpicklingError(f"an unknown kind of reference: {reference!r}")
        return found


def _plain(reference: Any) -> Reference | None:
    match reference:
        case bytes(oid):
            return Reference(oid)
        case (bytes(oid), kind):
            return Reference(oid, _name_of(kind))
    return None


def _in_list(reference: list[Any]) -> Reference | None:
    """A reference to another database, or a weak one."""
    match [text_of(item) for item in reference[:1]] + reference[1:]:
        case ["m", (database, bytes(oid), kind)]:
            return Reference(oid, _name_of(kind), str(text_of(database)))
        case ["n", (database, bytes(oid))]:
            return Reference(oid, "", str(text_of(database)))
        case ["w", (bytes(oid),)]:
            return Reference(oid, weak=True)
        case ["w", (bytes(oid), database)]:
            return Reference(oid, "", str(text_of(database)), weak=True)
    match reference:
        case [bytes(oid)]:  # a weak one, as ZODB 3.2 wrote it
            return Reference(oid, weak=True)
    return None


def _read(data: bytes) -> Record:
    if data.startswith(_COMPRESSED):
        data = zlib.decompress(data[len(_COMPRESSED) :])
    reader = _Reader(data)
    kind = reader.load()
    return Record(_name_of(kind), _named(reader.load()))


def _name_of(kind: Any) -> str:
    """The name of the class that a record or a reference begins with."""
    match kind:
        case type():
            return str(getattr(kind, "name", ""))
        case (type() as found, _) | ((_, _) as found, _):  # with the arguments of __new__
            return _name_of(found)
        case (bytes() | str() as module, bytes() | str() as name):
            return f"{text_of(module)}:{text_of(name)}"
    return ""


def _named(state: Any) -> Any:
    """A state of attributes, by names as text."""
    return {text_of(k): v for k, v in state.items()} if isinstance(state, dict) else state
