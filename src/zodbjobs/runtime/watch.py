"""How a worker learns that another one is dead."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterable
from typing import NamedTuple

from zodbjobs import clock, defaults
from zodbjobs.stored.workers import WorkerRecord

#: The ids of the workers of this process.
alive: set[str] = set()


def place() -> str:
    """What is the same for two processes if they see each other's process numbers.

    '' where the machine doesn't tell. A host name would not do: containers may share one.
    """
    try:
        with open("/proc/sys/kernel/random/boot_id") as boot:
            return f"{boot.read().strip()} {os.readlink('/proc/self/ns/pid')}"
    except OSError:
        return ""


def process_started(pid: int) -> str:
    """A text that is another one for a later process with the same number; '' if unknown."""
    try:
        with open(f"/proc/{pid}/stat") as stat:
            return stat.read().rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        return ""


def is_dead(record: WorkerRecord, only_process: bool) -> bool:
    """Whether it is known, without waiting, that the worker of `record` is gone.

    `only_process`: no other process than this one can have the storage open.
    """
    if record.id in alive:
        return False
    if only_process:
        return True
    if record.host != socket.gethostname() or not record.place or record.place != place():
        return False
    if record.pid == os.getpid():
        return True
    try:
        os.kill(record.pid, 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        pass
    return record.process_started != process_started(record.pid)


class _Heard(NamedTuple):
    """The last beat of a worker, when it was new to us, and which beat of ours that was at."""

    beat: int
    since: float
    own_beat: int


class Watch:
    """Watches the beats of other workers by this process's own clock.

    So the clocks of the machines don't matter, nor that they are set. A beat is missed only
    if the watcher's own one was stored meanwhile: while the server is away, or the watcher
    itself stands still, nobody can be heard.
    """

    def __init__(self, only_process: bool) -> None:
        self._only_process = only_process
        self._heard: dict[str, _Heard] = {}

    def dead(self, own: WorkerRecord, records: Iterable[WorkerRecord]) -> list[str]:
        """The ids of the workers that are gone: for certain, or by their silence.

        `own`: the watcher's record.
        """
        now = clock.monotonic()
        before, self._heard = self._heard, {}
        dead = []
        for record in records:
            heard = before.get(record.id)
            if heard is None or heard.beat != record.beat:
                heard = _Heard(record.beat, now, own.beat)
            self._heard[record.id] = heard
            silent = (
                now - heard.since >= record.beat_seconds * defaults.MISSED_BEATS
                and own.beat - heard.own_beat >= defaults.MISSED_BEATS
            )
            if is_dead(record, self._only_process) or (silent and record.id not in alive):
                dead.append(record.id)
        return dead
