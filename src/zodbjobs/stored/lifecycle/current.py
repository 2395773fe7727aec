"""Reading as current: of two transactions one of which reads what the other one writes, one
conflicts.
"""

from __future__ import annotations

from typing import Any


def read_as_current(stored: Any) -> None:
    """Let the current transaction conflict if another one has written `stored` by its commit.

    Nothing, for an object that this transaction has made.
    """
    jar = stored._p_jar
    if jar is not None and stored._p_serial is not None:
        stored._p_activate()  # what isn't loaded has no serial, or that of an earlier transaction
        jar.readCurrent(stored)
