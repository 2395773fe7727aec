"""A site with plone.restapi for tests, and clients that ask it over HTTP, as Volto would.

Its fixtures are imported by the tests that take them.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import plone_layer
import pytest
import requests
import transaction
from plone import api
from plone.app.contenttypes.testing import PLONE_APP_CONTENTTYPES_FIXTURE
from plone.app.testing import (
    FunctionalTesting,
    applyProfile,
    login,
    setRoles,
)
from plone.testing.zope import WSGI_SERVER_FIXTURE
from Products.SiteAccess.VirtualHostMonster import manage_addVirtualHostMonster
from zope.component import getGlobalSiteManager
from ZPublisher.pubevents import PubBeforeCommit

import zodbjobs
from zodbjobs.plone.testing import JobsLayer
from zodbjobs.testing import run_jobs

PASSWORD = "correct horse battery"
ASYNC = {"Prefer": "respond-async"}


class RestLayer(JobsLayer):
    defaultBases = (PLONE_APP_CONTENTTYPES_FIXTURE,)

    def setUpZope(self, app: Any, configurationContext: Any) -> None:
        import plone.restapi

        self.loadZCML(package=plone.restapi, context=configurationContext)
        super().setUpZope(app, configurationContext)
        manage_addVirtualHostMonster(app, "virtual_hosting")

    def setUpPloneSite(self, portal: Any) -> None:
        applyProfile(portal, "plone.restapi:default")
        super().setUpPloneSite(portal)
        portal.portal_workflow.setDefaultChain("simple_publication_workflow")
        for name, roles in (
            ("ada", ["Member", "Editor", "Contributor", "Reviewer"]),
            ("bob", ["Member", "Editor", "Contributor"]),
            ("mia", ["Member"]),
            ("boss", ["Member", "Site Administrator"]),
        ):
            portal.acl_users.userFolderAddUser(name, PASSWORD, roles, [])


LAYER = FunctionalTesting(bases=(RestLayer(), WSGI_SERVER_FIXTURE), name="RestLayer:Functional")


class Client(requests.Session):
    """Asks a site as Volto does."""

    def __init__(self, base: str, user: str | None, password: str = PASSWORD) -> None:
        super().__init__()
        self.base = base
        self.headers["Accept"] = "application/json"
        if user is not None:
            self.auth = (user, password)

    def request(self, method: Any, url: Any, *args: Any, **kwargs: Any) -> Any:
        if not url.startswith("http"):
            url = f"{self.base}/{url.lstrip('/')}"
        kwargs.update(timeout=60, allow_redirects=False)
        return super().request(method, url, *args, **kwargs)


@pytest.fixture(scope="module")
def _layer() -> Iterator[Any]:
    with plone_layer.set_up(LAYER):
        yield LAYER


class Site:
    """The site of one test, and those who use it."""

    def __init__(self, layer: Any) -> None:
        self.portal = layer["portal"]
        self.app = layer["app"]
        self.db = self.app._p_jar.db()
        self.base = self.portal.absolute_url()
        self._clients: list[Client] = []

    def client(
        self, user: str | None, password: str = PASSWORD, base: str | None = None
    ) -> Client:
        client = Client(base or self.base, user, password)
        self._clients.append(client)
        return client

    def close(self) -> None:
        for client in self._clients:
            client.close()

    def refresh(self) -> None:
        transaction.begin()

    def jobs(self) -> list[Any]:
        """All jobs, the newest first."""
        self.refresh()
        return zodbjobs.insights.list_jobs(self.app._p_jar)

    def ids(self, folder: str) -> list[str]:
        self.refresh()
        return list(self.portal[folder].objectIds())

    def catalogued(self, folder: str) -> list[str]:
        self.refresh()
        path = "/".join(self.portal[folder].getPhysicalPath())
        found = self.portal.portal_catalog.unrestrictedSearchResults(
            path={"query": path, "depth": 1}
        )
        return sorted(brain.getId for brain in found)

    def run(self) -> int:
        count = run_jobs(self.db)
        self.refresh()
        return count


@pytest.fixture
def site(_layer: Any) -> Iterator[Site]:
    with plone_layer.test_of(_layer):
        site = Site(_layer)
        login(site.portal, "ada")
        setRoles(site.portal, "ada", ["Manager"])
        site.portal.invokeFactory("Folder", "inbox", title="Inbox")
        site.portal.invokeFactory("Folder", "archive", title="Archive")
        for number in range(3):
            site.portal.inbox.invokeFactory("Document", f"page{number}", title=f"Page {number}")
        setRoles(site.portal, "ada", ["Member", "Editor", "Contributor", "Reviewer"])
        transaction.commit()
        yield site
        site.close()


@pytest.fixture
def ada(site: Site) -> Client:
    return site.client("ada")


def sources(site: Site, *numbers: int) -> list[str]:
    return [f"{site.base}/inbox/page{number}" for number in numbers]


def put(client: Client, what: str, body: Any, **headers: str) -> Any:
    """The JSON of the job that a request was accepted with."""
    answer = client.post(what, json=body, headers={**ASYNC, **headers})
    assert answer.status_code == 202, (answer.status_code, answer.text)
    assert answer.headers["Preference-Applied"] == "respond-async"
    assert answer.headers["Location"] == answer.json()["@id"]
    return answer.json()


def asked(client: Client, job: Any) -> Any:
    """What a job is by now."""
    answer = client.get(job["@id"])
    assert answer.status_code == 200, answer.text
    return answer.json()


@contextlib.contextmanager
def as_manager(site: Site) -> Iterator[None]:
    """Changes of somebody who may do everything, committed at the end."""
    site.refresh()
    with api.env.adopt_roles(["Manager"]):
        yield
    transaction.commit()


@contextlib.contextmanager
def handled(handler: Any) -> Iterator[None]:
    registry = getGlobalSiteManager()
    registry.registerHandler(handler, (PubBeforeCommit,))
    try:
        yield
    finally:
        registry.unregisterHandler(handler, (PubBeforeCommit,))
