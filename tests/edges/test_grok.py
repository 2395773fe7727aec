"""The Grok edge: grokked with the real Grok, reached by real requests."""

from __future__ import annotations

import base64
import io
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any
from wsgiref.util import setup_testing_defaults

import grok
import grok_app
import pytest
import sample
import transaction
import ZODB
import zope.component.testing
from zope.app.publication.zopepublication import ZopePublication
from zope.app.wsgi import WSGIPublisherApplication
from zope.component import getGlobalSiteManager, getUtility
from zope.component.hooks import setSite
from zope.configuration import xmlconfig
from zope.container.interfaces import IContainer
from zope.event import notify
from zope.processlifetime import DatabaseOpened
from zope.publisher.browser import BrowserRequest
from zope.security.interfaces import IPermission
from zope.security.testing import Principal, interaction

import zodbjobs
from zodbjobs.grok import JobManager, JobManagerTraverser, ManageJobs, ViewJobs
from zodbjobs.interfaces import IJobManager, ILoadGuard

SITE_ZCML = """
<configure
    xmlns="http://namespaces.zope.org/zope"
    xmlns:grok="http://namespaces.zope.org/grok">
  <include package="zodbjobs.grok" />
  <include package="zodbjobs" />
  <include package="zodbjobs" file="single.zcml" />
  <grok:grok package="grok_app" />
  <unauthenticatedPrincipal id="zope.anybody" title="Anybody" />
  <grant permission="zope.View" principal="zope.anybody" />
  <principal id="portal.viewer" title="Viewer" login="viewer" password="secret" />
  <grant permission="waeup.viewJobs" principal="portal.viewer" />
  <principal id="portal.officer" title="Officer" login="officer" password="secret" />
  <grant permission="waeup.manageJobs" principal="portal.officer" />
</configure>
"""

Get = Callable[..., tuple[int, str]]


@pytest.fixture(scope="module", autouse=True)
def _configured() -> Iterator[None]:
    zope.component.testing.setUp()
    xmlconfig.string(SITE_ZCML)
    yield
    zope.component.testing.tearDown()


@pytest.fixture
def db() -> Iterator[Any]:
    """A database that was opened as a Grok application's process does it."""
    opened = ZODB.DB(None)
    notify(DatabaseOpened(opened))
    with opened.transaction() as connection:
        connection.root()[ZopePublication.root_name]["portal"] = grok_app.Portal()
    yield opened
    opened.close()


@pytest.fixture
def portal(connection: Any) -> Iterator[Any]:
    """The current site."""
    site = connection.root()[ZopePublication.root_name]["portal"]
    setSite(site)
    yield site
    setSite(None)


@pytest.fixture
def get(db: Any) -> Get:
    """Sends a GET request to the application: path, login -> status, body."""
    application = WSGIPublisherApplication(db)

    def get(path: str, login: str | None = None) -> tuple[int, str]:
        environ: dict[str, Any] = {"PATH_INFO": path}
        if login is not None:
            token = base64.b64encode(f"{login}:secret".encode()).decode()
            environ["HTTP_AUTHORIZATION"] = f"Basic {token}"
        setup_testing_defaults(environ)
        answered: list[str] = []
        body = application(environ, lambda status, headers: answered.append(status))
        return int(answered[0].split()[0]), b"".join(body).decode()

    return get


def jobs_in(db: Any) -> int:
    with db.transaction() as connection:
        return len(connection.root()["zodbjobs.jobs"])


@pytest.mark.promise(169)
def test_the_manager_is_the_unnamed_global_utility() -> None:
    found = getUtility(IJobManager)
    assert type(found) is JobManager
    assert isinstance(found, zodbjobs.JobManager)
    assert getGlobalSiteManager().getUtility(IJobManager) is found


@pytest.mark.promise(169)
def test_the_container_is_a_container(connection: Any) -> None:
    assert IContainer.providedBy(connection.root()["zodbjobs.jobs"])


@pytest.mark.parametrize(
    ("permission", "name"),
    [(ViewJobs, "waeup.viewJobs"), (ManageJobs, "waeup.manageJobs")],
)
def test_the_permissions_are_registered(permission: type, name: str) -> None:
    found = getUtility(IPermission, name)
    assert isinstance(found, permission)
    assert found.id == name
    assert found.title


@pytest.mark.promise(168)
def test_the_traverser_gives_the_job_or_none(portal: Any) -> None:
    manager = getUtility(IJobManager)
    job = zodbjobs.Job(sample.add, 1)
    job_id = manager.put(job)
    request = BrowserRequest(io.BytesIO(), {})
    traverser = JobManagerTraverser(manager, request)
    for who, found in [("portal.viewer", job), ("portal.nobody", None)]:
        request.setPrincipal(Principal(who))
        with interaction(who):
            assert traverser.traverse(job_id) is found
            assert traverser.traverse("no-such-job") is None
    assert isinstance(traverser, grok.Traverser)


@pytest.mark.promise(159, 160, 168)
def test_requests_put_a_job_and_look_at_it(db: Any, get: Get) -> None:
    status, job_id = get("/portal/jobs/put", "officer")
    assert (status, job_id.isdigit()) == (200, True)
    path = f"/portal/jobs/{job_id}/status"
    assert get(path, "viewer") == (200, f"{job_id} pending None")
    zodbjobs.testing.run_jobs(db)
    assert get(path, "viewer") == (200, f"{job_id} completed 23")
    # All threads share the utility: it must not be given a place in one's connection.
    assert not hasattr(getUtility(IJobManager), "__parent__")


@pytest.mark.promise(162, 168)
@pytest.mark.parametrize("job_id", ["1", "99999999", "no-such-job", "-1"])
def test_an_unknown_job_is_not_found(get: Get, job_id: str) -> None:
    assert get(f"/portal/jobs/{job_id}", "viewer")[0] == 404
    assert get(f"/portal/jobs/{job_id}/status", "viewer")[0] == 404


def test_the_permissions_protect_pages(db: Any, get: Get) -> None:
    assert get("/portal/jobs/put", "viewer")[0] == 403
    assert jobs_in(db) == 0
    job_id = get("/portal/jobs/put", "officer")[1]
    assert get(f"/portal/jobs/{job_id}/status")[0] == 401
    assert get(f"/portal/jobs/{job_id}/status", "officer")[0] == 403


@pytest.mark.promise(160)
def test_a_request_that_fails_leaves_no_job(db: Any, get: Get) -> None:
    assert get("/portal/jobs/crash", "officer")[0] == 500
    assert jobs_in(db) == 0
    with db.transaction() as connection:
        assert len(zodbjobs.get_queue(connection)) == 0


@pytest.mark.promise(162, 163, 164)
def test_the_manager_works_for_the_current_site(db: Any, portal: Any) -> None:
    manager = getUtility(IJobManager)
    job = zodbjobs.Job(sample.add, 1)
    job_id = manager.put(job)
    assert manager.get(job_id) is job
    assert list(manager.jobs()) == [(job_id, job)]
    manager.remove(job_id)
    manager.remove("no-such-job")
    assert manager.get(job_id) is None
    transaction.commit()
    zodbjobs.testing.run_jobs(db)
    transaction.begin()
    assert job.result == 1


def test_without_a_site_there_is_nothing_to_look_into(portal: Any) -> None:
    manager = getUtility(IJobManager)
    setSite(None)
    assert list(manager.jobs(site=portal)) == []
    with pytest.raises(LookupError, match="site"):
        manager.jobs()


@pytest.mark.promise(165)
def test_a_load_guard_refuses_jobs_of_requests(db: Any, get: Get) -> None:
    components = getGlobalSiteManager()
    busy = True
    asked = []

    def guard(job: zodbjobs.Job) -> bool:
        asked.append(job.callable)
        return not busy

    before = db.lastTransaction()
    components.registerUtility(guard, ILoadGuard)
    try:
        assert get("/portal/jobs/put", "officer") == (200, "None")
        assert db.lastTransaction() == before
        busy = False
        assert get("/portal/jobs/put", "officer")[1].isdigit()
    finally:
        components.unregisterUtility(guard, ILoadGuard)
    assert asked == [sample.add, sample.add]
    assert jobs_in(db) == 1
    with db.transaction() as connection:
        assert len(zodbjobs.get_queue(connection)) == 1


@pytest.mark.promise(167)
def test_the_test_job_runs(db: Any, portal: Any) -> None:
    manager = getUtility(IJobManager)
    job = manager.get(manager.start_test_job(duration=0))
    assert job.percent is None
    transaction.commit()
    zodbjobs.testing.run_jobs(db)
    transaction.begin()
    assert (job.result, job.percent) == (46, 100.0)


@pytest.mark.process
def test_the_package_does_without_grok() -> None:
    code = "import sys, zodbjobs; zodbjobs.JobManager; sys.exit('grok' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
