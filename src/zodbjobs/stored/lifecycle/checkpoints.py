"""What a checkpoint writes into the record of a job that goes on.

Everything here works in the transaction of the job.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from zodbjobs.stored.job import Job


def note(
    job: Job,
    started: int,
    conflicts: int,
    annotations: dict[str, Any] | None,
    log: Sequence[str] | None,
) -> None:
    """Write what there is to be told of an attempt that began at `started` (microseconds), so far.

    The record is written in any case: whoever takes the job away writes it as well.
    """
    job._p_changed = True
    job._started = started
    if job._interruptions:
        job._interruptions = 0
    if conflicts:
        job._conflicts += conflicts
    if annotations is not None:
        job._annotations = {**(job._annotations or {}), **annotations}
    if log is not None:
        job._log = tuple(log)


def set_cursor(job: Job, cursor: Any) -> None:
    """Let the job go on after `cursor`."""
    job._cursor = cursor


def is_sweep(job: Job) -> bool:
    """Whether it calls its callable for each item of something; cheap, a runner asks each time."""
    return job._is_sweep
