"""The pages in Plone: in its main template, beside its login and its CSRF protection."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any

import homes_jobs as jobs
import pytest
import transaction
import webtest
from plone.app.testing import (
    PLONE_FIXTURE,
    SITE_OWNER_NAME,
    SITE_OWNER_PASSWORD,
    TEST_USER_ID,
    TEST_USER_NAME,
    TEST_USER_PASSWORD,
    FunctionalTesting,
    PloneSandboxLayer,
)
from zope.configuration import xmlconfig
from ZPublisher.httpexceptions import HTTPExceptionHandler
from ZPublisher.WSGIPublisher import publish_module

import zodbjobs
import zodbjobs.zope
from zodbjobs.web.responses import DATA_POLICY
from zodbjobs.zope.main_template import POLICY
from zodbjobs.zope.pages import Jobs

OWNER = f"/plone/acl_users/{TEST_USER_ID}"


class _Fixture(PloneSandboxLayer):
    defaultBases = (PLONE_FIXTURE,)

    def setUpZope(self, app: Any, context: Any) -> None:
        xmlconfig.file("pages.zcml", zodbjobs.zope, context=context)
        zodbjobs.zope.load()

    def tearDownZope(self, app: Any) -> None:
        zodbjobs.zope.unload()


FIXTURE = _Fixture()
LAYER = FunctionalTesting(bases=(FIXTURE,), name="zodbjobs:Pages")


def _all_of(layer: Any) -> list[Any]:
    """A layer after those that it is based on, each once."""
    found: list[Any] = []
    for each in layer.__bases__:
        found += [new for new in _all_of(each) if new not in found]
    return [*found, layer]


@pytest.fixture(scope="module")
def database() -> Iterator[Any]:
    layers = _all_of(LAYER)
    for each in layers:
        each.setUp()
    for each in layers:
        each.testSetUp()
    db = LAYER["portal"]._p_jar.db()
    transaction.commit()
    zodbjobs.install(db)
    yield db
    transaction.abort()
    for each in reversed(layers):
        each.testTearDown()
    for each in reversed(layers):
        each.tearDown()


@pytest.fixture
def put(database: Any) -> Any:
    def put(owner: str = OWNER, realm: str = "/plone", about: str | None = None) -> str:
        with database.transaction() as connection:
            job = zodbjobs.Job(jobs.who)
            job.title = "Something <b>bold</b>"
            queue = zodbjobs.get_queue(connection)
            queue.put(job, owner=owner, realm=realm)
            return str(job.id)

    return put


def browser(name: str = "", password: str = "") -> Any:
    made = webtest.TestApp(HTTPExceptionHandler(publish_module))
    if name:
        made.authorization = ("Basic", (name, password))
    return made


def member() -> Any:
    return browser(TEST_USER_NAME, TEST_USER_PASSWORD)


def manager() -> Any:
    return browser(SITE_OWNER_NAME, SITE_OWNER_PASSWORD)


def test_a_page_is_in_the_main_template(put: Any) -> None:
    page = member().get(f"/plone/@@jobs/jobs/{put()}")
    assert page.html.select_one("#portal-column-content .zj.zj-inside h1").text == (
        "Something <b>bold</b>"
    )
    assert page.html.title.text == "Something <b>bold</b> · Jobs"
    assert len(page.html.select("h1")) == len(page.html.select("main")) == 1
    assert page.html.select_one("head link[href^='/plone/@@jobs/static/style.css']")
    assert page.html.select_one("#portal-footer-wrapper, #portal-footer")
    assert page.headers["Content-Security-Policy"] == POLICY
    # What Plone loads there comes by that policy.
    assert not [each for each in page.html.select("script") if each.get_text().strip()]
    assert not page.html.select("[onclick], [onload], [onsubmit]")
    for each in page.html.select("script[src], link[rel=stylesheet], img[src]"):
        where = each.get("src") or each["href"]
        assert where.startswith(("/", "http://localhost")), where


def test_what_is_asked_for_while_it_is_open_is_left_as_it_is(put: Any) -> None:
    job_id = put()
    form = member().get(f"/plone/@@jobs/jobs/{job_id}/cancel?live=1")
    page = member().get(f"/plone/@@jobs/jobs/{job_id}?live=1")
    for each in (page, form):
        assert each.text.startswith("<main id=")
        assert "_authenticator" not in each
        assert "protect.js" not in each
    etag = page.headers["ETag"]
    path = page.request.path_qs
    member().get(path, headers={"If-None-Match": etag}, status=304)


@pytest.mark.parametrize("name", ["style.css", "live.js", "icon.svg"])
def test_files_of_ours_are_left_as_they_are(database: Any, name: str) -> None:
    answer = member().get(f"/plone/@@jobs/static/{name}")
    assert answer.headers["Content-Security-Policy"] == DATA_POLICY
    assert answer.body == zodbjobs.web.static_files.static_files()[name].body


def test_our_posts_need_our_token_and_no_other(put: Any, database: Any, caplog: Any) -> None:
    job_id = put()
    page = member().get(f"/plone/@@jobs/jobs/{job_id}/cancel")
    form = next(each for each in page.forms.values() if each.action.endswith("/cancel"))
    fields = dict(form.submit_fields())
    authenticator = fields.pop("_authenticator")
    # Plone's alone isn't enough.
    refused = {"_authenticator": authenticator, "token": "x"}
    member().post(form.action, refused, status=403)
    with database.transaction() as connection:
        assert zodbjobs.insights.find_job(connection, job_id).outcome is None
    caplog.set_level(logging.INFO)
    answer = member().post(form.action, fields, status=303)
    assert "CSRF" not in caplog.text
    with database.transaction() as connection:
        assert zodbjobs.insights.find_job(connection, job_id).outcome == "cancelled"
    assert "It was cancelled." in member().get(answer.headers["Location"])


def test_a_post_that_is_not_marked_is_refused_by_plone(
    put: Any, database: Any, monkeypatch: Any
) -> None:
    """Its protection is on here: what lets our POSTs through is that we say so. It aborts the
    transaction, whatever the answer says.
    """
    monkeypatch.setattr(Jobs, "_mark", lambda self, status: None)
    job_id = put()
    page = member().get(f"/plone/@@jobs/jobs/{job_id}/cancel")
    form = next(each for each in page.forms.values() if each.action.endswith("/cancel"))
    fields = dict(form.submit_fields())
    del fields["_authenticator"]
    member().post(form.action, fields)
    with database.transaction() as connection:
        assert zodbjobs.insights.find_job(connection, job_id).outcome is None


def test_nobody_is_sent_to_the_form_of_the_site(put: Any) -> None:
    for path in ("", f"/jobs/{put()}", "/nowhere", "/static/style.css"):
        answer = browser().get(f"/plone/@@jobs{path}", status=302)
        assert "require_login" in answer.headers["Location"]
        assert "came_from" in answer.headers["Location"]


def test_members_see_their_own_and_managers_all(put: Any) -> None:
    own, other, elsewhere = put(), put("/plone/acl_users/x"), put(OWNER, "/other")
    member().get(f"/plone/@@jobs/jobs/{other}", status=404)
    member().get(f"/plone/@@jobs/jobs/{elsewhere}", status=404)
    member().get("/plone/@@jobs/queues", status=404)
    for job_id in (own, other, elsewhere):
        for place in ("", "/plone"):
            manager().get(f"{place}/@@jobs/jobs/{job_id}")


def test_at_the_application_there_is_no_main_template(database: Any) -> None:
    page = manager().get("/@@jobs")
    assert page.html.body["class"] == ["zj", "zj-page"]
    assert "_authenticator" not in page
