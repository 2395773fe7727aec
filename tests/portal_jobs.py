"""Jobs that the browser tests put into the portal."""

from __future__ import annotations

import logging
import time
from typing import Any

from zodbjobs import local

#: Runs a script wherever it is taken for markup.
MARKUP = '</title></textarea><script>window.hacked=1</script><img src=x onerror="window.hacked=1">'

#: The same, as far as a file may be called that.
FILE_NAME = "<img src=x onerror=window.hacked=1>.csv"


def leave_markup() -> str:
    """Succeed, with markup wherever a job may leave a text."""
    local.set_progress(50, MARKUP)
    logging.getLogger(__name__).warning(MARKUP)
    local.attach(FILE_NAME, MARKUP.encode(), "text/html")
    return MARKUP


def fail_with_markup() -> None:
    """Fail, with markup in the text of the exception."""
    local.set_progress(50, MARKUP)
    raise ValueError(MARKUP)


def leave_a_file() -> None:
    """Leave a table."""
    local.attach("data.csv", b"matric\n", "text/csv")


def remind(student: Any) -> None:
    """What a sweep calls; raises for every tenth."""
    if student.matric.endswith("0"):
        raise LookupError(f"{student.name} has left no address")


def remind_slowly(student: Any) -> None:
    """What a sweep calls that takes as long as the portal is told to."""
    from portal.pace import take_time

    take_time()


def never_end() -> None:
    """Run until it is cancelled, or the worker is gone."""
    while True:
        local.check()
        time.sleep(0.05)
