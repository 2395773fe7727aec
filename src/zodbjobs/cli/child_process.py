"""A process of a supervisor: how it is started, and when it is restarted."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from zodbjobs import clock

#: Seconds of life after which an exit is one by itself, not one of a row.
STEADY_SECONDS = 30.0

#: The longest delay of a restart, in seconds.
MOST_RESTART_SECONDS = 30.0


@dataclass(frozen=True)
class ChildOutput:
    """The line that a child wrote to stdout for its supervisor."""

    child: ChildProcess
    line: str


@dataclass(frozen=True)
class ChildSaid:
    """A line that the process `pid` of a child has written for the service manager."""

    child: ChildProcess
    pid: int
    line: str


@dataclass(frozen=True)
class ChildExited:
    """The process of a child has exited."""

    child: ChildProcess
    status: int


class ChildProcess:
    """A process that is replaced by another one with the same settings when it exits.

    `module` runs with `settings`, and inherits the descriptors of ``settings["pipes"]``. Its
    exit, and its first line on stdout if it `writes` one, are given to `notify`, in another
    thread. With a "watchdog" in the settings, so are the lines that it writes into a pipe of its
    own, the descriptor of which is among its settings as "tells".
    """

    def __init__(
        self, module: str, settings: dict[str, Any], notify: Callable[[Any], None], writes: bool
    ) -> None:
        self.name: str = settings["name"]
        self.settings = settings
        self._module = module
        self._notify = notify
        self._stdout = subprocess.PIPE if writes else None
        self._process: subprocess.Popen[str] | None = None
        self._delay = 0.0
        #: When to restart it, in seconds of `clock.monotonic`; None if that isn't due.
        self.restart_at: float | None = None

    @property
    def pid(self) -> int | None:
        """The number of the running process, or None."""
        return self._process.pid if self._process else None

    def start(self) -> None:
        """Start a process; returns at once. Raises OSError if the system has no room for one."""
        self.restart_at = None
        settings, descriptors = self.settings, [*self.settings["pipes"]]
        with contextlib.ExitStack() as stack:
            if "watchdog" in settings:
                reading, writing = os.pipe()
                stack.callback(os.close, writing)
                settings = {**settings, "tells": writing}
                descriptors.append(writing)
            process = self._process = subprocess.Popen(
                [sys.executable, "-m", self._module, json.dumps(settings)],
                stdin=subprocess.DEVNULL,
                stdout=self._stdout,
                pass_fds=descriptors,
                process_group=0,  # a Ctrl-C of the terminal is for the supervisor alone
                text=True,
            )
        self._started = clock.monotonic()
        threading.Thread(target=self._attend, args=(process,), daemon=True).start()
        if "watchdog" in settings:
            listen = threading.Thread(
                target=self._listen, args=(process.pid, reading), daemon=True
            )
            listen.start()

    def abort(self) -> None:
        """Let the process end by SIGABRT, at which it may write where its threads are."""
        if self._process is not None:
            self._process.send_signal(signal.SIGABRT)

    def kill(self) -> None:
        """Kill the process, if there is one."""
        if self._process is not None:
            self._process.kill()

    def exited(self, restart: bool) -> None:
        """Take note of an exit. With `restart` another start is due, later and later."""
        self._process = None
        if restart:
            now = clock.monotonic()
            if now - self._started >= STEADY_SECONDS:
                self._delay = 0.0
            self.restart_at = now + self._delay
            self._delay = next_delay(self._delay)

    def _attend(self, process: subprocess.Popen[str]) -> None:
        if process.stdout is not None:
            with process.stdout:
                line = process.stdout.readline()
                if line:
                    self._notify(ChildOutput(self, line))
        self._notify(ChildExited(self, process.wait()))

    def _listen(self, pid: int, descriptor: int) -> None:
        with open(descriptor, encoding="utf-8", errors="replace") as lines:
            for line in lines:
                self._notify(ChildSaid(self, pid, line.rstrip("\n")))


def next_delay(delay: float) -> float:
    """Seconds of delay after `delay`: 0, 1, 2, 4, ... MOST_RESTART_SECONDS."""
    return min(2 * delay, MOST_RESTART_SECONDS) if delay else 1.0


def exit_text(status: int) -> str:
    """How a process exited, for people."""
    if status >= 0:
        return f"ended with status {status}"
    try:
        return f"was killed by {signal.Signals(-status).name}"
    except ValueError:
        return f"was killed by signal {-status}"
