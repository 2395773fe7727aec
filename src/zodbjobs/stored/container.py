"""Where the job manager keeps its jobs."""

from __future__ import annotations

import zlib
from collections.abc import ItemsView, Iterator, KeysView, ValuesView
from typing import Any

from BTrees.LOBTree import LOBTree
from persistent import Persistent
from ZODB.broken import Broken
from ZODB.POSException import POSKeyError
from zope.container.contained import (
    Contained,
    notifyContainerModified,
    setitem,
    uncontained,
)
from zope.event import notify
from zope.interface import implementer
from zope.lifecycleevent import ObjectRemovedEvent

from zodbjobs import defaults
from zodbjobs.errors import BadArgument
from zodbjobs.interfaces import IJobContainer
from zodbjobs.stored.lifecycle.keys import LAST, SENTINEL
from zodbjobs.stored.lifecycle.storable import can_be_stored
from zodbjobs.stored.trees import lasting_tree


@implementer(IJobContainer)
class JobContainer(Contained, Persistent):
    """The jobs that were put through a job manager, by id, until they are removed.

    In the order of their ids as numbers. Setting and deleting fire the events of a container.
    Producers that put at once get ids that follow each other; in one tree all would write its
    last leaf, and conflict whenever that is split. So the jobs are spread over many trees.
    """

    #: Zope's publisher calls what has a docstring, by any URL that leads to it.
    __zpublishable__ = False

    def __init__(self) -> None:
        self._trees = tuple(lasting_tree() for _ in range(defaults.CONTAINER_TREES))

    def _tree(self, number: int) -> LOBTree:
        # Not the remainder of a division: producers that count in step would stay together.
        found: LOBTree = self._trees[zlib.crc32(b"%d" % number) % len(self._trees)]
        return found

    def get(self, name: str, default: Any = None) -> Any:
        """The job with that id, or `default`."""
        number = _number(name)
        return default if number is None else self._tree(number).get(number, default)

    def __getitem__(self, name: str) -> Any:
        number = _number(name)
        found = None if number is None else self._tree(number).get(number)
        if found is None:
            raise KeyError(name)
        return found

    def __contains__(self, name: object) -> bool:
        number = _number(name)
        return number is not None and number in self._tree(number)

    def __iter__(self) -> Iterator[str]:
        numbers = sorted(n for tree in self._trees for n in tree.keys(SENTINEL + 1))
        return map(str, numbers)

    def __len__(self) -> int:
        """How many there are; reads all the trees."""
        return sum(len(tree) - 1 for tree in self._trees)

    def keys(self) -> KeysView[str]:
        """The ids."""
        return KeysView(self)

    def values(self) -> ValuesView[Any]:
        """The jobs, in the order of their ids."""
        return ValuesView(self)

    def items(self) -> ItemsView[str, Any]:
        """The ids and the jobs."""
        return ItemsView(self)

    def __setitem__(self, name: str, value: Any) -> None:
        """Add `value`; KeyError if the id is taken, BadArgument if `name` is no decimal id."""
        number = _number(name)
        if number is None:
            raise BadArgument(f"the job container keeps jobs by their decimal id, not by {name!r}")
        tree = self._tree(number)
        setitem(self, lambda _, contained: tree.insert(number, contained), name, value)

    def __delitem__(self, name: str) -> None:
        job = self[name]
        if isinstance(job, Broken):
            # As zope.container does, which would look for the parent in the record.
            notify(ObjectRemovedEvent(job, self, name))
            notifyContainerModified(self)
        elif _is_whole(job):
            uncontained(job, self, name)
        else:
            notifyContainerModified(self)  # no subscriber could read the job
        number = int(name)
        del self._tree(number)[number]


def _is_whole(job: Any) -> bool:
    """Whether it can be read, and written again."""
    try:
        return can_be_stored(job)
    except POSKeyError:  # its record is lost
        return False


def _number(name: object) -> int | None:
    """The id as a number, or None if `name` is none."""
    if not isinstance(name, str) or not (name.isascii() and name.isdecimal()):
        return None
    number = int(name) if len(name) < 20 else LAST + 1
    return number if str(number) == name and number <= LAST else None
