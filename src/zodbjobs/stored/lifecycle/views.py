"""List and dict faces of plain attributes that tell the job when they change.

A persistent list or dict would be a database record of its own for every job.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, MutableMapping, MutableSequence
from typing import Any, NamedTuple

from persistent import Persistent


class Progress(NamedTuple):
    """What a job last reported of itself."""

    percent: float | None
    message: str | None


Check = Callable[[Any, str], Any]
Guard = Callable[[], object]


class ListView(MutableSequence[Any]):
    """A sequence attribute of a persistent object.

    `check` returns what is stored for a new value, `guard` is called before each change; either
    may raise.
    """

    def __init__(self, owner: Persistent, attribute: str, check: Check, guard: Guard) -> None:
        self._owner = owner
        self._attribute = attribute
        self._check = check
        self._guard = guard

    def _values(self) -> Any:
        return getattr(self._owner, self._attribute)

    def _change(self, change: Callable[[list[Any]], None]) -> None:
        self._guard()
        values = list(self._values())
        change(values)
        setattr(self._owner, self._attribute, tuple(values))

    def __getitem__(self, index: Any) -> Any:
        return self._values()[index]

    def __len__(self) -> int:
        return len(self._values())

    def __setitem__(self, index: Any, value: Any) -> None:
        stored = self._check(value, f"argument {index}")
        self._change(lambda values: values.__setitem__(index, stored))

    def __delitem__(self, index: Any) -> None:
        self._change(lambda values: values.__delitem__(index))

    def insert(self, index: int, value: Any) -> None:
        """Insert `value` before `index`."""
        stored = self._check(value, f"argument {index}")
        self._change(lambda values: values.insert(index, stored))

    def clear(self) -> None:
        """Remove all values."""
        self._change(list.clear)

    def __eq__(self, other: object) -> bool:
        if isinstance(other, ListView | list | tuple):
            return list(self) == list(other)
        return NotImplemented

    def __repr__(self) -> str:
        return repr(list(self))


class DictView(MutableMapping[str, Any]):
    """A dict attribute of a persistent object, None when empty; `overlay` is only read.

    `check` returns what is stored for a new value, `guard` is called before each change; either
    may raise.
    """

    def __init__(
        self,
        owner: Persistent,
        attribute: str,
        check: Check,
        guard: Guard = lambda: None,
        overlay: dict[str, Any] | None = None,
    ) -> None:
        self._owner = owner
        self._attribute = attribute
        self._check = check
        self._guard = guard
        self._overlay = overlay

    def _values(self) -> dict[str, Any]:
        values: dict[str, Any] = getattr(self._owner, self._attribute) or {}
        return {**values, **self._overlay} if self._overlay else values

    def __getitem__(self, name: str) -> Any:
        return self._values()[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values())

    def __len__(self) -> int:
        return len(self._values())

    def __setitem__(self, name: str, value: Any) -> None:
        stored = self._check(value, repr(name))
        self._guard()
        values = getattr(self._owner, self._attribute) or {}
        setattr(self._owner, self._attribute, {**values, name: stored})

    def __delitem__(self, name: str) -> None:
        self._guard()
        values = dict(getattr(self._owner, self._attribute) or {})
        del values[name]
        setattr(self._owner, self._attribute, values or None)

    def clear(self) -> None:
        """Remove all values."""
        self._guard()
        setattr(self._owner, self._attribute, None)

    def __repr__(self) -> str:
        return repr(self._values())
