"""Accidents: the places in a runner where a test lets something go wrong."""

from __future__ import annotations

from collections.abc import Callable

BEFORE_CALL = "before call"
BEFORE_COMMIT = "before commit"
AFTER_COMMIT = "after commit"

PLACES = (BEFORE_CALL, BEFORE_COMMIT, AFTER_COMMIT)

#: Called with the place, in the runner's thread; raises if it is to go wrong. None but in tests.
arranged: Callable[[str], None] | None = None


class Died(BaseException):
    """The worker is gone, as if its process had been killed: nobody gives back what it holds."""
