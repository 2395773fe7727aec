"""What an application's own view answers when it has put a job, and where its pages lead."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

from webob import Request
from ZODB.utils import u64

from zodbjobs.errors import BadArgument
from zodbjobs.web import responses, sentences
from zodbjobs.web.responses import Response


def accepted(request: Request, job: Any, mount: str | None = None) -> Response:
    """The response `202 Accepted` of a view that has put `job`: the work goes on.

    Its Location is the status of the job, which answers 202 until it has ended, and 303 to what it
    has made. `mount`: the path below which the pages are, as the browser sees it; by default that
    of the application that answers (SCRIPT_NAME). Raises BadArgument for a job that wasn't put.
    """
    mount = request.script_name if mount is None else mount
    status = f"{path_of(job, mount)}.json"
    body = {"id": job.id, "status": status, "page": path_of(job, mount)}
    response = responses.as_json(body, status=202)
    response.headers["Location"] = status
    response.headers["Retry-After"] = str(sentences.RUNNING)
    return response


def path_of(job: Any, mount: str = "") -> str:
    """The path of a job's page. Raises BadArgument for a job that wasn't put."""
    if job.id is None:
        raise BadArgument(f"{job!r} has no page before it is put into a queue")
    return f"{_prefix(mount)}/jobs/{job.id}"


def path_about(obj: Any, mount: str = "") -> str:
    """The path of the page with the jobs that are about a stored object. Raises BadArgument for
    one that isn't stored.
    """
    jar = getattr(obj, "_p_jar", None)
    if jar is None:
        raise BadArgument(f"{obj!r} isn't stored; there are no jobs about it")
    database = quote(jar.db().database_name, safe="")
    return f"{_prefix(mount)}/about/{database}/{u64(obj._p_oid)}"


def _prefix(mount: str) -> str:
    return quote(mount.rstrip("/"), safe="/~@")
