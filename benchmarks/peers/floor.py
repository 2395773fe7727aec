"""A ZODB without jobs: what a commit of one small object costs on the same storages."""

from __future__ import annotations

import ours
import transaction
import zodb_effect
from BTrees.LOBTree import LOBTree


class Floor(ours.Ours):
    """Adds objects to a tree."""

    def setup(self) -> None:
        """The tree."""
        self.connection.root()["things"] = LOBTree()
        transaction.commit()

    def put(self, number: int) -> None:
        """One in a transaction."""
        things = self.connection.root()["things"]
        for n in range(number):
            things[n] = zodb_effect.Thing()
            transaction.commit()


PEER = Floor()
