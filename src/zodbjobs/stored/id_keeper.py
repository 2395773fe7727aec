"""An object that keeps the ids of jobs that are gone from being given out again."""

from __future__ import annotations

from persistent import Persistent


class IdKeeper(Persistent):
    """A stored object whose id is larger than those of jobs that were dropped.

    A FileStorage counts on from the largest id that a pack has left. While this object is
    there, that isn't smaller than the id of a job which was forgotten.
    """
