"""The pages within Grok: its log-in, its permissions, its transaction, its addresses."""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grok_app
import pytest
import sample
import transaction
import webtest
import zope.component.testing
from grok_app import JobsLayout
from storages import file_storage
from ZODB.POSException import ConflictError
from zope.app.publication.zopepublication import ZopePublication
from zope.app.wsgi import WSGIPublisherApplication
from zope.component import getGlobalSiteManager, getUtility
from zope.component.hooks import setSite
from zope.configuration import xmlconfig
from zope.event import notify
from zope.processlifetime import DatabaseOpened
from zope.publisher.interfaces.browser import IBrowserRequest
from zope.securitypolicy.interfaces import IPrincipalPermissionManager

import zodbjobs
from zodbjobs import insights, local
from zodbjobs.grok import IJobsLayout, realm_of
from zodbjobs.interfaces import IJobManager
from zodbjobs.operations import deeds
from zodbjobs.web import responses

SITE_ZCML = """
<configure
    xmlns="http://namespaces.zope.org/zope"
    xmlns:grok="http://namespaces.zope.org/grok">
  <include package="zodbjobs.grok" />
  <include package="zodbjobs" file="single.zcml" />
  <grok:grok package="grok_app" />
  <unauthenticatedPrincipal id="zope.anybody" title="Anybody" />
  <grant permission="zope.View" principal="zope.anybody" />
  <principal id="portal.ada" title="Ada" login="ada" password="secret" />
  <principal id="portal.bob" title="Bob" login="bob" password="secret" />
  <principal id="portal.head" title="Head" login="head" password="secret" />
  <principal id="portal.viewer" title="Viewer" login="viewer" password="secret" />
  <principal id="portal.operator" title="Operator" login="operator" password="secret" />
  <grant permission="waeup.manageJobs" principal="portal.operator" />
  <grant permission="waeup.viewJobs" principal="portal.operator" />
</configure>
"""


@pytest.fixture(scope="module", autouse=True)
def _configured() -> Iterator[None]:
    zope.component.testing.setUp()
    xmlconfig.string(SITE_ZCML)
    yield
    zope.component.testing.tearDown()


@pytest.fixture
def db(tmp_path: Path) -> Iterator[Any]:
    opened = file_storage(tmp_path)
    notify(DatabaseOpened(opened))
    with opened.transaction() as connection:
        root = connection.root()[ZopePublication.root_name]
        for name in ("portal", "other"):
            root[name] = grok_app.Portal()
        root["portal"]["office"] = grok_app.Office()
        grant(root["portal"], "waeup.manageJobs", "portal.head")
        grant(root["portal"]["office"], "waeup.viewJobs", "portal.viewer")
    yield opened
    opened.close()


def grant(place: Any, permission: str, principal: str) -> None:
    IPrincipalPermissionManager(place).grantPermissionToPrincipal(permission, principal)


@pytest.fixture
def portal(connection: Any) -> Iterator[Any]:
    site = connection.root()[ZopePublication.root_name]["portal"]
    setSite(site)
    yield site
    setSite(None)


class Browser:
    """Asks the application, as one of the users."""

    def __init__(self, db: Any) -> None:
        self.app = webtest.TestApp(WSGIPublisherApplication(db), lint=False)

    def _headers(self, who: str | None) -> dict[str, str]:
        if who is None:
            return {}
        told = base64.b64encode(f"{who}:secret".encode()).decode()
        return {"Authorization": f"Basic {told}"}

    def get(self, path: str, who: str | None = "ada", method: str = "GET", **said: str) -> Any:
        headers = {**self._headers(who), **{k.replace("_", "-"): v for k, v in said.items()}}
        return self.app.request(path, method=method, headers=headers, expect_errors=True)

    def post(self, path: str, who: str | None = "ada", token: str = "", **said: str) -> Any:
        headers = {**self._headers(who), **{k.replace("_", "-"): v for k, v in said.items()}}
        return self.app.post(path, {"token": token}, headers=headers, expect_errors=True)

    def token(self, path: str, who: str = "ada") -> str:
        found = re.search(r'name="token" value="(\w+)"', self.get(path, who).text)
        assert found
        return found[1]


@pytest.fixture
def browser(db: Any) -> Browser:
    return Browser(db)


Put = Callable[..., str]


@pytest.fixture
def put(db: Any, portal: Any) -> Put:
    """Puts a job through the manager, as a view of the portal does, and runs it if told so."""

    def put(function: Any = sample.nothing, owner: str = "portal.ada", run: bool = False) -> str:
        manager = getUtility(IJobManager)
        job = zodbjobs.ProgressableJob(function)
        job_id = manager.put(job, owner=owner, about=portal["office"], title="An export")
        transaction.commit()
        if run:
            zodbjobs.testing.run_jobs(db)
            transaction.begin()
        assert job_id is not None
        return job_id

    return put


def leave_a_file() -> None:
    local.attach("+ü.csv", b"matric\n1\n", "text/csv")


# Whose a job is


def test_who_puts_a_job_in_a_request_owns_it(db: Any, browser: Browser, portal: Any) -> None:
    grant(portal, "waeup.manageJobs", "portal.ada")
    transaction.commit()
    job_id = browser.get("/portal/jobs/put").text
    transaction.begin()
    job = getUtility(IJobManager).get(job_id, portal)
    assert (job.owner, job.realm) == ("portal.ada", "/portal")
    assert "Job" in browser.get("/portal/jobs/mine").text
    assert job_id in browser.get("/portal/jobs/mine").text


def test_what_is_said_goes_before_what_is_guessed(db: Any, portal: Any) -> None:
    manager = getUtility(IJobManager)
    job = zodbjobs.Job(sample.nothing)
    job.realm = "elsewhere"
    manager.put(job, owner="bob", about=portal, title="Said")
    assert (job.owner, job.realm, job.about, job.title) == ("bob", "elsewhere", portal, "Said")
    own = zodbjobs.Job(sample.nothing)
    own.owner, own.title = "carol", "Its own"
    manager.put(own)
    assert (own.owner, own.realm, own.title) == ("carol", "/portal", "Its own")


def test_the_realm_is_the_path_of_the_site(connection: Any) -> None:
    root = connection.root()[ZopePublication.root_name]
    assert realm_of(root) == "/"
    assert realm_of(root["portal"]) == "/portal"


# Who gets in


@pytest.mark.promise(171)
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_anonymous_is_sent_to_log_in_whether_there_is_anything_or_not(
    browser: Browser, put: Put, method: str
) -> None:
    job_id = put(run=True)
    names = ["", "/mine", "/queues", "/nowhere", "/static/style.css", "/about/unnamed/1"]
    for each in (job_id, "1"):
        tails = ["", "/cancel", "/nowhere", "/nowhere/at/all"]
        names += [f"/{each}{tail}" for tail in tails]
        names += [f"/jobs/{each}{tail}" for tail in (*tails, ".json", "/result", "/discard")]
    answers = [browser.get(f"/portal/jobs{name}", None, method) for name in names]
    assert {answer.status_int for answer in answers} == {401}
    assert len({answer.body for answer in answers}) == 1
    assert all(answer.headers["WWW-Authenticate"] for answer in answers)


@pytest.mark.promise(171)
def test_another_gets_the_same_404_for_the_forbidden_and_the_unknown(
    browser: Browser, put: Put
) -> None:
    job_id = put(run=True)
    for tail in ("", ".json", "/result", "/cancel", "/discard"):
        for path in (f"/portal/jobs/jobs/{{}}{tail}", f"/portal/jobs/{{}}{tail}"):
            for method in ("GET", "POST"):
                known = browser.get(path.format(job_id), "bob", method)
                unknown = browser.get(path.format(int(job_id) + 1), "bob", method)
                assert known.status_int == unknown.status_int == 404, (path, method)
                assert known.body == unknown.body
    assert job_id not in browser.get("/portal/jobs", "bob").text


@pytest.mark.parametrize("who", ["ada", "head", "operator", "viewer"])
def test_those_who_may_see_it(browser: Browser, put: Put, who: str) -> None:
    job_id = put()
    at_the_job = browser.get(f"/portal/jobs/{job_id}", who)
    assert (at_the_job.status_int, "An export" in at_the_job.text) == (200, True)
    assert browser.get(f"/portal/jobs/jobs/{job_id}", who).status_int == 200
    may_cancel = browser.get(f"/portal/jobs/{job_id}/cancel", who).status_int
    assert may_cancel == (404 if who == "viewer" else 200)


def test_a_manager_of_one_site_sees_nothing_of_another(browser: Browser, put: Put) -> None:
    job_id = put()
    for who, status in [("head", 404), ("operator", 200)]:
        assert browser.get(f"/other/jobs/jobs/{job_id}", who).status_int == status


NAMESPACES = [
    "++attribute++cancel",
    "++attribute++remove?job_id={id}",
    "++attribute++start_test_job?duration=1",
    "++attribute++owner",
    "++acquire++cancel",
    "++acquire++start_test_job",
    "++item++0",
    "++adapter++x",
    "++etc++site",
    "++vh++http:jobs.example:80/++/++attribute++cancel",
    "++vh++http:jobs.example:80/a/b/++/++attribute++start_test_job",
    "++lang++de/++attribute++cancel",
    "++debug++errors/++acquire++start_test_job",
    "++++start_test_job",
]


@pytest.mark.promise(171)
@pytest.mark.parametrize("name", NAMESPACES)
def test_no_method_is_called_by_a_url(
    db: Any, browser: Browser, put: Put, portal: Any, name: str
) -> None:
    job_id = put()
    before = db.lastTransaction()
    paths = [f"/portal/jobs/{place}{name.format(id=job_id)}" for place in ("", f"{job_id}/")]
    for who, status in [(None, 401), ("bob", 404), ("ada", 404), ("operator", 404)]:
        for method in ("GET", "POST"):
            assert {browser.get(path, who, method).status_int for path in paths} == {status}
    assert db.lastTransaction() == before
    transaction.begin()
    assert list(dict(getUtility(IJobManager).jobs(portal))) == [job_id]


@pytest.mark.promise(171)
@pytest.mark.parametrize("name", ["absolute_url", "@@absolute_url", "status", "@@status", "lang"])
@pytest.mark.parametrize("site", ["portal", "other"])
def test_a_view_of_a_job_tells_of_none_that_one_may_not_see(
    browser: Browser, put: Put, name: str, site: str
) -> None:
    job_id = put()
    for who in (None, "bob"):
        known, unknown = (
            browser.get(f"/{site}/jobs/{each}/{name}", who) for each in (job_id, int(job_id) + 1)
        )
        assert (known.status_int, known.body) == (unknown.status_int, unknown.body)
        assert known.status_int == (401 if who is None else 404)


def test_the_job_of_another_site_is_not_led_to(browser: Browser, put: Put) -> None:
    job_id = put()
    for tail in ("", "/status", "/nowhere"):
        assert browser.get(f"/other/jobs/{job_id}{tail}", "ada").status_int == 404
    assert browser.get(f"/other/jobs/{job_id}/status", "operator").status_int == 200


# Through the publication


@pytest.mark.promise(176)
def test_discarding_an_entry_drops_the_job_and_its_files(
    db: Any, portal: Any, browser: Browser, put: Put
) -> None:
    job_id = put(leave_a_file, run=True)
    file = f"/portal/jobs/jobs/{job_id}/files/%2B%C3%BC.csv"
    page = browser.get(f"/portal/jobs/{job_id}")
    assert file in page.text
    answer = browser.get(file)
    assert (answer.status_int, answer.body) == (200, b"matric\n1\n")
    assert answer.headers["Content-Disposition"].startswith("attachment; ")
    assert browser.get(file, Range="bytes=0-5").body == b"matric"

    question = f"/portal/jobs/jobs/{job_id}/discard"
    done = browser.post(question, token=browser.token(question))
    assert done.status_int == 303
    assert done.headers["Location"].startswith("/portal/jobs/mine")
    assert browser.get(file).status_int == 404
    transaction.begin()
    assert getUtility(IJobManager).get(job_id, portal) is None
    assert job_id not in browser.get("/portal/jobs/mine").text


def test_head_is_answered_as_get_without_a_body(browser: Browser, put: Put) -> None:
    job_id = put(leave_a_file, run=True)
    for tail in ("", "/files/%2B%C3%BC.csv"):
        path = f"/portal/jobs/jobs/{job_id}{tail}"
        got, head = browser.get(path), browser.get(path, method="HEAD")
        assert (head.status_int, head.body) == (200, b"")
        assert head.headers["Content-Length"] == got.headers["Content-Length"]
        assert head.headers["Content-Type"] == got.headers["Content-Type"]


def test_a_get_changes_nothing(db: Any, browser: Browser, put: Put) -> None:
    job_id = put()
    before = db.lastTransaction()
    for path in ("", "/mine", f"/{job_id}", f"/jobs/{job_id}.json", f"/jobs/{job_id}/cancel"):
        assert browser.get(f"/portal/jobs{path}").status_int < 400
    assert db.lastTransaction() == before


@pytest.mark.parametrize("at_commit", [False, True])
def test_after_a_conflict_the_deed_is_done_once(
    db: Any,
    portal: Any,
    browser: Browser,
    put: Put,
    monkeypatch: pytest.MonkeyPatch,
    at_commit: bool,
) -> None:
    path = f"/portal/jobs/jobs/{put()}/cancel"
    token, note, calls = browser.token(path), deeds.note, []

    def fail() -> None:
        raise ConflictError

    def conflict(*args: Any) -> None:
        note(*args)
        calls.append(1)
        if len(calls) == 1:
            transaction.get().addBeforeCommitHook(fail) if at_commit else fail()

    monkeypatch.setattr(deeds, "note", conflict)
    assert browser.post(path, token=token).status_int == 303
    transaction.begin()
    assert (len(calls), len(insights.list_audit(portal))) == (2, 1)


def test_of_a_post_that_fails_after_its_deed_nothing_remains(
    db: Any, browser: Browser, put: Put, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = f"/portal/jobs/jobs/{put()}/cancel"
    token, before = browser.token(path), db.lastTransaction()

    def fail(path: str) -> Any:
        raise ValueError("after the deed")

    monkeypatch.setattr(responses, "see_other", fail)
    assert browser.post(path, token=token).status_int == 500
    assert db.lastTransaction() == before


def test_a_forged_post_changes_nothing(db: Any, browser: Browser, put: Put) -> None:
    path = f"/portal/jobs/jobs/{put()}/cancel"
    token = browser.token(path)
    before = db.lastTransaction()
    assert browser.post(path, token="forged").status_int == 403
    assert browser.post(path, token=token, Origin="http://evil.example").status_int == 403
    assert browser.post(path, token=browser.token(path, "head")).status_int == 403
    assert db.lastTransaction() == before
    assert browser.post(path, token=token, Origin="http://localhost").status_int == 303


@pytest.mark.promise(178)
def test_the_status_says_when_to_look_again(db: Any, browser: Browser, put: Put) -> None:
    path = f"/portal/jobs/jobs/{put(sample.add)}.json"
    waits = browser.get(path)
    assert (waits.status_int, waits.headers["Retry-After"]) == (202, "1")
    assert waits.json["page"] == path.removesuffix(".json")
    zodbjobs.testing.run_jobs(db)
    ended = browser.get(path)
    assert (ended.status_int, ended.headers.get("Retry-After")) == (303, None)


def test_a_page_that_is_known_already_is_not_sent_again(browser: Browser, put: Put) -> None:
    path = f"/portal/jobs/jobs/{put()}?live=1"
    tag = browser.get(path).headers["ETag"]
    again = browser.get(path, If_None_Match=tag)
    assert (again.status_int, again.body) == (304, b"")


@pytest.mark.parametrize(
    ("inside", "outside"),
    [
        ("/++vh++https:jobs.example:443/++/portal/jobs", "/portal/jobs"),
        ("/portal/++vh++https:jobs.example:443/a%20b/++/jobs", "/a%20b/jobs"),
        ("/portal/++vh++https:jobs.example:443/++/jobs", "/jobs"),
    ],
)
def test_addresses_below_a_virtual_host(
    browser: Browser, put: Put, inside: str, outside: str
) -> None:
    job_id = put()
    page = browser.get(f"{inside}/{job_id}")
    links = re.findall(r'(?:href|src)="([^"#]*)', page.text)
    assert f"{outside}/jobs/{job_id}/cancel" in links
    assert [link for link in links if link and not link.startswith(f"{outside}/")] == []
    path = f"{inside}/jobs/{job_id}/cancel"
    done = browser.post(path, token=browser.token(path), Origin="https://jobs.example")
    assert done.headers["Location"].startswith(f"{outside}/jobs/{job_id}")


# In the application


def test_views_of_the_application_go_before_pages(browser: Browser, put: Put) -> None:
    job_id = put()
    status = browser.get(f"/portal/jobs/{job_id}/status", "operator")
    assert status.text.startswith(f"{job_id} pending")
    assert browser.get(f"/portal/jobs/{job_id}/status").status_int == 403


@pytest.fixture
def _layout() -> Iterator[None]:
    components = getGlobalSiteManager()
    for context in (IJobManager, zodbjobs.interfaces.IJob):
        components.registerAdapter(JobsLayout, (IBrowserRequest, context), IJobsLayout)
    yield
    for context in (IJobManager, zodbjobs.interfaces.IJob):
        components.unregisterAdapter(JobsLayout, (IBrowserRequest, context), IJobsLayout)


@pytest.mark.usefixtures("_layout")
def test_pages_in_the_layout_of_the_application(browser: Browser, put: Put) -> None:
    job_id = put()
    for path in (f"/portal/jobs/{job_id}", f"/portal/jobs/jobs/{job_id}"):
        page = browser.get(path)
        assert page.text.startswith("<!DOCTYPE html><html><head><title>An export · Jobs</title>")
        assert "style.css" in page.html.head.decode()
        assert page.html.body.find(id="zj-main")["data-live"] == "1"
        assert page.html.body.find(id="zj-said") is not None
        assert "Content-Security-Policy" in page.headers
        part = browser.get(f"{path}?live=1").text
        assert part.lstrip().startswith("<main")
    assert browser.get("/portal/jobs/jobs/1").text.startswith("<!DOCTYPE html><html>")
