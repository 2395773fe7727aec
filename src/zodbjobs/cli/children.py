"""The processes of a supervisor: how each is started, and when it is started again."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

#: Seconds of life after which an end is one by itself, not one of a row.
STEADY_SECONDS = 30.0

#: The longest pause before the next start, in seconds.
LONGEST_PAUSE = 30.0


@dataclass(frozen=True)
class Said:
    """A child's line on the pipe to the supervisor."""

    child: Child
    line: str


@dataclass(frozen=True)
class Ended:
    """A child's process has ended."""

    child: Child
    status: int


class Child:
    """One place among the processes of a supervisor, taken by one process after the other.

    `module` runs with `orders`, and inherits the descriptors of `orders["lifeline"]`. Its
    end, and if it `speaks` its first line on stdout, are given to `tell`, in another thread.
    """

    def __init__(
        self, module: str, orders: dict[str, Any], tell: Callable[[Any], None], speaks: bool
    ) -> None:
        self.name: str = orders["name"]
        self.orders = orders
        self._module = module
        self._tell = tell
        self._stdout = subprocess.PIPE if speaks else None
        self._process: subprocess.Popen[str] | None = None
        self._pause = 0.0
        #: When to start it again, by the monotonic clock; None if that isn't due.
        self.due: float | None = None

    @property
    def pid(self) -> int | None:
        """The number of the running process, or None."""
        return self._process.pid if self._process else None

    def start(self) -> None:
        """Start a process; returns at once."""
        self.due = None
        process = self._process = subprocess.Popen(
            [sys.executable, "-m", self._module, json.dumps(self.orders)],
            stdin=subprocess.DEVNULL,
            stdout=self._stdout,
            pass_fds=self.orders["lifeline"],
            process_group=0,  # a Ctrl-C of the terminal is for the supervisor alone
            text=True,
        )
        self._started = time.monotonic()
        threading.Thread(target=self._attend, args=(process,), daemon=True).start()

    def kill(self) -> None:
        """End the process at once, if there is one."""
        if self._process is not None:
            self._process.kill()

    def ended(self, again: bool) -> None:
        """Take note of the end; with `again` the next start is due, later and later."""
        self._process = None
        if again:
            now = time.monotonic()
            if now - self._started >= STEADY_SECONDS:
                self._pause = 0.0
            self.due = now + self._pause
            self._pause = next_pause(self._pause)

    def _attend(self, process: subprocess.Popen[str]) -> None:
        if process.stdout is not None:
            with process.stdout:
                line = process.stdout.readline()
                if line:
                    self._tell(Said(self, line))
        self._tell(Ended(self, process.wait()))


def next_pause(pause: float) -> float:
    """Seconds after `pause`: 0, 1, 2, 4, ... LONGEST_PAUSE."""
    return min(2 * pause, LONGEST_PAUSE) if pause else 1.0


def how(status: int) -> str:
    """How a process ended, for people."""
    if status >= 0:
        return f"ended with status {status}"
    try:
        return f"was killed by {signal.Signals(-status).name}"
    except ValueError:
        return f"was killed by signal {-status}"
