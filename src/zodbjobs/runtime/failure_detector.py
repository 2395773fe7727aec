"""Failure detector: finds out that another worker is dead."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterable
from typing import NamedTuple

from zodbjobs import clock, defaults
from zodbjobs.stored.workers import WorkerRecord

#: The ids of the workers of this process.
alive: set[str] = set()
# The workers are the parent's: their threads don't survive a fork.
os.register_at_fork(after_in_child=alive.clear)

# The states of a process that has ended, and those of one that doesn't run until told to.
_ENDED = "ZXx"
_STOPPED = "Tt"


def machine() -> str:
    """What is the same for two processes if they see each other's process numbers.

    '' where the system doesn't tell. A host name would not do: containers may share one.
    """
    try:
        with open("/proc/sys/kernel/random/boot_id") as boot:
            return f"{boot.read().strip()} {os.readlink('/proc/self/ns/pid')}"
    except OSError:
        return ""


def process_started(pid: int) -> str:
    """A text that is another one for a later process with the same number; '' if unknown."""
    fields = _stat(pid)
    return fields[19] if fields else ""


def _stat(pid: int) -> list[str]:
    """What the system tells of a process, from its state on; empty if it doesn't."""
    try:
        with open(f"/proc/{pid}/stat") as stat:
            return stat.read().rpartition(")")[2].split()
    except (OSError, IndexError):
        return []


def is_dead(record: WorkerRecord, only_process: bool) -> bool:
    """Whether it is known, without waiting, that the worker of `record` is gone.

    `only_process`: no other process than this one can have the storage open.
    """
    if record.id in alive:
        return False
    if only_process:
        return True
    if not is_here(record):
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


def is_seen_running(record: WorkerRecord) -> bool:
    """Whether the process of the worker is on this machine, alive, and not stopped.

    Code that holds the interpreter's lock keeps such a one from giving signs of life.
    """
    if not is_here(record) or not record.process_started:
        return False
    fields = _stat(record.pid)
    return (
        bool(fields)
        and fields[19] == record.process_started
        and (fields[0] not in _ENDED + _STOPPED)
    )


def is_here(record: WorkerRecord) -> bool:
    """Whether the worker's process number means a process that is seen from here."""
    if record.host != socket.gethostname():
        return False
    return bool(record.machine) and record.machine == machine()


class _Heard(NamedTuple):
    """The last heartbeat of a worker, when it was new to us, and which of ours that was at."""

    heartbeat: int
    since: float
    own_heartbeat: int


class FailureDetector:
    """Watches the heartbeats of other workers by this process's own clock.

    So the clocks of the machines don't matter, nor that they are set. A heartbeat is missed
    only if the watcher's own one was stored meanwhile: while the server is away, or the watcher
    itself stands still, nobody can be heard. Of a worker whose process is seen running it takes
    many more.
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
            if heard is None or heard.heartbeat != record.heartbeat:
                heard = _Heard(record.heartbeat, now, own.heartbeat)
            self._heard[record.id] = heard
            if is_dead(record, self._only_process) or self._is_silent(record, own, heard, now):
                dead.append(record.id)
        return dead

    def _is_silent(
        self, record: WorkerRecord, own: WorkerRecord, heard: _Heard, now: float
    ) -> bool:
        missed = defaults.MISSED_HEARTBEATS

        def are_missed() -> bool:
            return (
                now - heard.since >= record.heartbeat_seconds * missed
                and own.heartbeat - heard.own_heartbeat >= missed
            )

        if record.id in alive or not are_missed():
            return False
        if is_seen_running(record):
            missed *= defaults.SEEN_RUNNING_FACTOR
        return are_missed()
