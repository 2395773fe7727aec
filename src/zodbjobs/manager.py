"""The job manager: puts, finds and forgets the jobs of a site."""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager
from typing import Any

from ZODB.utils import u64
from zope.component import ComponentLookupError, queryUtility
from zope.component.hooks import getSite
from zope.component.hooks import site as site_context
from zope.interface import implementer

from zodbjobs import defaults
from zodbjobs.errors import BadArgument, NotInstalled, Overloaded
from zodbjobs.interfaces import NEW, IJob, IJobManager, ILoadGuard
from zodbjobs.runtime import local
from zodbjobs.stored.container import JobContainer
from zodbjobs.stored.job import Job, ProgressableJob
from zodbjobs.stored.lifecycle import labels
from zodbjobs.stored.lifecycle.root import get_queue

log = logging.getLogger("zodbjobs")


def compute(num: Any, duration: float = 60) -> Any:
    """The test job: works for `duration` seconds, reports its progress, returns ``num * 2``."""
    start = time.monotonic()
    while (passed := time.monotonic() - start) < duration:
        local.set_progress(100.0 * passed / duration, f"{passed:.0f} of {duration} s")
        time.sleep(min(1.0, duration / 50, duration - passed))
    local.set_progress(100.0, "done")
    return num * 2


def get_job_id(persisted_job: Any) -> str:
    """The decimal object id of a stored job, or of any other stored object, as str.

    Raises BadArgument, a ValueError, if it isn't stored, TypeError if it is no persistent object.
    """
    if isinstance(persisted_job, Job):
        job_id = persisted_job.id
        if job_id is None:
            raise BadArgument(f"{persisted_job!r} has no id yet; put it into a queue first")
        return job_id
    oid = getattr(persisted_job, "_p_oid", False)
    if oid is None:
        raise BadArgument(f"{persisted_job!r} has no id yet; it isn't stored in a database")
    if not isinstance(oid, bytes):
        raise TypeError(f"only a job, or another stored object, has an id, not {persisted_job!r}")
    return str(u64(oid))


def _check_database(job: Job, container: JobContainer) -> None:
    """Raise BadArgument if the id of `job` may be that of another job of the container."""
    if job._p_jar is None:
        return
    mine, theirs = container._p_jar.db(), job._p_jar.db()
    if theirs is not mine and theirs in mine.databases.values():
        raise BadArgument(
            f"{job!r} can't be put through the job manager: the job container is in the database "
            f"{mine.database_name!r}, where its id may be that of another job; put it before you "
            "store it elsewhere, or put it with zodbjobs.get_queue(site).put(job)"
        )


def _as_current(site: Any) -> AbstractContextManager[None]:
    """A context in which `site` is the current one, if it can be that."""
    try:
        site.getSiteManager()
    except (AttributeError, ComponentLookupError):
        return contextlib.nullcontext()
    return site_context(site)  # type: ignore[no-any-return]


@implementer(IJobManager)
class JobManager:
    """Puts jobs into the default queue, and keeps them in the job container.

    `site`: any stored object of the database; the current site when it is left out.
    Nothing here commits.
    """

    def _get_site(self, site: Any) -> Any:
        if getattr(site, "_p_jar", None) is None:
            site = getSite()
        if getattr(site, "_p_jar", None) is None:
            raise LookupError(
                "cannot find a valid site: pass a stored object as `site`, or set the "
                "current site with zope.component.hooks.setSite()"
            )
        return site

    def _get_container(self, site: Any) -> JobContainer:
        container = site._p_jar.root().get(defaults.CONTAINER_KEY)
        if container is None:
            raise NotInstalled(
                "the database has no job container yet; make it once with zodbjobs.install(db)"
            )
        assert isinstance(container, JobContainer)
        return container

    def _default_owner(self) -> str | None:
        """Whose a job is of which nobody says it; the managers of frameworks know better."""
        return None

    def _default_realm(self, site: Any) -> str | None:
        """The realm of a job that has none; the managers of frameworks know better."""
        return None

    def put(
        self,
        job: Job,
        site: Any = None,
        owner: str | None = None,
        about: Any = None,
        title: str | None = None,
    ) -> str | None:
        """Put `job` into the default queue and the container, and return its id.

        It runs in `site`, if that has a site manager. `owner`, `about`, `title`: as of Queue.put;
        a job keeps what it has and isn't said here.

        Joins the caller's transaction; the caller commits. Returns None, with nothing
        stored, when a registered ILoadGuard says no. Raises TypeError unless `job`
        provides IJob, LookupError without a site, BadArgument if the job is stored in another
        database than the container, and what Queue.put raises.
        """
        if not isinstance(job, Job) or not IJob.providedBy(job):
            raise TypeError(f"the job manager puts jobs, not {job!r}; wrap it: Job({job!r})")
        site = self._get_site(site)
        container = self._get_container(site)
        queue = get_queue(site)
        _check_database(job, container)
        self._label(job, site, owner, about, title)
        try:
            self.check(job, site)
        except Overloaded as error:
            log.warning("the load guard refused %r: %s", job, error)
            return None
        with _as_current(site):  # which is what the job remembers
            queue.put(job)
        job_id = get_job_id(job)
        container[job_id] = job
        return job_id

    def _label(
        self,
        job: Job,
        site: Any,
        owner: str | None = None,
        about: Any = None,
        title: str | None = None,
    ) -> None:
        """Say whose it is, before a guard is asked, which may want to know."""
        if job.status != NEW:
            return  # the queue refuses it, and says why
        owner = owner or job.owner or self._default_owner()
        realm = job.realm or self._default_realm(site)
        labels.give(job, labels.given(owner, about, title, realm))

    def check(self, job: Job, site: Any = None) -> None:
        """Raise Overloaded if a registered ILoadGuard refuses `job` now.

        The error tells why, and `retry_after` in how many seconds to try again. For a page, before
        `put`, which returns None then. Raises LookupError without a site.
        """
        guard = queryUtility(ILoadGuard)
        if guard is None:
            return
        site = self._get_site(site)
        self._label(job, site)
        check = getattr(guard, "check", None)
        if check is not None:
            check(job, site)
        elif not guard(job):
            raise Overloaded("no new jobs are taken now", defaults.LOAD_RETRY_SECONDS)

    def get(self, job_id: str, site: Any = None) -> Job | None:
        """The job with that id, or None."""
        found: Job | None = self._get_container(self._get_site(site)).get(job_id)
        return found

    def jobs(self, site: Any = None) -> Iterator[tuple[str, Job]]:
        """The ids and the jobs of the container."""
        return iter(self._get_container(self._get_site(site)).items())

    def remove(self, job_id: str, site: Any = None) -> None:
        """Forget a job; its execution goes on. Unknown ids are ignored.

        The job is written: one that runs, and writes to the database, begins again, as after any
        conflict.
        """
        container = self._get_container(self._get_site(site))
        if job_id in container:
            del container[job_id]

    def start_test_job(self, duration: float = 60, site: Any = None) -> str | None:
        """Put ``compute(23, duration)``, `duration` in seconds, and return the id."""
        return self.put(ProgressableJob(compute, 23, duration), site)
