"""``request.jobs``: puts jobs in the transaction of the request, and finds those of its user."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from pyramid.response import Response
from pyramid_tm import is_tm_active
from pyramid_zodbconn import get_connection

from zodbjobs import insights, web
from zodbjobs.errors import BadArgument
from zodbjobs.insights.search import JobList
from zodbjobs.pyramid import mounts, run_context
from zodbjobs.pyramid.rights import owner_of
from zodbjobs.stored.job import Job
from zodbjobs.stored.lifecycle.root import get_queue
from zodbjobs.stored.queue import Queue
from zodbjobs.web import Rights, may

log = logging.getLogger("zodbjobs")

# What a transaction says of itself.
_COMMITTED = "Committed"


class Jobs:
    """The jobs of a request: in its transaction, of its user.

    Nothing here commits: pyramid_tm does, when the request was answered.
    """

    def __init__(self, request: Any) -> None:
        self._request = request

    @property
    def connection(self) -> Any:
        """The connection of the request, in its transaction."""
        return get_connection(self._request)

    @property
    def owner(self) -> str | None:
        """Who asks, as in `job.owner`; None for nobody in particular."""
        return owner_of(self._request)

    def get_queue(self, name: str = "") -> Queue:
        """The queue, for all that `put` doesn't take. Raises NotInstalled, UnknownQueue."""
        return get_queue(self.connection, name)

    def put(
        self,
        function: Job | Callable[..., Any],
        /,
        *args: Any,
        queue: str = "",
        title: str | None = None,
        unique: str | None = None,
        about: Any = None,
        owner: str | None = None,
        realm: str | None = None,
        run_as: str | int | None = None,
        **kwargs: Any,
    ) -> Job:
        """Put ``function(*args, **kwargs)``, and return the job; a Job is put as it is.

        There is no job if the request fails. The job is `owner`'s, by default who asks, and runs
        as who asks; `run_as`, for trusted code, is the id of another user. `title`, `unique`,
        `about`, `realm`: as of Queue.put, which also takes times, priorities and more:
        ``request.jobs.get_queue().put(...)``. Raises what that raises, and BadArgument for a
        `run_as` whom the security policy wouldn't know in a worker.
        """
        if isinstance(function, Job):
            if args or kwargs:
                raise BadArgument(f"{function!r} has its arguments already; give it no others")
            job = function
            owner = owner or job.owner
        else:
            job = Job(function, *args, **kwargs)
        with run_context.captured_of(self._request, run_as):
            return self.get_queue(queue).put(
                job,
                title=title,
                unique=unique,
                about=about,
                owner=owner or self.owner,
                realm=realm,
            )

    def get(self, job_id: str) -> Job | None:
        """The job of that id if it is of who asks, else None."""
        job = insights.find_job(self.connection, job_id)
        return job if job is not None and may(Rights(self.owner), "view", job) else None

    def list_own(self, limit: int = 50, before: str | None = None) -> JobList:
        """What `zodbjobs.insights.list_jobs` tells of the jobs of who asks, the newest first.

        `before`: the id of the last one of the list before. Empty for nobody in particular.
        """
        owner = self.owner
        if owner is None:
            return JobList()
        return insights.list_jobs(self.connection, owner=owner, limit=limit, before=before)

    def path_of(self, job: Job) -> str:
        """The path of a job's page, as the browser sees it.

        Raises BadArgument for a job that wasn't put, and without pages of `add_jobs_pages`.
        """
        return web.path_of(job, mounts.path_of(self._request))

    def accepted(self, job: Job, mount: str | None = None) -> Response:
        """The response `202 Accepted`, for the view that has put `job`: the work goes on.

        Its Location is the status of the job below the pages of `add_jobs_pages`, or below
        `mount`, a path as the browser sees it. If the transaction isn't committed after all, for
        it was doomed or vetoed, it becomes a 500 and an ERROR in the log. Raises BadArgument for a
        job that wasn't put, without pages, and where pyramid_tm doesn't commit the request.
        """
        request = self._request
        if not is_tm_active(request):
            raise BadArgument(
                f"{job!r} isn't accepted before it is committed, and pyramid_tm doesn't commit "
                f"{request.path_info}; see its settings, such as tm.activate_hook"
            )
        mount = mounts.path_of(request) if mount is None else mount
        answer = web.accepted(request, job, mount)
        response = Response(
            status=answer.status, headerlist=list(answer.headerlist), app_iter=answer.app_iter
        )
        _Promise(job, request.tm, response).keep_for(request)
        return response


class _Promise:
    """That a job is committed which a response says is accepted."""

    def __init__(self, job: Job, manager: Any, response: Response) -> None:
        self._job_id = job.id
        self._transaction = manager.get()
        self._response = response

    def keep_for(self, request: Any) -> None:
        """Look after it when all has been done for the request but to send the response."""
        request.add_response_callback(self._check)

    def _check(self, request: Any, response: Any) -> None:
        if response is not self._response or self._transaction.status == _COMMITTED:
            return
        log.error(
            "%s %s answered that job %s is accepted, and its transaction wasn't committed: it was "
            "doomed, or a commit veto refused it; the answer is 500 instead",
            request.method, request.path_info, self._job_id,
        )  # fmt: skip
        response.status = 500
        response.json_body = {"error": "The job was not accepted: nothing was committed."}
        for name in ("Location", "Retry-After"):
            response.headers.pop(name, None)
