"""Requests to copy, move and publish in jobs: what is refused, what changes before they are done,
and who may do what to them.
"""

from __future__ import annotations

from typing import Any

import plone_jobs
import pytest
import transaction
from plone import api
from plone.app.testing import login
from plone.locking.interfaces import ILockable
from plone_rest import ASYNC, PASSWORD, Site, as_manager, asked, put, sources
from plone_rest import _layer as _layer
from plone_rest import ada as ada
from plone_rest import site as site
from Products.CMFPlone.factory import addPloneSite
from Products.CMFPlone.interfaces.constrains import ISelectableConstrainTypes
from zope.component.hooks import setSite

import zodbjobs
from zodbjobs import defaults, operations
from zodbjobs.plone import SYSTEM
from zodbjobs.plone import put as put_in_plone
from zodbjobs.plone.restapi.prefer import wants_async
from zodbjobs.zope import put as put_in_zope

# What changes between the request and the job


def test_sources_that_are_moved_meanwhile_are_found(site: Site, ada: Any) -> None:
    job = put(ada, "archive/@copy", {"source": sources(site, 0, 1)})
    with as_manager(site):
        api.content.rename(site.portal.inbox.page0, "renamed")
        api.content.move(site.portal.inbox.page1, site.portal)
    site.run()
    assert asked(ada, job)["result"] == [
        {"source": f"{site.base}/inbox/renamed", "target": f"{site.base}/archive/renamed"},
        {"source": f"{site.base}/page1", "target": f"{site.base}/archive/page1"},
    ]
    assert site.catalogued("archive") == ["page1", "renamed"]


def test_a_folder_and_what_is_in_it_are_moved_each_once(site: Site, ada: Any) -> None:
    job = put(ada, "archive/@move", {"source": ["/inbox", "/inbox/page1"]})
    site.run()
    assert asked(ada, job)["outcome"] == "succeeded"
    assert site.ids("archive") == site.catalogued("archive") == ["inbox", "page1"]
    assert list(site.portal.archive.inbox.objectIds()) == ["page0", "page2"]


def test_what_has_come_into_the_source_meanwhile_is_no_target(site: Site, ada: Any) -> None:
    job = put(ada, "archive/@move", {"source": "/inbox"})
    with as_manager(site):
        api.content.move(site.portal.archive, site.portal.inbox)
    site.run()
    assert asked(ada, job)["error"]["message"] == "This object cannot be pasted into itself"
    assert site.ids("inbox") == ["page0", "page1", "page2", "archive"]


def test_another_object_at_the_path_of_a_source_is_not_taken(site: Site, ada: Any) -> None:
    job = put(ada, "archive/@copy", {"source": "/inbox/page0"})
    with as_manager(site):
        site.portal.inbox.manage_delObjects(["page0"])
        site.portal.inbox.invokeFactory("Document", "page0")
    site.run()
    assert asked(ada, job)["error"]["type"] == "ObjectGone"
    assert site.ids("archive") == []


def test_a_target_that_is_gone_fails_each_source(site: Site, ada: Any) -> None:
    """The list says how many, and why one of them; the job itself why each."""
    job = put(ada, "archive/@copy", {"source": sources(site, 0, 1)})
    with as_manager(site):
        site.portal.manage_delObjects(["archive"])
    site.run()
    done = asked(ada, job)
    assert [entry["error"]["type"] for entry in done["result"]] == ["ObjectGone"] * 2
    [listed] = ada.get("@jobs").json()["items"]
    assert (listed["state"], listed["context"], listed["percent"]) == ("failed", None, None)
    assert listed["error"]["type"] == "SourcesFailed"
    assert "2 of 2 sources could not be done, /plone/inbox/page0" in listed["error"]["message"]


def test_a_source_that_one_may_not_view_any_more_is_not_copied(site: Site) -> None:
    bob = site.client("bob")
    job = put(bob, "archive/@copy", {"source": sources(site, 0, 1)})
    with as_manager(site):
        site.portal.inbox.page0.manage_permission("View", ["Manager"])
    site.run()
    first, second = asked(bob, job)["result"]
    assert (first["error"]["type"], "target" in second) == ("Unauthorized", True)
    assert site.ids("archive") == ["page1"]


def test_a_source_that_conflicts_is_moved_once(site: Site, ada: Any) -> None:
    job = put(ada, "archive/@move", {"source": sources(site, 0, 1, 2)})
    with zodbjobs.testing.conflict_once():
        site.run()
    assert asked(ada, job)["outcome"] == "succeeded"
    assert site.ids("archive") == ["page0", "page1", "page2"]
    assert site.ids("inbox") == []


# What is answered, compared with plone.restapi's own answers

#: Who asks what, the status of plone.restapi, and that of what is to be a job. Where these differ
#: plone.restapi takes what isn't possible for a fault of the server's, or for nothing at all.
ANSWERS = [
    ("mia", "archive/@copy", {"source": "/inbox/page0"}, 403, 403),
    (None, "archive/@copy", {"source": "/inbox/page0"}, 401, 401),
    ("ada", "archive/@copy", {}, 400, 400),
    ("ada", "archive/@copy", "{", 500, 400),
    ("ada", "archive/@copy", "[]", 500, 400),
    ("ada", "archive/@copy", {"source": {"a": 1}}, 500, 400),
    ("ada", "archive/@copy", {"source": "/nowhere"}, 200, 400),
    ("ada", "archive/@copy", {"source": "/inbox/hidden"}, 200, 400),
    ("ada", "archive/@copy", {"source": "/inbox/page0/title"}, 500, 400),
    ("ada", "archive/@copy", {"source": "/@@view"}, 500, 400),
    ("ada", "archive/@copy", {"source": "/portal_catalog"}, 401, 401),
    ("ada", "archive/@copy", {"source": "/"}, 500, 400),
    ("ada", "archive/@move", {"source": "/inbox/page0"}, 403, 403),
    ("ada", "archive/@move", {"source": "/inbox/deletable"}, 401, 401),
    ("boss", "archive/@move", {"source": "/inbox/locked"}, 423, 423),
    ("ada", "pages/@copy", {"source": "/inbox"}, 500, 400),
    ("ada", "inbox/page0/@copy", {"source": "/inbox"}, 404, 404),
    ("ada", "inbox/page0/@workflow/publish", "{", 500, 400),
    ("ada", "inbox/page0/@workflow/publish/more", {}, 404, 404),
    ("mia", "inbox/page0/@workflow/publish", {}, 401, 401),
    ("bob", "inbox/page0/@workflow/publish", {}, 400, 400),
    ("ada", "pages/@workflow/publish", {}, 400, 400),
]


def prepare_what_is_refused(site: Site) -> None:
    with as_manager(site):
        inbox = site.portal.inbox
        for name in ("locked", "hidden", "deletable"):
            inbox.invokeFactory("Document", name)
        inbox.hidden.manage_permission("View", ["Manager"])
        inbox.manage_permission("Delete objects", ["Manager", "Site Administrator"])
        inbox.deletable.manage_permission("Delete objects", ["Editor"])
        login(site.portal, "bob")
        ILockable(inbox.locked).lock()
        login(site.portal, "ada")
        site.portal.invokeFactory("Folder", "pages")
        types = ISelectableConstrainTypes(site.portal.pages)
        types.setConstrainTypesMode(1)
        types.setLocallyAllowedTypes(["Document"])
        types.setImmediatelyAddableTypes(["Document"])
        site.portal.portal_workflow.doActionFor(site.portal.archive, "publish")
        site.portal.portal_workflow.setChainForPortalTypes(["Folder"], "")


def test_answers_are_those_of_plone_restapi_or_better(site: Site) -> None:
    prepare_what_is_refused(site)
    found = []
    for user, path, body, *_ in ANSWERS:
        client = site.client(user)
        given = {"data": body} if isinstance(body, str) else {"json": body}
        later = client.post(path, headers=ASYNC, **given)
        assert site.jobs() == [], later.text
        assert "Preference-Applied" not in later.headers
        assert "Location" not in later.headers
        now = client.post(path, **given)
        found.append((user, path, body, now.status_code, later.status_code))
    assert found == ANSWERS


def test_dates_of_a_publication_are_looked_at_in_the_job(site: Site, ada: Any) -> None:
    job = put(ada, "inbox/page0/@workflow/publish", {"effective": "nonsense"})
    site.run()
    assert "Invalid date: nonsense" in asked(ada, job)["error"]["message"]


def test_a_transition_may_have_a_long_name_and_a_title_what_it_likes(site: Site, ada: Any) -> None:
    with as_manager(site):
        site.portal.inbox.page0.title = "a\nb\x00<b>${target}" + "y" * 2000
        site.portal.portal_workflow.setChainForPortalTypes(["Folder"], "")
    job = put(ada, "archive/@copy", {"source": "/inbox/page0"})
    assert job["title"].startswith("Copy “a\nb\x00<b>${target}y")
    assert job["title"].endswith("…” to “Archive”")
    job = put(ada, f"archive/@workflow/{'x' * 2000}", {"include_children": True})
    assert job["title"].startswith("x" * 60 + "…: “")


def test_nobody_in_particular_is_answered_at_once(site: Site) -> None:
    """There would be nobody who could ask for the job."""
    with as_manager(site):
        workflow = site.portal.portal_workflow
        for each in (site.portal.inbox, site.portal.inbox.page0, site.portal.archive):
            workflow.doActionFor(each, "publish")
        page = site.portal.inbox.page0
        page._Modify_portal_content_Permission = ("Anonymous", "Manager")
        page._Review_portal_content_Permission = ("Anonymous", "Manager")
    anonymous = site.client(None)
    answer = anonymous.post("inbox/page0/@workflow/reject", headers=ASYNC)
    assert (answer.status_code, "Preference-Applied" in answer.headers) == (200, False)
    assert answer.json()["review_state"] == "private"
    assert site.jobs() == []


@pytest.mark.parametrize("host", ["", "/VirtualHostBase/https/example.org:443"])
def test_an_api_below_its_own_name_is_none_for_browsers(site: Site, host: str) -> None:
    """What asks there is a program, also if it takes HTML as well."""
    server = site.base.rpartition("/")[0]
    root = "VirtualHostRoot/" if host else ""
    client = site.client("ada", base=f"{server}{host}/plone/++api++/{root}".rstrip("/"))
    client.headers["Accept"] = "text/html,*/*"
    public = "https://example.org" if host else site.base
    job = put(client, "archive/@copy", {"source": f"{public}/inbox/page0"})
    assert job["@id"].startswith(f"{public}/@jobs/")
    site.run()
    answer = client.get(f"@jobs/{job['@id'].rpartition('/')[2]}")
    assert answer.json()["result"][0]["target"] == f"{public}/archive/page0"


class Request:
    def __init__(self, prefer: str) -> None:
        self.prefer = prefer

    def getHeader(self, name: str) -> str:
        return self.prefer


@pytest.mark.parametrize(
    "header",
    [
        'respond-async="' + '\\"' * 100_000 + "\\",
        '"a' * 100_001 + "\\respond-async",
        "respond-async" + " " * 100_000 + "x",
    ],
)
def test_a_long_header_costs_no_more_than_its_length(header: str) -> None:
    """It did the cube of it: minutes for anybody who may view a page."""
    assert wants_async(Request(header)) is False


# Where no jobs are taken


def test_a_queue_that_is_drained_takes_no_jobs_now(site: Site, ada: Any) -> None:
    with as_manager(site):
        operations.deeds.drain(site.app._p_jar, "", "moving house")
    answer = ada.post("archive/@copy", json={"source": sources(site, 0, 1)}, headers=ASYNC)
    assert (answer.status_code, answer.json()["type"]) == (503, "ServiceUnavailable")
    assert "moving house" in answer.json()["message"]
    assert "Preference-Applied" not in answer.headers
    assert site.jobs() == []


def test_without_queues_there_are_no_jobs(site: Site, ada: Any) -> None:
    with as_manager(site):
        del site.app._p_jar.root()[defaults.QUEUES_KEY]
    answer = ada.post("archive/@copy", json={"source": sources(site, 0)}, headers=ASYNC)
    assert answer.status_code == 503


# Jobs


def test_numbers_of_a_list_that_cannot_be(site: Site, ada: Any) -> None:
    for bad in (f"b_size={'9' * 5000}", "b_size=1&b_size=2", "before:int=3", "before:list=3"):
        assert ada.get(f"@jobs?{bad}").status_code == 400, bad
    for job_id in ("9" * 5000, "%D9%A1", "0", "%00", "@@view"):
        assert ada.get(f"@jobs/{job_id}").status_code == 404, job_id


def test_the_list_is_that_of_the_site(site: Site) -> None:
    """Also for who may see the jobs of all sites."""
    with as_manager(site):
        here = put_in_plone(plone_jobs.look, site.portal)
        there = put_in_plone(plone_jobs.look, site.portal, realm="/elsewhere")
    site.app.acl_users.userFolderAddUser("root", PASSWORD, ["Manager"], [])
    transaction.commit()
    root = site.client("root")
    listed = root.get("@jobs").json()["items"]
    assert [item["@id"] for item in listed] == [f"{site.base}/@jobs/{here.id}"]
    assert root.get(f"@jobs/{there.id}").status_code == 200
    assert site.client("boss").get(f"@jobs/{there.id}").status_code == 404


def test_ones_own_copy_may_be_retried_but_not_any_job_of_ones_own(site: Site, ada: Any) -> None:
    """The first one could ask for again; what code has put may do more than they may."""
    job = put(ada, "archive/@copy", {"source": "/inbox/page0"})
    with as_manager(site):
        site.portal.archive.manage_permission("Add portal content", ["Manager"])
        code = put_in_plone(plone_jobs.look, site.portal, run_as=SYSTEM)
        parts = zodbjobs.serial(zodbjobs.Job(plone_jobs.look, site.portal))
        put_in_zope(parts, run_as=SYSTEM)
        for each in (code, parts):
            each.cancel()
    site.run()
    for other in (code, parts):
        assert other.owner == "/plone/acl_users/ada"
        assert ada.post(f"@jobs/{other.id}/retry").status_code == 403
    assert asked(ada, job)["error"]["type"] == "Unauthorized"
    assert site.client("bob").post(f"{job['@id']}/retry").status_code == 404
    assert ada.post(f"{job['@id']}/retry").status_code == 202
    site.run()
    assert site.ids("archive") == []  # they may not add there by now either
    with as_manager(site):
        site.portal.archive.manage_permission("Add portal content", ["Contributor"], acquire=1)
    assert ada.post(f"{job['@id']}/retry").status_code == 202
    site.run()
    assert site.ids("archive") == ["page0"]
    assert ada.post(f"{job['@id']}/retry").status_code == 409
    deeds = zodbjobs.insights.list_audit(site.app._p_jar)
    assert {(deed.action, deed.by) for deed in deeds} >= {("retry", "/plone/acl_users/ada")}


# Two sites in one database


def add_site(site: Site, name: str) -> None:
    """A site with an Ada of its own, who has the same password."""
    site.app.acl_users.userFolderAddUser("root", PASSWORD, ["Manager"], [])
    login(site.app, "root")
    profiles = ("plone.app.contenttypes", "plone.restapi", "zodbjobs.plone")
    ids = [f"{profile}:default" for profile in profiles]
    made = addPloneSite(site.app, name, setup_content=False, extension_ids=ids)
    setSite(made)
    made.acl_users.userFolderAddUser("ada", PASSWORD, ["Member", "Editor", "Contributor"], [])
    made.invokeFactory("Folder", "archive", title="Archive")
    setSite(None)
    transaction.commit()


def test_users_of_one_id_in_two_sites_are_two(site: Site, ada: Any) -> None:
    """Also where the one site is reached by way of the other."""
    job_id = put(ada, "archive/@copy", {"source": "/inbox/page0"})["@id"].rpartition("/")[2]
    add_site(site, "other")
    server = site.base.rpartition("/")[0]
    for path in ("other", "plone/other", "other/plone"):
        theirs = site.client("ada", base=f"{server}/{path}")
        assert job_id not in theirs.get("@jobs").text
        for method, more in (("GET", ""), ("DELETE", ""), ("POST", "/retry")):
            assert theirs.request(method, f"@jobs/{job_id}{more}").status_code == 404, path
    assert asked(ada, {"@id": f"{site.base}/@jobs/{job_id}"})["outcome"] is None
    root = site.client("root", base=f"{server}/other")
    assert root.get("@jobs").json()["items"] == []


def test_a_site_that_is_made_anew_has_no_job_of_the_old_one(site: Site, ada: Any) -> None:
    """Its Ada could see the job, for she has the id, and isn't acted for."""
    job = put(ada, "archive/@copy", {"source": "/inbox/page0"})
    setSite(None)
    site.app._delObject("plone", suppress_events=True)
    add_site(site, "plone")
    zodbjobs.testing.run_jobs(site.db)
    assert asked(ada, job)["error"]["type"] == "SiteGone"
