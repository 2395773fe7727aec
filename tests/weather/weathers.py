"""What is fast and what is slow: a context for each, in which the suite is run."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from storages import postgresql_server

from weather import slow_fsync

#: Changes of the environment, given a folder for what is needed.
Begin = Callable[[Path], contextlib.AbstractContextManager[dict[str, str]]]

_MEMORY = Path("/dev/shm")


@dataclasses.dataclass(frozen=True)
class Weather:
    """`begin` makes it for the processes that are started meanwhile, with the variables that it
    yields. `scratch`: where they have their temporary files, None for the usual place. `at_once`:
    how many tests run at a time.
    """

    name: str
    begin: Begin
    scratch: Path | None = None
    at_once: int = 2


@contextlib.contextmanager
def _one_core(folder: Path) -> Iterator[dict[str, str]]:
    """All processes take turns on one core, as by ``taskset -c 0``."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(before)})
    try:
        yield {}
    finally:
        os.sched_setaffinity(0, before)


@contextlib.contextmanager
def _as_it_is(folder: Path) -> Iterator[dict[str, str]]:
    yield {}


@contextlib.contextmanager
def _slow_disk(folder: Path) -> Iterator[dict[str, str]]:
    """Every fsync takes 20 ms, that of servers too."""
    yield {
        "LD_PRELOAD": str(slow_fsync.compiled(folder)),
        postgresql_server.WAITS_FOR_DISK: "yes",
    }


@contextlib.contextmanager
def _busy(folder: Path) -> Iterator[dict[str, str]]:
    """Another process takes all of a core."""
    other = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    try:
        yield {}
    finally:
        other.kill()
        other.wait()


WEATHERS = {
    weather.name: weather
    for weather in (
        Weather("one-core", _one_core),
        Weather("ramdisk", _as_it_is, scratch=_MEMORY),
        Weather("slow-disk", _slow_disk, at_once=6),  # most of them wait for the disk
        Weather("busy", _busy),
    )
}
