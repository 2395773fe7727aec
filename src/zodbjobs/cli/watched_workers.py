"""What a supervisor hears of its workers for a service manager, and which of them are stuck."""

from __future__ import annotations

import logging

from zodbjobs import clock
from zodbjobs.cli.child_process import ChildProcess, ChildSaid
from zodbjobs.runtime.service import ALIVE, READY, Service

log = logging.getLogger("zodbjobs")

_STATUS = "STATUS="

# Seconds that a worker which is told to tell where it is has for that, before it is killed.
_ABORT_SECONDS = 10.0


class WatchedWorkers:
    """Speaks for the workers with `service`, and ends those that are stuck: each alone, for the
    service manager would end all of them. Without a service it does nothing.

    A worker is watched from when it works. Called in the supervisor's loop.
    """

    def __init__(self, service: Service | None) -> None:
        self._service = service
        self._seconds = None if service is None else service.watchdog_seconds
        self._statuses: dict[ChildProcess, str] = {}
        self._deadlines: dict[ChildProcess, float] = {}  # of those that work
        self._aborted: set[ChildProcess] = set()
        self._last_turn = clock.monotonic()

    def settings(self) -> dict[str, float | None]:
        """What a worker is started with, so that it tells of itself; {} if nobody listens."""
        return {} if self._service is None else {"watchdog": self._seconds}

    @property
    def most_seconds(self) -> float | None:
        """How long the supervisor's loop may wait for an event; None: for ever."""
        return None if self._seconds is None else self._seconds / 4

    def heard(self, said: ChildSaid) -> None:
        """Take a line of a worker; what an earlier process of it has said isn't true any more."""
        child, line = said.child, said.line
        if said.pid != child.pid:
            return
        if line == READY or (line == ALIVE and child in self._deadlines):
            if self._seconds is not None and child not in self._aborted:
                self._deadlines[child] = clock.monotonic() + self._seconds
        elif line.startswith(_STATUS):
            self._statuses[child] = line.removeprefix(_STATUS)
            self._tell()
        if line == READY and self._service is not None:
            self._service.works(self._status())

    def exited(self, child: ChildProcess) -> None:
        """A worker's process has ended."""
        self._deadlines.pop(child, None)
        self._aborted.discard(child)
        if self._statuses.pop(child, None) is not None:
            self._tell()

    def _status(self) -> str:
        return "; ".join(f"{child.name}: {status}" for child, status in self._statuses.items())

    def _tell(self) -> None:
        if self._service is not None:
            self._service.tell(self._status() or "no worker works")

    def turn(self) -> None:
        """The supervisor goes on: say so, and end the workers that don't."""
        if self._service is None:
            return
        self._service.goes_on()
        now = clock.monotonic()
        gap, self._last_turn = now - self._last_turn, now
        if self._seconds is not None and gap > self._seconds / 2:
            # It stood still itself, with the whole machine maybe, and has heard nobody.
            self._deadlines = {child: until + gap for child, until in self._deadlines.items()}
        for child in [child for child, until in self._deadlines.items() if until <= now]:
            self._deadlines[child] = now + _ABORT_SECONDS
            if child in self._aborted:
                child.kill()
                continue
            self._aborted.add(child)
            log.error(
                "%s (process %s) has made no step for %.0f s, so it is ended; another process "
                "runs its jobs again",
                child.name,
                child.pid,
                self._seconds,
            )
            child.abort()

    def stop(self) -> None:
        """The workers are told to stop; they are watched no more."""
        self._deadlines.clear()
        self._seconds = None
        if self._service is not None:
            self._service.stops()
