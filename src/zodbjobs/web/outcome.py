"""What a job has made: its result and its files, for those who may download them."""

from __future__ import annotations

import dataclasses
from typing import Any

from ZODB.blob import Blob

from zodbjobs.insights import job_details
from zodbjobs.insights.jobs import unreadable_reason
from zodbjobs.interfaces import SUCCEEDED
from zodbjobs.web.visit import Visit


@dataclasses.dataclass(frozen=True)
class FileShown:
    """A file to download. The size of one that is the result isn't known without fetching it from
    the server of the database.
    """

    name: str
    size: int | None
    path: str


def may_download(visit: Visit, job: Any) -> bool:
    """Whether it has made something that who asks may have."""
    return (
        unreadable_reason(job) is None and job.outcome == SUCCEEDED and visit.may("download", job)
    )


def files(visit: Visit, job: Any) -> tuple[FileShown, ...]:
    """The files, those that were attached before one that is the result."""
    if not may_download(visit, job):
        return ()
    shown = [
        FileShown(name, found.size, visit.url("jobs", job.id, "files", name))
        for name, found in job.attachments.items()
    ]
    if isinstance(job.result, Blob):
        path = visit.url("jobs", job.id, "result")
        shown.append(FileShown(file_name(job), None, path))
    return tuple(shown)


def short_result(visit: Visit, job: Any) -> str | None:
    """The result as a text to read; None if there is none, or it is a file."""
    if not may_download(visit, job) or job.result is None or isinstance(job.result, Blob):
        return None
    return job_details(job).result


def result_path(visit: Visit, job: Any) -> str | None:
    """Where the result is: what was returned, else the only file; None if there is neither."""
    if not may_download(visit, job):
        return None
    if job.result is not None:
        return visit.url("jobs", job.id, "result")
    attached = files(visit, job)
    return attached[0].path if len(attached) == 1 else None


def file_name(job: Any) -> str:
    """What a file is called that is the result, and has no name of its own."""
    return f"{job.title or f'job-{job.id}'}"
