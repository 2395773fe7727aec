"""The pages in Zope, by its publisher: `@@jobs` at the application and at sites."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import homes_jobs as jobs
import Products.Five
import pytest
import transaction
import webtest
from AccessControl.SecurityManagement import newSecurityManager, noSecurityManager
from OFS.Folder import Folder, manage_addFolder
from OFS.SimpleItem import SimpleItem
from Testing.ZopeTestCase import ZopeLite
from zope.component.globalregistry import base
from zope.component.hooks import setSite
from zope.component.interfaces import ISite
from zope.configuration import xmlconfig
from zope.globalrequest import clearRequest, setRequest
from zope.interface import alsoProvides
from zope.security.management import endInteraction
from ZPublisher.httpexceptions import HTTPExceptionHandler
from ZPublisher.WSGIPublisher import publish_module

import zodbjobs
import zodbjobs.zope
from zodbjobs.testing import run_jobs
from zodbjobs.web.responses import PAGE_POLICY
from zodbjobs.zope.application import application, make_request
from zodbjobs.zope.permissions import MANAGE_JOBS, VIEW_JOBS

#: Users by the folder that they are in.
USERS = {
    "": {"root": ["Manager"], "admin": ["Manager"], "rooty": ["Member"]},
    "one": {"ada": ["Member"], "bob": ["Member"], "admin": ["Member"], "head": ["Chief"]},
    "two": {"eve": ["Chief"], "ada": ["Member"]},
}


class Site(Folder):
    """A site with the registry of the process."""

    def getSiteManager(self) -> Any:
        return base


@pytest.fixture(scope="module")
def database() -> Iterator[Any]:
    app = ZopeLite.app()
    db = app._p_jar.db()
    context = xmlconfig.file("configure.zcml", Products.Five)
    xmlconfig.file("pages.zcml", zodbjobs.zope, context=context)
    for name, users in USERS.items():
        place = app
        if name:
            app._setObject(name, Site(name))
            place = app[name]
            alsoProvides(place, ISite)
            place.manage_addUserFolder()
            place._addRole("Chief")
            place.manage_permission(MANAGE_JOBS, ["Manager", "Chief"], 1)
            manage_addFolder(place, "docs")
            manage_addFolder(place.docs, "one")
        for login, roles in users.items():
            place.acl_users.userFolderAddUser(login, "secret", roles, [])
    transaction.commit()
    app._p_jar.close()
    zodbjobs.install(db)
    zodbjobs.zope.load()
    yield db
    zodbjobs.zope.unload()


Browser = webtest.TestApp


def browser(login: str = "") -> Browser:
    made = webtest.TestApp(HTTPExceptionHandler(publish_module))
    if login:
        made.authorization = ("Basic", (login, "secret"))
    return made


@pytest.fixture
def put(database: Any) -> Iterator[Any]:
    """Puts a job as somebody in a site; its id."""
    connection = database.open()

    def put(login: str, site: str, *args: Any, about: str | None = None, run: bool = True) -> str:
        request = make_request()
        app = application(connection, request)
        place = app[site] if site else app
        folder = place.acl_users if login in USERS[site] else app.acl_users
        setRequest(request)
        setSite(place if site else None)
        newSecurityManager(None, folder.getUserById(login).__of__(folder))
        function, *rest = args or (jobs.who,)
        what = None if about is None else app.unrestrictedTraverse(about)
        job = zodbjobs.zope.put(function, *rest, about=what, title=f"Of {login} in {site or '/'}")
        transaction.commit()
        noSecurityManager()
        setSite(None)
        clearRequest()
        endInteraction()
        if run:
            run_jobs(database)
            transaction.begin()
        return str(job.id)

    yield put
    transaction.abort()
    connection.close()


def test_a_user_sees_own_jobs_in_the_site_and_no_others(put: Any) -> None:
    job_id = put("ada", "one")
    page = browser("ada").get(f"/one/@@jobs/jobs/{job_id}")
    assert page.html.h1.text == "Of ada in one"
    assert page.headers["Content-Security-Policy"] == PAGE_POLICY
    assert page.content_type == "text/html"
    assert "/one/@@jobs/static/" in page
    assert browser("bob").get(f"/one/@@jobs/jobs/{job_id}", status=404).html.h1
    # Of another site, though it is theirs by name.
    browser("ada").get(f"/two/@@jobs/jobs/{job_id}", status=[401, 404])
    assert "Of ada" in browser("ada").get("/one/@@jobs")
    assert "Of ada" not in browser("bob").get("/one/@@jobs")


@pytest.mark.parametrize(
    "path", ["", "/", "/mine", "/jobs/1", "/nowhere", "/static/style.css", "/x/y"]
)
@pytest.mark.parametrize("place", ["", "/one"])
def test_nobody_in_particular_is_asked_to_log_in_everywhere(
    database: Any, place: str, path: str
) -> None:
    answer = browser().get(f"{place}/@@jobs{path}", status=401)
    assert answer.headers["WWW-Authenticate"].startswith("basic")
    browser().post(f"{place}/@@jobs{path}", {"token": "x"}, status=401)


def test_a_manager_of_a_site_has_its_jobs_and_one_of_the_application_all(put: Any) -> None:
    one, two = put("ada", "one"), put("eve", "two")
    assert browser("head").get(f"/one/@@jobs/jobs/{one}").html.find(id="zj-inside")
    browser("head").get(f"/one/@@jobs/jobs/{two}", status=404)
    browser("head").get("/one/@@jobs/queues", status=404)
    assert "Of ada in one" in browser("head").get("/one/@@jobs/jobs")
    assert "Of eve" not in browser("head").get("/one/@@jobs/jobs")
    for place in ("", "/one", "/two"):
        page = browser("root").get(f"{place}/@@jobs/jobs")
        assert "Of ada in one" in page
        assert "Of eve in two" in page
        browser("root").get(f"{place}/@@jobs/queues")


def test_two_users_of_one_name_are_two(put: Any) -> None:
    of_site, of_root = put("admin", "one"), put("rooty", "one")
    transaction.begin()
    app = browser("admin")
    assert "Of admin in one" in app.get("/one/@@jobs/mine")
    assert "Of admin" not in app.get("/@@jobs/mine")  # there it is the other one
    assert "Of rooty" in browser("rooty").get("/one/@@jobs/mine")
    browser("rooty").get(f"/@@jobs/jobs/{of_root}", status=404)  # it is of the site
    browser("rooty").get(f"/one/@@jobs/jobs/{of_site}", status=404)


def test_a_permission_on_the_object_that_a_job_is_about(put: Any, database: Any) -> None:
    about, other = put("ada", "one", about="one/docs/one"), put("ada", "one", about="one/docs")
    with database.transaction() as connection:
        here = application(connection).one.docs.one
        here.manage_permission(VIEW_JOBS, ["Owner"], 1)
        here.manage_setLocalRoles("bob", ["Owner"])
    assert "Of ada" in browser("bob").get(f"/one/@@jobs/jobs/{about}")
    browser("bob").get(f"/one/@@jobs/jobs/{other}", status=404)
    with database.transaction() as connection:
        docs = application(connection).one.docs
        docs._delObject("one")
    # Closed, for its roles were those of its place.
    browser("bob").get(f"/one/@@jobs/jobs/{about}", status=404)
    with database.transaction() as connection:
        manage_addFolder(application(connection).one.docs, "one")
    browser("bob").get(f"/one/@@jobs/jobs/{about}", status=404)


def test_a_deed_needs_the_token_and_is_committed(put: Any, database: Any) -> None:
    job_id = put("ada", "one", run=False)
    ada = browser("ada")
    ada.post(f"/one/@@jobs/jobs/{job_id}/cancel", {"token": "x"}, status=403)
    ada.get(f"/one/@@jobs/jobs/{job_id}/cancel")
    form = ada.get(f"/one/@@jobs/jobs/{job_id}/cancel").forms[0]
    with_other = {"Origin": "https://evil.example", "Sec-Fetch-Site": "cross-site"}
    ada.post(form.action, dict(form.submit_fields()), headers=with_other, status=403)
    with database.transaction() as connection:
        assert zodbjobs.insights.find_job(connection, job_id).outcome is None
    answer = form.submit()
    assert answer.status_int == 303
    assert answer.headers["Location"].startswith(f"/one/@@jobs/jobs/{job_id}?done=")
    with database.transaction() as connection:
        assert zodbjobs.insights.find_job(connection, job_id).outcome == "cancelled"
    assert "It was cancelled" in ada.get(answer.headers["Location"])


def test_a_refused_post_changes_nothing(put: Any, database: Any, monkeypatch: Any) -> None:
    """Also if something was written before it was refused."""
    from zodbjobs.zope import pages

    def writes(environ: Any, start_response: Any) -> Any:
        environ["zodbjobs.zope.pages"].context._p_jar.root()["written"] = True
        start_response("409 Conflict", [("Content-Type", "text/plain")])
        return [b"no"]

    monkeypatch.setattr(pages, "_app", writes)
    browser("ada").post("/one/@@jobs/mine", status=409)
    with database.transaction() as connection:
        assert "written" not in connection.root()


def test_a_file_is_streamed_in_ranges(put: Any) -> None:
    job_id = put("ada", "one", jobs.attach_bytes, 3_000_000)
    ada = browser("ada")
    link = ada.get(f"/one/@@jobs/jobs/{job_id}").html.select_one(".zj-files a")["href"]
    whole = ada.get(link)
    assert whole.headers["Content-Length"] == "3000000"
    assert whole.headers["Content-Disposition"].startswith("attachment")
    assert len(whole.body) == 3_000_000
    part = ada.get(link, headers={"Range": "bytes=10-19"}, status=206)
    assert part.headers["Content-Range"] == "bytes 10-19/3000000"
    assert part.body == whole.body[10:20]
    head = ada.head(link)
    assert (head.body, head.headers["Content-Length"]) == (b"", "3000000")


def test_a_file_is_never_in_memory_as_a_whole(put: Any) -> None:
    """The publisher gets pieces, and gives them on."""
    job_id = put("ada", "one", jobs.attach_bytes, 3_000_000)
    ada = browser("ada")
    link = ada.get(f"/one/@@jobs/jobs/{job_id}").html.select_one(".zj-files a")["href"]
    sizes = []
    environ = webtest.TestRequest.blank(link).environ
    environ["HTTP_AUTHORIZATION"] = "Basic YWRhOnNlY3JldA=="
    body = publish_module(environ, lambda status, headers, exc_info=None: None)
    for piece in body:
        sizes.append(len(piece))
    body.close()
    assert sum(sizes) == 3_000_000
    assert max(sizes) <= 256 * 1024


def test_head_says_what_get_would(put: Any) -> None:
    job_id = put("ada", "one")
    path = f"/one/@@jobs/jobs/{job_id}.json"
    got, head = browser("ada").get(path), browser("ada").head(path)
    assert head.headers["Content-Length"] == got.headers["Content-Length"]
    assert head.content_type == got.content_type == "application/json"
    assert head.body == b""


def test_not_modified(put: Any) -> None:
    job_id = put("ada", "one")
    path = f"/one/@@jobs/jobs/{job_id}"
    etag = browser("ada").get(path).headers["ETag"]
    answer = browser("ada").get(path, headers={"If-None-Match": etag}, status=304)
    assert answer.body == b""


def test_below_a_virtual_host_with_the_address_of_the_browser(put: Any, database: Any) -> None:
    with database.transaction() as connection:
        app = application(connection)
        if "virtual_hosting" not in app.objectIds():
            from Products.SiteAccess.VirtualHostMonster import manage_addVirtualHostMonster

            manage_addVirtualHostMonster(app)
    job_id = put("ada", "one", run=False)
    base = "/VirtualHostBase/https/example.org:443/one/VirtualHostRoot/_vh_intra/_vh_net/@@jobs"
    ada = browser("ada")
    page = ada.get(f"{base}/jobs/{job_id}/cancel")
    links = [each["href"] for each in page.html.select("nav a, link[href]")]
    assert links
    assert all(link.startswith("/intra/net/@@jobs/") for link in links)
    fields = dict(page.forms[0].submit_fields())
    answer = ada.post(
        f"{base}/jobs/{job_id}/cancel",
        fields,
        headers={"Origin": "https://example.org"},
        status=303,
    )
    assert answer.headers["Location"].startswith(f"/intra/net/@@jobs/jobs/{job_id}")


#: What leads elsewhere in Zope, in a site of which ada is a user.
ODD = [
    *("_mark", "_send", "_environ", "context", "request", "__call__", "_app", "security"),
    *("index_html", "aq_parent", "aq_self", "acl_users", "docs", "absolute_url", "REQUEST"),
    *("manage_main", "manage_DAVget", "@@absolute_url", "@@jobs", "__class__", "__init__"),
    *("++attribute++context", "++view++absolute_url", "++item++docs", "++resource++x", "macros"),
    *("browserDefault", "publishTraverse", "__parent__", "__before_publishing_traverse__"),
    *("PUT", "HEAD", "propertysheets", "virtual_hosting", "title_or_id", "objectIds"),
]


@pytest.mark.parametrize("name", ODD)
def test_no_name_below_is_looked_up(database: Any, name: str) -> None:
    for path in (f"/one/@@jobs/{name}", f"/@@jobs/{name}", f"/one/@@jobs/jobs/{name}"):
        login = "ada" if path.startswith("/one") else "rooty"
        answer = browser(login).get(path, status=404)
        if name not in ("REQUEST", "aq_self"):  # which Zope refuses before it looks
            assert answer.html.h1.text == "There is nothing here", path
        browser(login).post(path, {"token": "x"}, status=[404])


@pytest.mark.parametrize(
    "path",
    [
        *("/one/docs/@@jobs", "/one/docs/one/@@jobs", "/one/docs/jobs", "/one/acl_users/@@jobs"),
        *("/one/two/@@jobs", "/one/docs/two/@@jobs", "/two/one/@@jobs", "/one/one/@@jobs"),
        *("/one/two/one/@@jobs", "/one/docs/one/one/@@jobs"),
    ],
)
@pytest.mark.parametrize("login", ["ada", "head", "eve", "root"])
def test_it_isnt_acquired(database: Any, path: str, login: str) -> None:
    assert browser(login).get(path, status=[401, 404]).status_int in (401, 404)


def test_dots_lead_no_further_than_elsewhere(database: Any) -> None:
    for path in ("/one/@@jobs/../../two/@@jobs", "/one/@@jobs/../../two/@@jobs/jobs"):
        answer = browser("head").get(path, status=[401, 404])
        assert answer.status_int == 401  # two knows no such user
    assert browser("root").get("/one/@@jobs/../@@jobs/jobs").status_int == 200


@pytest.mark.parametrize(
    "method",
    [
        *("PROPFIND", "PROPPATCH", "DELETE", "PUT", "MKCOL", "COPY", "MOVE", "LOCK", "UNLOCK"),
        *("OPTIONS", "TRACE", "PATCH", "NONSENSE"),
    ],
)
def test_other_verbs_do_nothing(put: Any, database: Any, method: str) -> None:
    job_id = put("ada", "one", run=False)
    for path in ("/one/@@jobs", f"/one/@@jobs/jobs/{job_id}", "/one/@@jobs/docs"):
        for login in ("ada", "head", "root"):
            answer = browser(login).request(path, method=method, expect_errors=True)
            assert answer.status_int in (400, 403, 404, 405, 501), (path, answer)
            assert "Of ada" not in answer
    with database.transaction() as connection:
        assert zodbjobs.insights.find_job(connection, job_id).outcome is None
        assert application(connection).one.objectIds() == ["acl_users", "docs"]


def test_xml_rpc_calls_nothing(put: Any, database: Any) -> None:
    job_id = put("ada", "one", run=False)
    for method in ("cancel", "jobs.cancel", "_mark", "context.manage_delObjects"):
        body = f"<methodCall><methodName>{method}</methodName><params/></methodCall>".encode()
        for path in ("/one/@@jobs", f"/one/@@jobs/jobs/{job_id}"):
            answer = browser("head").post(path, body, content_type="text/xml", expect_errors=True)
            assert b"fault" in answer.body or answer.status_int in (400, 404)
            assert "Of ada" not in answer
    with database.transaction() as connection:
        assert zodbjobs.insights.find_job(connection, job_id).outcome is None


class Document(SimpleItem):
    """A document. Its class has a docstring, as what Zope publishes has."""

    id = "document"


def test_jobs_are_not_published_as_what_they_are_stored_in(put: Any, database: Any) -> None:
    """A job that hangs somewhere in a site is an object with docstrings."""
    with database.transaction() as connection:
        app = application(connection)
        job = zodbjobs.get_queue(connection).put(jobs.who)
        app.one._setObject("document", Document())
        app.one.document.job = job
    for name in ("", "cancel", "fail", "status", "remove", "__call__", "result", "args"):
        answer = browser("root").get(f"/one/document/job/{name}", expect_errors=True)
        assert answer.status_int in (401, 403, 404), name
    with database.transaction() as connection:
        assert application(connection).one.document.job.outcome is None
