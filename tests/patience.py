"""Waits for conditions in other processes, and not for ever."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable
from typing import Any

#: Seconds after which what should have happened has failed its test.
PATIENCE = 60


def until(condition: Callable[[], Any]) -> Any:
    """What `condition` returns, as soon as that is true."""
    deadline = time.monotonic() + PATIENCE
    while not (found := condition()):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    return found


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
