"""Unique keys: which job of a queue has which key, so that no second one is put meanwhile."""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING

from BTrees.OOBTree import OOBTree
from persistent import Persistent

from zodbjobs.stored.lifecycle.current import read_as_current

if TYPE_CHECKING:
    from zodbjobs.stored.job import Job

# Two puts with keys of one tree conflict if one of them splits a leaf. With so many trees, and
# leaves of 30 keys, that is rarer than one put in 1,000.
_TREES = 128

# A tree with this key in it is never empty: two who add to it at once can be merged.
_NEVER_EMPTY = ""


class UniqueKey(Persistent):
    """A key, and the job that has it; None once another one may be put: when the job is
    claimed, or `until_ended` when it has ended. One that is given back unbegun has it again, if
    no other has.

    Whoever relies on it, as the job waits, reads it as current; who takes it from the job
    writes it, so of the two one conflicts.
    """

    def __init__(self, keys: UniqueKeys, name: str, job: Job, until_ended: bool) -> None:
        self._keys = keys
        self.name = name
        self.until_ended = until_ended
        self.job: Job | None = job

    def rely(self) -> None:
        """Let the current transaction conflict if the job loses the key meanwhile."""
        if self._p_jar is not None:
            self._p_jar.register(self)  # so that it is looked at even if nothing is written
            read_as_current(self)

    def release(self) -> None:
        """Let another job have the key."""
        if self.job is not None:
            self.job = None
            self._keys.drop(self)

    def retake(self, job: Job) -> None:
        """Let `job`, which had it, have it again, unless another one has a key of that name."""
        if self._keys.restore(self):
            self.job = job


class UniqueKeys(Persistent):
    """The unique keys of a queue."""

    def __init__(self) -> None:
        self._trees = tuple(OOBTree() for _ in range(_TREES))
        for tree in self._trees:
            tree[_NEVER_EMPTY] = None

    def _tree(self, name: str) -> OOBTree:
        return self._trees[zlib.crc32(name.encode("utf-8", "surrogatepass")) % _TREES]

    def get(self, name: str) -> UniqueKey | None:
        """The key of that name, if a job has it."""
        found: UniqueKey | None = self._tree(name).get(name)
        return found

    def give(self, name: str, job: Job, until_ended: bool) -> UniqueKey:
        """Give the key of that name to a job; nobody may have it."""
        key = self._tree(name)[name] = UniqueKey(self, name, job, until_ended)
        return key

    def restore(self, key: UniqueKey) -> bool:
        """Take up a key again that was dropped, if nobody has one of its name; whether it was."""
        tree = self._tree(key.name)
        if key.name in tree:
            return False
        tree[key.name] = key
        return True

    def drop(self, key: UniqueKey) -> None:
        """Forget a key that its job has no more."""
        tree = self._tree(key.name)
        if tree.get(key.name) is key:
            del tree[key.name]
