"""Jobs in Plone, on the layer that add-ons test with."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from typing import Any

import plone_jobs
import pytest
import transaction
from plone.app.testing import (
    SITE_OWNER_NAME,
    SITE_OWNER_PASSWORD,
    TEST_USER_ID,
    TEST_USER_NAME,
    login,
    logout,
    setRoles,
)
from plone.base.interfaces import INonInstallable
from plone.base.utils import get_installer
from plone.indexer import indexer
from plone.protect.interfaces import IDisableCSRFProtection
from plone.testing.zope import Browser
from plone_layer import FUNCTIONAL, set_up, test_of
from Products.CMFCore import indexing
from Products.CMFCore.utils import getToolByName
from zope.component import getGlobalSiteManager, getUtilitiesFor
from zope.globalrequest import getRequest
from zope.i18n import translate
from zope.i18nmessageid import Message
from zope.interface import Interface
from ZPublisher.HTTPRequest import HTTPRequest

import zodbjobs
from zodbjobs import operations
from zodbjobs.errors import BadArgument
from zodbjobs.plone import put, put_view
from zodbjobs.plone.interfaces import IJobsLayer
from zodbjobs.plone.testing import run_jobs
from zodbjobs.testing import run_jobs as run_jobs_of

test_of.__test__ = False  # type: ignore[attr-defined]


@pytest.fixture(scope="module")
def layer() -> Iterator[Any]:
    with set_up(FUNCTIONAL) as found:
        yield found


@pytest.fixture
def portal(layer: Any) -> Iterator[Any]:
    """A site with a folder of three documents, in which the user of the test may do everything."""
    plone_jobs.seen.clear()
    with test_of(layer):
        site = layer["portal"]
        setRoles(site, TEST_USER_ID, ["Manager"])
        site.invokeFactory("Folder", "papers", title="Papers")
        for name in ("a", "b", "c"):
            site.papers.invokeFactory("Document", name, title=name.upper())
        transaction.commit()
        yield site


def states(portal: Any) -> dict[str, str]:
    """What the catalog says of the documents."""
    transaction.begin()
    brains = portal.portal_catalog.unrestrictedSearchResults(portal_type="Document")
    return {brain.getPath().removeprefix("/plone/"): brain.review_state for brain in brains}


def all_in_state(state: str) -> dict[str, str]:
    return {f"papers/{name}": state for name in ("a", "b", "c")}


def only_job(portal: Any) -> Any:
    [job] = zodbjobs.jobs_in("/plone", portal)
    return job


# Put


def test_a_job_runs_as_the_user_in_the_site_and_what_it_indexes_is_in_its_commit(
    portal: Any,
) -> None:
    job = put(plone_jobs.publish, portal.papers, title="Publish papers")
    assert run_jobs(portal) == 1
    assert job.result == "published"
    assert states(portal) == all_in_state("published")
    assert job.owner == f"/plone/acl_users/{TEST_USER_ID}"
    assert job.realm == "/plone"
    assert [each.id for each in zodbjobs.jobs_about(portal.papers.aq_base)] == [job.id]


def test_a_job_finds_what_a_request_of_the_site_has(portal: Any) -> None:
    getRequest().set("LANGUAGE", "de")
    job = put(plone_jobs.look, portal.papers)
    run_jobs(portal)
    layers = job.result.pop("layers")
    assert job.result == {
        "user": TEST_USER_ID,
        "site": "/plone",
        "language": "de",
        "url": "http://nohost/plone/papers",
        "indexed": 0,
    }
    assert {"IJobsLayer", "IDisableCSRFProtection"} <= set(layers)
    assert not IDisableCSRFProtection.providedBy(getRequest())


def test_who_may_not_does_nothing(portal: Any) -> None:
    setRoles(portal, TEST_USER_ID, ["Member"])
    job = put(plone_jobs.publish, portal.papers)
    assert run_jobs(portal, may_fail=True) == 1
    assert "WorkflowException" in job.failure.type or "Unauthorized" in job.failure.type
    assert states(portal) == all_in_state("private")


def test_the_layer_fails_where_a_job_does(portal: Any) -> None:
    setRoles(portal, TEST_USER_ID, ["Member"])
    put(plone_jobs.publish, portal.papers)
    with pytest.raises(AssertionError, match="in publish"):
        run_jobs(portal)


def test_content_that_is_new_comes_back_wrapped(portal: Any) -> None:
    portal.papers.invokeFactory("Document", "d", title="D")
    put(plone_jobs.publish, portal.papers, "d")
    run_jobs(portal)
    assert states(portal)["papers/d"] == "published"


def test_moved_renamed_deleted(portal: Any) -> None:
    portal.invokeFactory("Folder", "archive")
    put(plone_jobs.move, portal.archive, portal.papers.a)
    put(plone_jobs.rename, portal.papers, b="bb")
    put(plone_jobs.delete, portal.papers, "c")
    assert run_jobs(portal) == 3
    assert states(portal) == {"archive/a": "private", "papers/bb": "private"}


# Indexing


def test_what_is_indexed_is_indexed_with_user_site_and_request(portal: Any) -> None:
    seer = indexer(Interface)(plone_jobs.indexed_by)
    registry = getGlobalSiteManager()
    portal.portal_catalog.addIndex("seen_by", "FieldIndex")
    registry.registerAdapter(seer, name="seen_by")
    try:
        put(plone_jobs.index_again, portal.papers.a)
        transaction.commit()
        plone_jobs.seen.clear()
        run_jobs(portal)
    finally:
        registry.unregisterAdapter(seer, name="seen_by")
    assert plone_jobs.seen
    assert set(plone_jobs.seen) == {(TEST_USER_ID, "plone", True)}


def test_what_a_job_has_left_to_be_indexed_is_not_there_for_the_next(portal: Any) -> None:
    put(plone_jobs.leave_something_indexed, portal.papers.a, quota=None)
    look = put(plone_jobs.look, portal.papers, quota=None)
    run_jobs(portal, may_fail=True)
    assert look.result["indexed"] == 0
    assert indexing.getQueue().length() == 0


def test_what_a_test_has_indexed_is_there_after_its_jobs(portal: Any) -> None:
    put(plone_jobs.look, portal.papers)
    transaction.commit()
    portal.papers.a.setTitle("Another")
    portal.papers.a.reindexObject()
    run_jobs_of(portal._p_jar.db())
    assert indexing.getQueue().length() == 1
    transaction.commit()
    assert portal.portal_catalog(Title="Another")


# The quota of the catalog


def test_jobs_that_write_to_the_catalog_run_one_at_a_time(portal: Any) -> None:
    job = put(plone_jobs.look, portal.papers)
    free = put(plone_jobs.look, portal.papers, quota=None)
    assert job.quota_names == ("catalog",)
    assert free.quota_names == ()
    queue = zodbjobs.get_queue(portal)
    assert queue.quotas["catalog"].size == 1
    operations.deeds.change_quota(portal._p_jar, "", "catalog", 3)
    put(plone_jobs.look, portal.papers)
    assert queue.quotas["catalog"].size == 3


def test_another_quota_must_be_there(portal: Any) -> None:
    with pytest.raises(BadArgument, match="no quota 'cat'"):
        put(plone_jobs.look, portal.papers, quota="cat")


# Views


def test_a_view_runs_with_a_form_of_its_own(portal: Any) -> None:
    job = put_view(portal.papers.a, "set-title", {"title": "Minutes"})
    run_jobs(portal)
    assert job.result == "Minutes"
    assert portal.portal_catalog(Title="Minutes")
    assert "title" not in getRequest().form


def test_a_view_asks_for_its_permission_in_the_job(portal: Any) -> None:
    job = put_view(portal.papers.a, "set-title", {"title": "Minutes"})
    setRoles(portal, TEST_USER_ID, ["Member"])
    for owned in (portal.papers, portal.papers.a):
        owned.manage_delLocalRoles([TEST_USER_ID])
    run_jobs(portal, may_fail=True)
    assert job.failure.type.endswith("Unauthorized")
    assert portal.papers.a.title == "A"


def test_a_view_that_is_not_there_is_refused(portal: Any) -> None:
    with pytest.raises(BadArgument, match="no view 'set-titel'"):
        put_view(portal.papers.a, "set-titel", {})


def test_a_view_leaves_a_file_and_may_fail(portal: Any) -> None:
    made, sad = put_view(portal, "numbers.csv"), put_view(portal, "sad")
    run_jobs(portal, may_fail=True)
    assert made.attachments["numbers.csv"].content_type == "text/csv"
    assert sad.failure.type == "zodbjobs.errors.ViewFailed"
    assert "404: no such thing" in sad.failure.message


# In the publication


def browser(layer: Any) -> Any:
    found = Browser(layer["app"])
    found.handleErrors = found.raiseHttpErrors = False
    found.addHeader("Authorization", f"Basic {SITE_OWNER_NAME}:{SITE_OWNER_PASSWORD}")
    return found


def token(portal: Any) -> str:
    from plone.protect.authenticator import createToken

    login(portal.aq_parent, SITE_OWNER_NAME)
    made = createToken()
    logout()
    return f"_authenticator={made}"


def test_accepted_is_answered_when_the_job_is_committed(layer: Any, portal: Any) -> None:
    visitor = browser(layer)
    visitor.post("http://nohost/plone/papers/@@put-publish", token(portal))
    assert visitor.headers["Status"].startswith("202")
    transaction.begin()
    job = only_job(portal)
    assert visitor.headers["Location"] == f"http://nohost/plone/@@jobs/jobs/{job.id}"
    assert json.loads(visitor.contents)["title"] == "Publish all"
    run_jobs(portal)
    assert states(portal) == all_in_state("published")


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_what_plone_protect_aborts_is_an_error_and_in_the_log(
    layer: Any, portal: Any, method: str, caplog: pytest.LogCaptureFixture
) -> None:
    visitor = browser(layer)
    visitor.handleErrors = True
    url = "http://nohost/plone/papers/@@put-publish"
    with caplog.at_level(logging.ERROR, "zodbjobs"):
        visitor.open(url) if method == "GET" else visitor.post(url, "x=1")
    assert not visitor.headers["Status"].startswith("2")
    assert "location" not in visitor.headers
    transaction.begin()
    assert not list(zodbjobs.jobs_in("/plone", portal))
    [said] = [each.getMessage() for each in caplog.records if each.name == "zodbjobs"]
    assert f"what {method} {url} has put isn't there" in said
    assert "plone_jobs:publish" in said
    assert "no valid token" in said


def test_a_transaction_that_is_doomed_is_answered_with_an_error(layer: Any, portal: Any) -> None:
    visitor = browser(layer)
    visitor.post("http://nohost/plone/papers/@@put-publish?doom=1", token(portal))
    assert visitor.headers["Status"].startswith("500")
    transaction.begin()
    assert not list(zodbjobs.jobs_in("/plone", portal))


def test_a_conflict_puts_one_job(
    layer: Any,
    portal: Any,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(HTTPRequest, "retry_max_count", 3)  # as zope.conf has it
    visitor = browser(layer)
    visitor.handleErrors = True  # as a conflict is raised otherwise
    visitor.post("http://nohost/plone/papers/@@put-publish?conflict=1", token(portal))
    assert plone_jobs.seen == ["conflict"]
    assert visitor.headers["Status"].startswith("202")
    transaction.begin()
    assert visitor.headers["Location"].endswith(f"/{only_job(portal).id}")
    assert not [each for each in caplog.records if each.name == "zodbjobs"]


# The add-on


def user_actions(portal: Any) -> list[str]:
    return list(portal.portal_actions.user.objectIds())


def configlets(portal: Any) -> list[str]:
    return [each.getId() for each in portal.portal_controlpanel.listActions()]


def roles_with(portal: Any, permission: str) -> list[str]:
    return [each["name"] for each in portal.rolesOfPermission(permission) if each["selected"]]


def test_the_add_on_is_installed_and_uninstalled(portal: Any) -> None:
    installer = get_installer(portal, portal.REQUEST)
    assert installer.is_product_installed("zodbjobs.plone")
    assert user_actions(portal).index("zodbjobs") < user_actions(portal).index("logout")
    assert "zodbjobs" in configlets(portal)
    assert IJobsLayer.providedBy(portal.REQUEST)
    for permission in ("zodbjobs: View jobs", "zodbjobs: Manage jobs"):
        assert roles_with(portal, permission) == ["Manager", "Site Administrator"]

    assert installer.uninstall_product("zodbjobs.plone")
    assert "zodbjobs" not in user_actions(portal)
    assert "zodbjobs" not in configlets(portal)
    for permission in ("zodbjobs: View jobs", "zodbjobs: Manage jobs"):
        assert roles_with(portal, permission) == ["Manager"]
        assert portal.acquiredRolesAreUsedBy(permission)
    from plone.browserlayer.utils import registered_layers

    assert IJobsLayer not in registered_layers()
    assert installer.install_product("zodbjobs.plone")


def test_the_uninstall_profile_is_not_offered(portal: Any) -> None:
    hidden = [
        name
        for _, utility in getUtilitiesFor(INonInstallable)
        for name in utility.getNonInstallableProfiles()
    ]
    assert "zodbjobs.plone:uninstall" in hidden
    assert "zodbjobs.plone:default" not in hidden


def test_what_users_read_is_in_their_language(portal: Any) -> None:
    action = portal.portal_actions.user.zodbjobs
    texts = [action.title, action.description, "Background jobs"]
    german = [translate(Message(each, "zodbjobs"), target_language="de") for each in texts]
    assert german == [
        "Meine Aufträge",
        "Was im Hintergrund für Sie erledigt wird",
        "Hintergrundaufträge",
    ]
    english = [translate(Message(each, "zodbjobs"), target_language="en") for each in texts]
    assert english == texts
    assert action.i18n_domain == "zodbjobs"


def test_the_user_of_a_job_is_found_again(portal: Any) -> None:
    logout()
    login(portal, TEST_USER_NAME)
    job = put(plone_jobs.look, portal)
    assert getToolByName(portal, "portal_membership").getAuthenticatedMember().getId()
    run_jobs(portal)
    assert job.result["user"] == TEST_USER_ID
