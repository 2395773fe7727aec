"""What a Sweep has set aside: items of which the call raised, each with its failure."""

from __future__ import annotations

import reprlib
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, overload

from BTrees.LOBTree import LOBTree
from persistent import Persistent

from zodbjobs.stored.enumerators import Enumerator
from zodbjobs.stored.failure import Failure
from zodbjobs.stored.lifecycle import referring

if TYPE_CHECKING:
    from zodbjobs.stored.sweep import Source


class Aside(Persistent):
    """An item that was set aside: the `cursor` after it, its `failure`, and `shown`, its repr.

    `item` is the item itself, as it is now.
    """

    def __init__(
        self, source: Source, before: Any, cursor: Any, shown: str, failure: Failure
    ) -> None:
        self._source = source
        self._before = before
        self.cursor = cursor
        self.shown = shown
        self.failure = failure

    @property
    def item(self) -> Any:
        """The item as it is now; LookupError if it isn't where it was any more."""
        return referring.loaded(self._source.enumerator.find(self._before, self.cursor))

    def __repr__(self) -> str:
        return f"<{self.shown} was set aside: {self.failure}>"


class SetAside(Persistent):
    """The items that were set aside, in the order of the sweep; a sequence of `Aside`.

    Another Sweep can go through it: through the items as they are then; what is gone is left out.
    It has a record of its own for each, apart from that of the job.
    """

    def __init__(self) -> None:
        self._asides = LOBTree()

    def add(self, aside: Aside) -> None:
        """Add one at the end."""
        self._asides[len(self)] = aside

    def __len__(self) -> int:
        return int(self._asides.maxKey()) + 1 if self._asides else 0

    def __bool__(self) -> bool:
        return bool(self._asides)

    def __iter__(self) -> Iterator[Aside]:
        return iter(self._asides.values())

    @overload
    def __getitem__(self, number: int) -> Aside: ...

    @overload
    def __getitem__(self, number: slice) -> list[Aside]: ...

    def __getitem__(self, number: int | slice) -> Aside | list[Aside]:
        if isinstance(number, slice):
            return list(self)[number]
        place = number + len(self) if number < 0 else number
        if place not in self._asides:
            raise IndexError(f"{len(self)} were set aside; there is no number {number}")
        found: Aside = self._asides[place]
        return found

    def __repr__(self) -> str:
        return f"<{len(self)} set aside>"

    def _as_enumerator(self) -> Enumerator:
        return Again(self)


class Again(Enumerator):
    """The items that were set aside, as they are now."""

    def __init__(self, set_aside: SetAside) -> None:
        self.set_aside = set_aside

    def items(self, cursor: Any) -> Iterator[tuple[Any, Any]]:
        """See `Enumerator`."""
        for number in range(cursor or 0, len(self.set_aside)):
            try:
                item = self.set_aside[number].item
            except LookupError:
                continue
            yield number + 1, item

    def find(self, before: Any, cursor: Any) -> Any:
        """See `Enumerator`."""
        return self.set_aside[cursor - 1].item

    def fraction(self, cursor: Any) -> float | None:
        """See `Enumerator`."""
        return (cursor or 0) / len(self.set_aside) if self.set_aside else None


def shown(item: object) -> str:
    """An item as text, shortened."""
    try:
        return reprlib.repr(referring.loaded(item))
    except Exception as error:  # as code that is loaded with it may raise
        return f"<{type(item).__name__} that can't be shown: {type(error).__name__}>"
