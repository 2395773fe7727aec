"""What is in the stored containers that zc.async is made of."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, TypeVar

from zodbjobs.cli.zc_async.records import Record, Records, Reference, Unreadable, text_of

T = TypeVar("T")


class Containers:
    """Reads containers; what of one can't be read is noted in `problems`, and left out."""

    def __init__(self, records: Records) -> None:
        self.records = records
        self.problems: list[str] = []

    def record(self, reference: Any) -> Record | None:
        """The record of a reference, None if it can't be read."""
        try:
            return self.records.get(reference)
        except Unreadable as error:
            self.problems.append(str(error))
            return None

    def sequence(self, reference: Any) -> list[Any]:
        """The items of a PersistentList."""
        return self._read(reference, lambda record: list(_data(record)))

    def mapping(self, reference: Any) -> dict[Any, Any]:
        """The items of a PersistentMapping, or a subclass; the keys as text."""
        return dict(self._read(reference, lambda record: _by_text(_data(record).items())))

    def zc_dict(self, reference: Any) -> dict[Any, Any]:
        """The items of a zc.dict.Dict, or a subclass; the keys as text."""
        trees = self._read(reference, lambda record: [record.state["_data"]])
        return {key: value for tree in trees for key, value in self.tree(tree)}

    def zc_queue(self, reference: Any) -> list[Any]:
        """The items of a queue of zc.queue; a CompositeQueue has others as its parts."""
        return self._parts_of_queue(reference, set())

    def _parts_of_queue(self, reference: Any, seen: set[Any]) -> list[Any]:
        if reference in seen:
            return []
        seen.add(reference)
        found: list[Any] = []
        for part in self._read(reference, lambda record: list(record.state["_data"])):
            found += self._parts_of_queue(part, seen) if _is_part(part) else [part]
        return found

    def tree(self, reference: Any) -> list[tuple[Any, Any]]:
        """The pairs of a BTree, in order; the keys as text."""
        return self._parts_of_tree(reference, set())

    def tried(self, read: Callable[[], T], otherwise: T, what: str) -> T:
        """What `read` gives; `otherwise`, and a problem noted, if it finds what can't be."""
        try:
            return read()
        except Exception as error:  # a record may hold anything
            self.problems.append(f"{what} isn't as it should be ({type(error).__name__}: {error})")
            return otherwise

    def _parts_of_tree(self, reference: Any, seen: set[Any]) -> list[tuple[Any, Any]]:
        if reference in seen:
            return []
        seen.add(reference)
        found: list[tuple[Any, Any]] = []
        for part in self._read(reference, _children):
            found += self._parts_of_tree(part, seen) if isinstance(part, Reference) else [part]
        return found

    def _read(self, reference: Any, read: Callable[[Record], list[Any]]) -> list[Any]:
        record = self.record(reference)
        if record is None:
            return []
        return self.tried(lambda: read(record), [], f"object {reference.id}, a {record.name},")


def _data(record: Record) -> Any:
    return record.state["data"] if "data" in record.state else record.state["_container"]


def _is_part(value: Any) -> bool:
    return isinstance(value, Reference) and value.name.startswith("zc.queue.")


def _children(record: Record) -> list[Any]:
    """The references to the parts of a BTree, or the pairs of a bucket."""
    state = record.state
    if state is None:  # empty
        return []
    if "Bucket" in record.name:
        return _pairs(state[0])
    if len(state) == 1:  # a small tree has its only bucket in it
        ((bucket,),) = state
        return _pairs(bucket[0])
    return list(state[0][::2])


def _pairs(flat: Any) -> list[tuple[Any, Any]]:
    return _by_text(zip(flat[::2], flat[1::2], strict=True))


def _by_text(pairs: Iterable[tuple[Any, Any]]) -> list[tuple[Any, Any]]:
    return [(text_of(key), value) for key, value in pairs]
