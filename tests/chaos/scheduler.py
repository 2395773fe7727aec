"""A process with a worker that fires schedules by a test's clock: scheduler.py CONFIG CLOCK.

CONFIG: a file with the configuration of the database. CLOCK: a file with the microseconds since
1970, as 8 bytes. Writes a line as soon as it works, and goes on until it is killed.
"""

from __future__ import annotations

import mmap
import signal
import struct
import sys
from pathlib import Path

import ZODB.config

import zodbjobs
from zodbjobs import clock


class SharedClock(clock.SystemClock):
    """The time of day is that of a file."""

    def __init__(self, path: str) -> None:
        with open(path, "rb") as file:
            self._bytes = mmap.mmap(file.fileno(), 8, prot=mmap.PROT_READ)

    def now(self) -> int:
        """Microseconds since 1970."""
        return int(struct.unpack("<q", self._bytes[:8])[0])


def main(config: str, path: str) -> None:
    """Work until somebody kills it."""
    clock.current = SharedClock(path)
    db = ZODB.config.databaseFromString(Path(config).read_text())
    with zodbjobs.Worker(db, queues=["nothing"], threads=1):
        print("works", flush=True)
        signal.pause()


if __name__ == "__main__":
    main(*sys.argv[1:])
