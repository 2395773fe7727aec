"""Accidents: conflicts, lost connections and deaths, in the real runner, as a test wants."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from types import FunctionType
from typing import NoReturn

from transaction.interfaces import TransientError
from ZODB.POSException import ConflictError

from zodbjobs.errors import BadArgument
from zodbjobs.runtime import accidents
from zodbjobs.runtime.accidents import BEFORE_COMMIT, PLACES, Died


def conflict_once() -> contextlib.AbstractContextManager[None]:
    """Let the next job conflict at its commit: it is rolled back, and run again at once.

    A context manager, for `run_jobs` or a worker of this process. Raises AssertionError at its
    end if no job came so far.
    """
    return _once("conflict_once", BEFORE_COMMIT, _conflict)


def lose_connection_once() -> contextlib.AbstractContextManager[None]:
    """Let the next job lose the connection to the storage at its commit, which isn't made: it is
    rolled back, and run again when the storage answers, after 0.1 s.

    As `conflict_once`.
    """
    return _once("lose_connection_once", BEFORE_COMMIT, _lose_connection)


def die_once(at: str = BEFORE_COMMIT) -> contextlib.AbstractContextManager[None]:
    """Let `run_jobs` in this thread end within the next job, as if its process had been killed.

    It returns the number of runs before that one, and leaves what a dead worker leaves. The
    next `run_jobs`, or any worker, rescues it, and the job is run again unless it had ended. `at`:
    'before call', 'before commit', or 'after commit', when the end is stored and not booked yet.

    A context manager. Raises BadArgument for another place, and AssertionError at its end if no
    job came so far.
    """
    if at not in PLACES:
        raise BadArgument(f"a worker dies at one of {', '.join(PLACES)}, not at {at!r}")
    mine = threading.get_ident()
    return _once("die_once", at, _die, lambda: threading.get_ident() == mine)


@contextlib.contextmanager
def _once(
    name: str, at: str, accident: Callable[[], NoReturn], here: Callable[[], bool] = lambda: True
) -> Iterator[None]:
    """Let `accident` happen once at a place, in a thread for which `here` is true."""
    lock = threading.Lock()
    happened = False
    before = accidents.arranged

    def arranged(place: str) -> None:
        nonlocal happened
        if before is not None:
            before(place)
        if place != at or not here():
            return
        with lock:
            if happened:
                return
            happened = True
        accident()

    accidents.arranged = arranged
    try:
        yield
    finally:
        accidents.arranged = before
    if not happened:
        raise AssertionError(
            f"{name}: nothing happened, as no job was run; put one, commit, and call run_jobs(db) "
            "within it"
        )


def _conflict() -> NoReturn:
    raise ConflictError("of a test, by conflict_once()")


class _LostConnection(TransientError):
    """The connection to the storage's server was lost."""


def _lose() -> NoReturn:
    raise _LostConnection("of a test, by lose_connection_once()")


# A disconnect is told by having passed through the code of a storage's client.
_lose_connection = FunctionType(
    _lose.__code__, {"__name__": "ZEO", "_LostConnection": _LostConnection}
)


def _die() -> NoReturn:
    raise Died("of a test, by die_once()")
