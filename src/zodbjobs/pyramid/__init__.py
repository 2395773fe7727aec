"""Jobs in a Pyramid application: ``config.include("zodbjobs.pyramid")``. Needs the extra
``pyramid``.

Beside pyramid_zodbconn, which has the database, and pyramid_tm, which commits. There is then
`request.jobs`, a `Jobs`, and the directives `config.add_jobs_pages` and `config.set_jobs_login`.
What is put in a request runs in a request of the same application, at the same address, in the
same language and as the same user: ``get_current_request()`` has it.

``registry["zodbjobs.db"]`` is its database, for tests: ``run_jobs(registry["zodbjobs.db"])``. The
queues are in ``zodbconn.uri.async`` if there is such a database, else in ``zodbconn.uri``. The
setting ``zodbjobs.application`` is a name for the application, if a worker has several of them.
"""

from __future__ import annotations

import zodbjobs.web  # noqa: F401 - which imports WebOb without its warnings, before Pyramid does
from zodbjobs.pyramid.configuration import includeme
from zodbjobs.pyramid.jobs import Jobs
from zodbjobs.pyramid.pages import add_jobs_pages
from zodbjobs.pyramid.rights import MANAGE_JOBS, VIEW_JOBS
from zodbjobs.pyramid.run_context import set_jobs_login

__all__ = [
    "MANAGE_JOBS",
    "VIEW_JOBS",
    "Jobs",
    "add_jobs_pages",
    "includeme",
    "set_jobs_login",
]
