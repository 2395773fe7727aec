"""What a job has made, to be saved: its result, and each of its files."""

from __future__ import annotations

from typing import Any

from ZODB.blob import Blob
from ZODB.POSException import POSKeyError
from ZODB.utils import u64

from zodbjobs.errors import ZodbjobsError
from zodbjobs.web import outcome, responses, sending
from zodbjobs.web.responses import Response
from zodbjobs.web.visit import NotFound, Visit


def result(visit: Visit) -> Response:
    """The file that the job returned; else what it returned, as JSON; else its only file."""
    path = outcome.result_path(visit, visit.job)
    if path is None:
        raise NotFound
    returned = visit.job.result
    if isinstance(returned, Blob):
        opened = _opened(visit, lambda: returned.open("c"))
        tag = f"{u64(returned._p_oid)}-{u64(returned._p_serial)}"
        return sending.send(
            visit.request, opened, outcome.file_name(visit.job), sending.BINARY, tag
        )
    if returned is None:
        return responses.see_other(path)
    return responses.as_json({"result": outcome.short_result(visit, visit.job)})


def file(visit: Visit) -> Response:
    """A file that the job attached, by its name."""
    name = visit.parts["file"]
    found = visit.job.attachments.get(name) if outcome.may_download(visit, visit.job) else None
    if found is None:
        raise NotFound
    opened = _opened(visit, found.open)
    tag = f"{visit.job.id}-{visit.job.finished:%Y%m%d%H%M%S%f}"
    return sending.send(visit.request, opened, found.name, found.content_type, tag)


def _opened(visit: Visit, open_it: Any) -> Any:
    try:
        return open_it()
    except (POSKeyError, FileNotFoundError, ZodbjobsError):
        raise NotFound from None
