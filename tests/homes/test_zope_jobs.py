"""Jobs in Zope: the user, the site, the request and the content that they were put with."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator
from typing import Any

import homes_jobs as jobs
import pytest
import transaction
from AccessControl import getSecurityManager
from AccessControl.SecurityManagement import newSecurityManager, noSecurityManager
from AccessControl.users import UnrestrictedUser, nobody, system
from Acquisition import Implicit, aq_base
from OFS.Application import Application
from OFS.Folder import Folder, manage_addFolder
from OFS.SimpleItem import SimpleItem
from persistent import Persistent
from Testing.ZopeTestCase import ZopeLite
from ZEO.Exceptions import ClientDisconnected
from ZODB import DB
from ZODB.POSException import ReadConflictError
from zope.component.globalregistry import base
from zope.component.hooks import getSite, setSite
from zope.component.interfaces import ISite
from zope.globalrequest import clearRequest, getRequest, setRequest
from zope.interface import alsoProvides
from zope.publisher.interfaces import IEndRequestEvent
from zope.security.management import endInteraction
from ZTUtils.Lazy import LazyMap

import zodbjobs
import zodbjobs.zope
from zodbjobs.errors import BadArgument, ContextGone
from zodbjobs.testing import run_jobs
from zodbjobs.zope import users
from zodbjobs.zope.application import application, make_request


class Site(Folder):
    """A site with the registry of the process."""

    def getSiteManager(self) -> Any:
        return base


@pytest.fixture(scope="module")
def database() -> Any:
    app = ZopeLite.app()
    db = app._p_jar.db()
    app._p_jar.close()
    zodbjobs.install(db)
    zodbjobs.zope.load()
    yield db
    zodbjobs.zope.unload()


@pytest.fixture
def app(database: Any) -> Iterator[Any]:
    """The application, with a request of Ada's below a virtual host, in a site of hers."""
    connection = database.open()
    request = make_request("de")
    request.setServerURL("https", "example.org")
    app = application(connection, request)
    request["PARENTS"] = [app]
    request.setVirtualRoot("zope")
    app._setObject("site", Site("site"))
    alsoProvides(app.site, ISite)
    app.site.manage_addUserFolder()
    app.site.acl_users.userFolderAddUser("ada", "secret", ["Manager"], [])
    manage_addFolder(app.site, "docs")
    manage_addFolder(app.site.docs, "one")
    transaction.commit()
    enter(app, request)
    yield app
    leave()
    transaction.abort()
    app._delObject("site")
    transaction.commit()
    zodbjobs.testing.run_jobs(database)
    connection.close()


def enter(app: Any, request: Any) -> None:
    setRequest(request)
    setSite(app.site)
    newSecurityManager(None, app.site.acl_users.getUserById("ada").__of__(app.site.acl_users))


def leave() -> None:
    noSecurityManager()
    setSite(None)
    clearRequest()
    endInteraction()


def run(database: Any, job: Any) -> Any:
    """Run a job as a worker would; its result."""
    transaction.commit()
    run_jobs(database)
    transaction.begin()
    return job.result


def test_a_job_runs_as_the_user_in_the_site_with_a_request(database: Any, app: Any) -> None:
    alsoProvides(app.REQUEST, jobs.ILayer)
    app.REQUEST.set("LANGUAGE", "de")
    job = zodbjobs.zope.put(jobs.look_around, app.site.docs)
    assert (job.owner, job.realm) == ("/site/acl_users/ada", "/site")
    found = run(database, job)
    assert found == {
        "user": "ada",
        "roles": ["Manager", "Authenticated"],
        "site": "/site",
        "url": "https://example.org/zope/site/docs",
        "path": "/site/docs",
        "request": True,
        "language": "de",
        "layer": True,
        "form": {},
        "permitted": True,
    }


def test_nothing_of_it_stays_in_the_thread(database: Any, app: Any) -> None:
    leave()
    assert run(database, zodbjobs.get_queue(app._p_jar).put(jobs.who)) == ["Anonymous User", None]
    assert getRequest() is None
    assert getSite() is None


def test_content_comes_back_wrapped_wherever_it_is(database: Any, app: Any) -> None:
    docs, one = app.site.docs, app.site.docs.one
    job = zodbjobs.zope.put(jobs.paths_of, [docs, {"it": one}], more=(one, "text", [1]))
    assert run(database, job) == "/site/docs /site/docs/one /site/docs/one text 1"


def test_a_method_of_content_is_called_on_it_wrapped(database: Any, app: Any) -> None:
    job = zodbjobs.zope.put(app.site.docs.one.getPhysicalPath)
    assert run(database, job) == ("", "site", "docs", "one")
    assert job.description == "Folder.getPhysicalPath"


def test_new_content_is_found_after_the_commit(database: Any, app: Any) -> None:
    manage_addFolder(app.site, "new")
    job = zodbjobs.zope.put(jobs.paths_of, [app.site.new])
    assert run(database, job) == "/site/new"


def test_content_that_is_returned_is_kept_with_its_place(database: Any, app: Any) -> None:
    job = zodbjobs.zope.put(jobs.add_folder, app.site, "made")
    result = run(database, job)
    assert repr(result) == "<Folder at /site/made>"
    assert result.load().absolute_url() == "https://example.org/zope/site/made"


def test_a_job_changes_content_in_one_commit_with_its_end(database: Any, app: Any) -> None:
    job = zodbjobs.zope.put(jobs.retitle, app.site.docs, "New")
    run(database, job)
    assert (job.outcome, app.site.docs.title) == ("succeeded", "New")


@pytest.mark.parametrize("how", ["deleted", "replaced", "moved"])
def test_what_is_gone_fails_the_job_and_is_never_called(database: Any, app: Any, how: str) -> None:
    job = zodbjobs.zope.put(jobs.retitle, app.site.docs.one, "New")
    transaction.commit()
    bare = aq_base(app.site.docs.one)
    app.site.docs._delObject("one")
    if how == "replaced":
        manage_addFolder(app.site.docs, "one")
    if how == "moved":
        app.site._setObject("two", bare)
        bare.id = "two"
    failure = run(database, job)
    assert failure.type == "zodbjobs.errors.ObjectGone", failure
    assert "/site/docs/one" in str(failure)
    assert bare.title == ""
    assert job.attempts == 1


def test_content_in_another_database_than_the_queue(database: Any, app: Any) -> None:
    assert run(database, zodbjobs.zope.put(jobs.root_of_the_application)) is True


def test_a_user_who_is_gone_fails_the_job(database: Any, app: Any) -> None:
    job = zodbjobs.zope.put(jobs.who)
    transaction.commit()
    app.site.acl_users.userFolderDelUsers(["ada"])
    failure = run(database, job)
    assert failure.type == "zodbjobs.errors.UserGone"
    assert "/site/acl_users/ada" in str(failure)


def test_a_site_that_is_gone_fails_the_job(database: Any, app: Any) -> None:
    job = zodbjobs.zope.put(jobs.who, run_as=zodbjobs.zope.SYSTEM)
    transaction.commit()
    setSite(None)
    app._delObject("site")
    failure = run(database, job)
    assert failure.type == "zodbjobs.errors.SiteGone"
    app._setObject("site", Site("site"))
    transaction.commit()


def test_another_site_at_its_path_is_none_of_the_job(database: Any, app: Any) -> None:
    """It has a user of that id, who is somebody else."""
    job = zodbjobs.zope.put(jobs.who)
    transaction.commit()
    setSite(None)
    app._delObject("site")
    app._setObject("site", Site("site"))
    alsoProvides(app.site, ISite)
    app.site.manage_addUserFolder()
    app.site.acl_users.userFolderAddUser("ada", "secret", [], [])
    failure = run(database, job)
    assert failure.type == "zodbjobs.errors.SiteGone"
    assert "what is there now is another one" in str(failure)


def test_a_site_is_itself_when_it_was_copied_with_its_database(database: Any, app: Any) -> None:
    """Nor does it matter what its components, its title and its users are by then."""
    job = zodbjobs.zope.put(jobs.who)
    app.site.title = "Another"
    app.site._p_deactivate()
    assert run(database, job) == ["ada", "ada"]


def test_a_site_that_is_new_is_itself(database: Any, app: Any) -> None:
    app._setObject("new", Site("new"))
    alsoProvides(app.new, ISite)
    app.new.manage_addUserFolder()
    app.new.acl_users.userFolderAddUser("ada", "secret", [], [])
    enter(app, app.REQUEST)
    setSite(app.new)
    job = zodbjobs.zope.put(jobs.who)
    assert job.context["zope"]["mark"] == app.new._p_oid.hex()
    assert run(database, job) == ["ada", "ada"]
    app._delObject("new")
    transaction.commit()


def test_roles_are_those_of_when_it_runs(database: Any, app: Any) -> None:
    job = zodbjobs.zope.put(jobs.look_around, app.site.docs)
    transaction.commit()
    app.site.acl_users.userFolderEditUser("ada", None, ["Member"], [])
    assert run(database, job)["permitted"] is False


def test_run_as(database: Any, app: Any) -> None:
    app.site.acl_users.userFolderAddUser("bob", "secret", ["Member"], [])
    assert run(database, zodbjobs.zope.put(jobs.who, run_as="bob")) == ["bob", "bob"]
    job = zodbjobs.zope.put(jobs.who, run_as=zodbjobs.zope.SYSTEM)
    assert job.owner == "/site/acl_users/ada"
    assert run(database, job) == ["System Processes", None]
    with pytest.raises(BadArgument, match="no user 'eve'"):
        zodbjobs.zope.put(jobs.who, run_as="eve")


def test_what_trusted_code_puts_as_the_system_runs_as_the_system(database: Any, app: Any) -> None:
    newSecurityManager(None, system)
    assert run(database, zodbjobs.zope.put(jobs.who)) == ["System Processes", None]


class Loose(SimpleItem):
    """Content that is in no container."""

    id = "loose"


class Part(Implicit, Persistent):
    """What has an acquisition context, and isn't content."""


@pytest.mark.parametrize(
    ("make", "cure"),
    [
        (lambda app: app.REQUEST, "getRequest"),
        (lambda app: [app.REQUEST], "getRequest"),
        (lambda app: getSecurityManager().getUser(), "pass the id"),
        (lambda app: Loose(), "from its container"),
        (lambda app: Loose().__of__(app.site), "add a new one to its container first"),
        (lambda app: {"it": [Loose().__of__(app.site)]}, "add a new one to its container first"),
        (lambda app: aq_base(app.site.docs), "from its container"),
        (lambda app: aq_base(app.site.acl_users), "from its container"),
        (lambda app: Part(), "from its container"),
        (lambda app: app.REQUEST.response, "getRequest"),
        (lambda app: LazyMap(str, [1]), "brain.getObject"),
        (lambda app: nobody, "pass the id"),
        (lambda app: aq_base(app.site.acl_users.getUserById("ada")), "pass the id"),
    ],
)
def test_what_can_not_work_is_refused(database: Any, app: Any, make: Any, cure: str) -> None:
    with pytest.raises(BadArgument, match=cure) as raised:
        zodbjobs.zope.put(jobs.paths_of, make(app))
    assert "argument 1 of homes_jobs:paths_of" in str(raised.value)


def test_acquired_content_is_found_where_it_is(database: Any, app: Any) -> None:
    """By its own containers, not by the way on which it was reached."""
    job = zodbjobs.zope.put(jobs.paths_of, [app.site.docs.one.docs])
    assert run(database, job) == "/site/docs"


def test_without_zope_it_is_parked(
    database: Any, app: Any, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.CRITICAL)
    job = zodbjobs.zope.put(jobs.who)
    bare = zodbjobs.get_queue(app._p_jar).put(
        zodbjobs.Job(jobs.paths_of, [app.site.docs]), context=False
    )
    zodbjobs.zope.unload()
    try:
        run(database, job)
    finally:
        zodbjobs.zope.load()
    assert "needs a worker started with --zope-conf" in job.parked
    assert "needs a worker started with --zope-conf" in bare.parked
    for each in (job, bare):
        each.queue.retry(each)
    assert run(database, bare) == "/site/docs"


def test_a_job_fails_as_the_user_who_may_not(database: Any, app: Any) -> None:
    app.site.acl_users.userFolderAddUser("bob", "secret", ["Member"], [])
    job = zodbjobs.zope.put(jobs.delete_restricted, app.site, "docs", run_as="bob")
    assert run(database, job).type.endswith("Unauthorized")
    assert "docs" in app.site.objectIds()


def test_accepted_is_202_of_a_job_that_is_committed(database: Any, app: Any) -> None:
    job = zodbjobs.zope.put(jobs.who)
    body = zodbjobs.zope.accepted(app.REQUEST, job)
    transaction.commit()
    response = app.REQUEST.response
    assert response.getStatus() == 202
    url = f"https://example.org/zope/site/@@jobs/jobs/{zodbjobs.get_job_id(job)}"
    assert response.getHeader("Location") == url
    assert url in body


def test_a_browser_is_sent_to_the_bar(database: Any, app: Any) -> None:
    app.REQUEST.environ["HTTP_ACCEPT"] = "text/html,application/xhtml+xml;q=0.9"
    job = zodbjobs.zope.put(jobs.who)
    zodbjobs.zope.accepted(app.REQUEST, job)
    transaction.commit()
    response = app.REQUEST.response
    assert response.getStatus() == 303
    assert response.getHeader("Location").endswith(f"/@@jobs/jobs/{zodbjobs.get_job_id(job)}")


def test_a_browser_is_told_of_an_abort(database: Any, app: Any) -> None:
    app.REQUEST.environ["HTTP_ACCEPT"] = "text/html"
    zodbjobs.zope.accepted(app.REQUEST, zodbjobs.zope.put(jobs.who))
    transaction.abort()
    assert app.REQUEST.response.getStatus() == 500


def test_accepted_is_500_of_a_request_that_is_aborted(database: Any, app: Any) -> None:
    zodbjobs.zope.accepted(app.REQUEST, zodbjobs.zope.put(jobs.who))
    transaction.abort()
    response = app.REQUEST.response
    assert response.getStatus() == 500
    assert response.getHeader("Location") is None


def test_errors_are_errors_of_the_context() -> None:
    from zodbjobs import errors

    for name in ("UserGone", "SiteGone", "ObjectGone"):
        assert issubclass(getattr(errors, name), ContextGone)
    with contextlib.suppress(ContextGone):
        raise errors.ObjectGone


# Users who aren't what they seem


def test_a_made_up_user_is_refused(database: Any, app: Any) -> None:
    """A job would run as nobody, or as somebody of the same id."""
    folder = app.site.acl_users

    class Elevated(UnrestrictedUser):  # type: ignore[misc]
        def getId(self) -> Any:
            return self.getUserName()

    for user in (
        folder.data["ada"],
        UnrestrictedUser("ada", "", ("Manager",), []).__of__(folder),
        Elevated("bob", "", ("Manager",), []).__of__(folder),
    ):
        newSecurityManager(None, user)
        with pytest.raises(BadArgument, match="can't run as the current user"):
            zodbjobs.zope.put(jobs.who)
    job = zodbjobs.zope.put(jobs.who, run_as="ada")
    newSecurityManager(None, Elevated("ada", "", ("Owner",), []).__of__(folder))
    elevated = zodbjobs.zope.put(jobs.look_around, app.site.docs)
    assert run(database, job) == ["ada", "ada"]
    assert elevated.result["roles"] == ["Manager", "Authenticated"]


def test_the_emergency_user(database: Any, app: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    rescue = UnrestrictedUser("rescue", "", ("manage",), [])
    with monkeypatch.context() as patched:
        patched.setattr(users, "emergency_user", rescue)
        newSecurityManager(None, rescue.__of__(app.acl_users))
        assert run(database, zodbjobs.zope.put(jobs.who)) == ["rescue", None]
        job = zodbjobs.zope.put(jobs.who)
        transaction.commit()
    assert run(database, job).type == "zodbjobs.errors.UserGone"


def test_a_user_with_the_name_of_the_emergency_user_is_not_that(
    database: Any, app: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The user folder of Plone gives the emergency user for the id."""
    job = zodbjobs.zope.put(jobs.who)
    transaction.commit()
    rescue = UnrestrictedUser("ada", "", ("manage",), [])
    monkeypatch.setattr(users, "emergency_user", rescue)
    monkeypatch.setattr(
        type(aq_base(app.site.acl_users)), "getUserById", lambda *args: rescue, raising=False
    )
    assert run(database, job).type == "zodbjobs.errors.UserGone"


def test_what_is_no_user_folder_has_no_users(database: Any, app: Any) -> None:
    job = zodbjobs.zope.put(jobs.who)
    transaction.commit()
    app.site._delObject("acl_users")
    manage_addFolder(app.site, "acl_users")
    assert run(database, job).type == "zodbjobs.errors.UserGone"


def test_nobody_becomes_the_system_by_name(database: Any, app: Any) -> None:
    with pytest.raises(BadArgument, match="there is no user"):
        zodbjobs.zope.put(jobs.who, run_as=".".join(["zodbjobs", "zope", "SYSTEM"]))


# Sites and places that aren't what they seem


def test_a_site_that_has_no_place_is_refused(database: Any, app: Any) -> None:
    app.site.docs.part = Part()
    for site in (aq_base(app.site), app.site.docs.part):
        setSite(None)
        alsoProvides(site, ISite)
        site.getSiteManager = lambda: base
        setSite(site)
        del site.getSiteManager
        with pytest.raises(BadArgument, match="has no place below the application"):
            zodbjobs.zope.put(jobs.who)
    setSite(app.site)


def test_the_request_has_come_by_the_site(database: Any, app: Any) -> None:
    assert run(database, zodbjobs.zope.put(jobs.parents)) == ["/site", ""]


def test_the_language_is_not_taken_from_a_form_or_a_cookie(database: Any, app: Any) -> None:
    app.REQUEST.cookies["LANGUAGE"] = "fr"
    app.REQUEST.form["LANGUAGE"] = ["fr"]
    assert "language" not in zodbjobs.zope.put(jobs.who).context["zope"]


def test_an_id_that_no_path_can_have_is_refused(database: Any, app: Any) -> None:
    app.site._setOb("a/b", Folder("a/b"))
    with pytest.raises(BadArgument, match="has no place"):
        zodbjobs.zope.put(jobs.paths_of, [getattr(app.site, "a/b")])


class Liar(Folder):
    """Content that claims to be elsewhere."""

    def getPhysicalPath(self) -> tuple[str, ...]:
        return ("", "site", "docs", "one", "liar")


def test_content_is_in_its_containers_whatever_it_says(database: Any, app: Any) -> None:
    app.site._setObject("liar", Liar("liar"))
    job = zodbjobs.zope.put(jobs.containers_of, app.site.liar)
    assert run(database, job) == ["liar", "site", ""]


def test_moved_content_is_found_by_the_parents_that_it_stores(database: Any, app: Any) -> None:
    one = aq_base(app.site.docs.one)
    job = zodbjobs.zope.put(jobs.paths_of, [app.site.docs.one])
    transaction.commit()
    app.site.docs._delObject("one")
    manage_addFolder(app.site, "other")
    app.site.other._setObject("one", one)
    other, site = aq_base(app.site.other), aq_base(app.site)
    one.__parent__, other.__parent__, site.__parent__ = other, site, aq_base(app)
    assert run(database, job) == "/site/other/one"


@pytest.mark.parametrize("error", [ClientDisconnected("gone"), ReadConflictError("changed")])
def test_what_the_storage_raises_is_no_sign_that_content_is_gone(
    database: Any, app: Any, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    job = zodbjobs.zope.put(jobs.retitle, app.site.docs, "New")
    transaction.commit()
    left = [error]

    def traverse(site: Any, request: Any, name: str) -> Any:
        if left and name == "docs":
            raise left.pop()
        return getattr(site, name)

    monkeypatch.setattr(Site, "__bobo_traverse__", traverse, raising=False)
    run(database, job)
    assert (job.outcome, left) == ("succeeded", [])


def test_a_request_that_can_not_be_closed_hides_nothing(
    database: Any, app: Any, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.CRITICAL)

    def fail(event: Any) -> None:
        raise ValueError

    job = zodbjobs.zope.put(jobs.who)
    transaction.commit()
    app.site.acl_users.userFolderDelUsers(["ada"])
    base.registerHandler(fail, (IEndRequestEvent,))
    try:
        assert run(database, job).type == "zodbjobs.errors.UserGone"
    finally:
        base.unregisterHandler(fail, (IEndRequestEvent,))


# Several databases


@contextlib.contextmanager
def another_database(database: Any, app: Any, name: str) -> Iterator[Any]:
    """A connection to another database that is open together with that of the application."""
    DB(None, database_name=name, databases=database.databases)
    try:
        yield app._p_jar.get_connection(name)
    finally:
        transaction.abort()
        # Not closed, for connections in the pool have one to it.
        del database.databases[name], app._p_jar.connections[name]


@contextlib.contextmanager
def mounted(database: Any, app: Any, name: str) -> Iterator[Any]:
    """A site in a database of that name, which has an application in its root, as Zope makes it
    for a mount point.
    """
    with another_database(database, app, name) as connection:
        inner = connection.root()["Application"] = Application()
        inner._setObject(name, Site(name))
        alsoProvides(inner[name], ISite)
        transaction.commit()
        app._setOb(name, aq_base(inner[name]))
        app._objects += ({"id": name, "meta_type": "Folder"},)
        transaction.commit()
        try:
            yield app[name]
        finally:
            transaction.abort()
            setSite(app.site)
            app._delObject(name)
            transaction.commit()


def test_content_of_a_mounted_database_is_in_the_application(database: Any, app: Any) -> None:
    with mounted(database, app, "a_mount") as site:
        job = zodbjobs.zope.put(jobs.is_in_the_application, site)
        assert run(database, job) is True


def test_a_job_of_a_site_in_a_mounted_database(database: Any, app: Any) -> None:
    with mounted(database, app, "a_mounted_site") as site:
        setSite(site)
        job = zodbjobs.zope.put(jobs.parents)
        assert run(database, job) == ["/a_mounted_site", ""]


def test_new_content_goes_into_the_database_of_its_container(database: Any, app: Any) -> None:
    with another_database(database, app, "queues") as connection:
        zodbjobs.install(connection.db())
        transaction.begin()
        manage_addFolder(app.site, "new")
        zodbjobs.get_queue(connection).put(zodbjobs.Job(jobs.paths_of, [app.site.new]))
        transaction.commit()
        assert aq_base(app.site.new)._p_jar is app._p_jar


# Answers


def test_accepted_is_500_of_a_put_that_was_rolled_back(database: Any, app: Any) -> None:
    savepoint = transaction.savepoint()
    zodbjobs.zope.accepted(app.REQUEST, zodbjobs.zope.put(jobs.who))
    savepoint.rollback()
    transaction.commit()
    response = app.REQUEST.response
    assert response.getStatus() == 500
    assert response.getHeader("Location") is None


def test_accepted_is_202_of_a_job_that_was_committed_before(database: Any, app: Any) -> None:
    job = zodbjobs.zope.put(jobs.who)
    transaction.commit()
    zodbjobs.zope.accepted(app.REQUEST, job)
    transaction.abort()
    assert app.REQUEST.response.getStatus() == 202


def test_accepted_leaves_the_answer_of_an_error_alone(database: Any, app: Any) -> None:
    zodbjobs.zope.accepted(app.REQUEST, zodbjobs.zope.put(jobs.who))
    response = app.REQUEST.response
    response.setStatus(403)
    transaction.abort()
    assert response.getStatus() == 403
    assert response.getHeader("Location") is None
