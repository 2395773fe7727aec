"""An argument that stands for the result of a job."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from zodbjobs.stored.job import Job


class ResultOf:
    """The result of `job`, or its Failure, as it is when the call is made."""

    __slots__ = ("job",)

    def __init__(self, job: Job) -> None:
        self.job = job

    def __reduce__(self) -> Any:
        return ResultOf, (self.job,)

    def __eq__(self, other: object) -> bool:
        return self.job is other.job if isinstance(other, ResultOf) else NotImplemented

    def __hash__(self) -> int:
        return id(self.job)

    def __repr__(self) -> str:
        return f"result_of(job {getattr(self.job, 'id', None)})"


def result_of(job: Job) -> ResultOf:
    """An argument of another job that is replaced by the result of `job`, or by its Failure,
    when the call is made.

    If `job` was taken out of its queue and so has no result, the call fails with BadStatus.
    Raises TypeError for anything but a job.
    """
    from zodbjobs.stored.job import Job  # which needs this module

    if not isinstance(job, Job):
        raise TypeError(f"result_of takes a job, not {job!r}")
    return ResultOf(job)
