"""Waits for conditions in other threads and processes, and not for ever."""

from __future__ import annotations

import os
import subprocess
import threading
import time
from collections.abc import Callable, Iterable
from typing import Any

import zodbjobs

#: Seconds after which what should have happened has failed its test.
PATIENCE = 60


def until(condition: Callable[[], Any]) -> Any:
    """What `condition` returns, as soon as that is true."""
    deadline = time.monotonic() + PATIENCE
    while not (found := condition()):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    return found


def wait_for(jobs: zodbjobs.Job | Iterable[zodbjobs.Job]) -> None:
    """Wait until jobs have ended, as `zodbjobs.testing.wait_for` does."""
    zodbjobs.testing.wait_for(jobs, PATIENCE)


def no_runner_is_left() -> None:
    """Wait until the threads have ended whose worker was stopped while their jobs ran."""
    for thread in threading.enumerate():
        if thread.name.startswith("zodbjobs runner"):
            thread.join(PATIENCE)
            assert not thread.is_alive()


def ended(process: subprocess.Popen[str]) -> int:
    """The status of a process that is about to end."""
    process.communicate(timeout=PATIENCE)
    return process.returncode


def is_gone(pid: int) -> bool:
    """Whether no process has the number."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False
