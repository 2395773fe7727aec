"""Transactions that are made again: after a conflict, and while the storage is unavailable."""

from __future__ import annotations

import contextlib
import logging
import random
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

from zodbjobs import defaults
from zodbjobs.interrupt import is_ctrl_c
from zodbjobs.runtime.accidents import Died
from zodbjobs.runtime.storage import errors

log = logging.getLogger("zodbjobs")

T = TypeVar("T")


class Stopped(Exception):
    """The worker stops while its storage is unavailable; what it held is left to a rescue."""


class Exited(Exception):
    """What was raised by code of an application, while its objects were stored, is no error."""


@contextlib.contextmanager
def only_errors() -> Iterator[None]:
    """Around a commit or a savepoint, which call `__getstate__` and the like: raise Exited for
    SystemExit and what else would end the thread, and so be met again and again, by other jobs
    as well.
    """
    try:
        yield
    except BaseException as error:
        if isinstance(error, Exception | Died) or is_ctrl_c(error):
            raise
        raise Exited(
            f"{type(error).__name__} was raised while what the job has changed was stored; let "
            "the __getstate__ or __reduce__ of its objects raise an error instead"
        ) from error


class Backoff:
    """Waits between two tries while the storage is unavailable, longer and longer.

    Tells of it once. Waits until `stopping` is set at most.
    """

    def __init__(self, stopping: threading.Event) -> None:
        self._stopping = stopping
        self._times = 0

    def wait(self, error: Exception) -> None:
        """Wait before the next try; raise Stopped, from `error`, if the worker stops."""
        if not self._times:
            log.warning("the storage is unavailable, it is tried again and again: %s", error)
        seconds = defaults.BACKOFF_SECONDS * 2 ** min(self._times, 10)
        self._times += 1
        if self._stopping.wait(min(seconds, defaults.MOST_BACKOFF_SECONDS)):
            raise Stopped from error

    def is_over(self) -> bool:
        """Note that the storage answers; return whether it was unavailable before."""
        times, self._times = self._times, 0
        return times > 0


def pause(conflicts: int) -> None:
    """Wait before the next attempt, by chance and the longer the more conflicts there were."""
    seconds = defaults.CONFLICT_SECONDS * 2 ** min(conflicts, 10)
    time.sleep(min(seconds, defaults.MOST_CONFLICT_SECONDS) * random.random())


def run(
    manager: Any,
    work: Callable[[], T],
    *,
    conflicts: int | None = None,
    backoff: Backoff | None = None,
    on_conflict: Callable[[], None] = lambda: None,
) -> T:
    """Run `work` in a transaction of `manager` until it is committed; return its result.

    `conflicts`: how many of them to outlast, None for any number. `backoff`: how to wait while
    the storage is unavailable; without it that is raised. `on_conflict` is called after each one
    that is outlasted. Raises Stopped, and what can't be helped by another try.
    """
    met = 0
    while True:
        try:
            manager.begin()
            result = work()
            with only_errors():
                manager.commit()
            return result
        except BaseException as error:
            manager.abort()
            if not isinstance(error, Exception):
                raise
            if errors.is_unavailable(error):
                if backoff is None:
                    raise
                backoff.wait(error)
            elif errors.is_transient(error) and (conflicts is None or met < conflicts):
                met += 1
                on_conflict()
                pause(met)
            else:
                raise
