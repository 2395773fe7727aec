"""Services of plone.restapi over HTTP, as Volto would ask for them."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import transaction
import ZEO
from plone import api
from plone.dexterity.interfaces import IDexterityContent
from plone_rest import (
    ASYNC,
    Site,
    as_manager,
    asked,
    handled,
    put,
    sources,
)
from plone_rest import _layer as _layer
from plone_rest import ada as ada
from plone_rest import site as site
from ZODB.Connection import TransactionMetaData
from ZODB.FileStorage import FileStorage
from ZODB.POSException import ConflictError
from zope.component import getGlobalSiteManager
from zope.lifecycleevent.interfaces import IObjectMovedEvent

import zodbjobs
from zodbjobs.errors import WaitTimeout
from zodbjobs.plone.restapi.prefer import wants_async
from zodbjobs.testing import run_jobs
from zodbjobs.zope.application import application, make_request

# The preference


class Request:
    def __init__(self, prefer: str | None) -> None:
        self.prefer = prefer

    def getHeader(self, name: str) -> str | None:
        assert name == "Prefer"
        return self.prefer


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        (None, False),
        ("", False),
        ("respond-async", True),
        ("Respond-Async", True),
        ("respond-async, wait=10", True),
        ("wait=10,respond-async;why=not", True),
        ('respond-async=""', True),
        ("respond-async=no", False),
        ("return=minimal", False),
        ('foo="bar, respond-async"', False),
        ('foo="bar \\", respond-async', False),
        ("not-respond-async", False),
        (",,,respond-async", True),
        ('respond-async="no"', False),
        ('foo="respond-async', False),
        ('foo="\\', False),
        ("respond-async respond-async", False),
    ],
)
def test_the_preference_is_read_as_rfc_7240_says(header: str | None, expected: bool) -> None:
    assert wants_async(Request(header)) is expected


def test_without_the_header_the_services_are_those_of_plone_restapi(site: Site, ada: Any) -> None:
    copied = ada.post("archive/@copy", json={"source": sources(site, 0)})
    assert (copied.status_code, copied.json()) == (
        200,
        [{"source": f"{site.base}/inbox/page0", "target": f"{site.base}/archive/page0"}],
    )
    moved = ada.post("archive/@move", json={"source": "/inbox/page1"})
    assert (moved.status_code, len(moved.json())) == (200, 1)
    published = ada.post("inbox/page2/@workflow/publish")
    assert (published.status_code, published.json()["review_state"]) == (200, "published")
    assert ada.post("archive/@copy", json={}).status_code == 400
    assert ada.post("archive/@copy", json={"source": "/nowhere"}).json() == []
    assert "Preference-Applied" not in copied.headers
    assert site.jobs() == []


# Copy, move and workflow


@pytest.mark.parametrize("what", ["@copy", "@move"])
def test_a_source_each_in_a_job_of_its_own(site: Site, ada: Any, what: str) -> None:
    """Given by URL, by path and by UID; what is answered is what plone.restapi answers."""
    given = [sources(site, 0)[0], "/inbox/page1", site.portal.inbox.page2.UID()]
    job = put(ada, f"archive/{what}", {"source": given})
    assert (job["state"], job["outcome"], job["percent"]) == ("waiting", None, None)
    assert (job["owner"], job["context"]) == ("ada", f"{site.base}/archive")
    assert (job["result"], job["error"]) == (None, None)
    assert site.ids("archive") == []
    site.run()
    done = asked(ada, job)
    assert (done["state"], done["outcome"], done["percent"]) == ("succeeded", "succeeded", 100)
    assert done["result"] == [
        {"source": source, "target": f"{site.base}/archive/page{number}"}
        for number, source in enumerate(sources(site, 0, 1, 2))
    ]
    assert site.ids("archive") == site.catalogued("archive") == ["page0", "page1", "page2"]
    left = [] if what == "@move" else ["page0", "page1", "page2"]
    assert site.ids("inbox") == site.catalogued("inbox") == left


def test_one_source_is_one_job(site: Site, ada: Any) -> None:
    job = put(ada, "archive/@copy", {"source": "/inbox/page1"})
    assert job["title"] == "Copy “Page 1” to “Archive”"
    assert site.run() == 1
    target = f"{site.base}/archive/page1"
    assert asked(ada, job)["result"] == [{"source": sources(site, 1)[0], "target": target}]


def test_titles_are_in_the_language_of_the_site(site: Site, ada: Any) -> None:
    with as_manager(site):
        api.portal.set_registry_record("plone.available_languages", ["de"])
        api.portal.set_registry_record("plone.default_language", "de")
    copy = put(ada, "archive/@copy", {"source": "/inbox/page1"})
    assert copy["title"] == "„Page 1“ nach „Archive“ kopieren"
    move = put(ada, "archive/@move", {"source": sources(site, 0, 2)})
    assert move["title"] == "2 Elemente nach „Archive“ verschieben"
    publish = put(ada, "inbox/page1/@workflow/publish", {})
    assert publish["title"].endswith(": “Page 1”")


def test_a_copy_of_one_source_twice_makes_two(site: Site, ada: Any) -> None:
    job = put(ada, "archive/@copy", {"source": ["/inbox/page1", "/inbox/page1"]})
    site.run()
    assert site.ids("archive") == ["page1", "copy_of_page1"]
    assert asked(ada, job)["outcome"] == "succeeded"


def test_a_transition_with_what_is_in_a_folder(site: Site, ada: Any) -> None:
    job = put(ada, "inbox/@workflow/publish", {"include_children": True, "comment": "At last"})
    assert job["context"] == f"{site.base}/inbox"
    site.run()
    done = asked(ada, job)
    assert (done["outcome"], done["result"]["review_state"]) == ("succeeded", "published")
    assert (done["result"]["actor"], done["result"]["comments"]) == ("ada", "At last")
    states = {
        site.portal.portal_workflow.getInfoFor(each, "review_state")
        for each in site.portal.inbox.objectValues()
    }
    assert states == {"published"}
    found = site.portal.portal_catalog.unrestrictedSearchResults(review_state="published")
    assert len(found) == 4


def test_a_client_that_polls(site: Site, ada: Any) -> None:
    """As Volto would: it puts, and asks for the Location until the job has ended, while a worker
    is at work."""
    place = ada.post("archive/@move", json={"source": sources(site, 0, 1, 2)}, headers=ASYNC)
    seen: list[Any] = []
    with zodbjobs.Worker(site.db, threads=2):
        while not seen or seen[-1]["outcome"] is None:
            seen.append(ada.get(place.headers["Location"]).json())
    percents = [each["percent"] for each in seen if each["percent"] is not None]
    assert percents == sorted(percents)
    assert seen[-1]["outcome"] == "succeeded"
    assert len(seen[-1]["result"]) == 3
    assert site.ids("archive") == ["page0", "page1", "page2"]


def test_it_tells_how_many_are_done(site: Site, ada: Any) -> None:
    given = sources(site, 0, 1, 2)
    job = put(ada, "archive/@copy", {"source": given})
    seen: list[Any] = []

    def has_ended() -> bool:
        now = asked(ada, job)
        if seen[-1:] != [(now["state"], now["percent"])]:
            seen.append((now["state"], now["percent"]))
        return now["outcome"] is not None

    with contextlib.suppress(WaitTimeout):  # the last is booked after the last look
        run_jobs(site.db, until=has_ended)
    assert has_ended()
    assert seen == [
        *(("waiting", None), ("active", 0), ("active", 33), ("active", 66), ("active", 100)),
        ("succeeded", 100),
    ]


# What is refused before anything is written


@pytest.mark.parametrize("what", ["@copy", "@move"])
@pytest.mark.parametrize(
    ("source", "why"),
    [
        (None, "'source' is required"),
        ([], "'source' is required"),
        ("/nowhere", "There is no source '/nowhere'"),
        (["/inbox/page0", "/nowhere"], "There is no source '/nowhere'"),
        ("f" * 32, "There is no source"),
        ("/inbox/inbox/page0/../page9", "There is no source"),
        ([["/inbox/page0"]], "takes URLs, paths and UIDs"),
        ([7], "takes URLs, paths and UIDs"),
        ("/portal_catalog", "can't be"),
        ("/", "can't be"),
    ],
)
def test_bad_sources_are_refused(site: Site, ada: Any, what: str, source: Any, why: str) -> None:
    answer = ada.post(f"archive/{what}", json={"source": source}, headers=ASYNC)
    assert answer.status_code in (400, 401, 403), answer.text
    assert answer.status_code != 400 or why in answer.json()["message"]
    assert "Preference-Applied" not in answer.headers
    assert site.jobs() == []


def test_what_cannot_be_moved_is_refused(site: Site, ada: Any) -> None:
    twice = ada.post("archive/@move", json={"source": ["/inbox/page0"] * 2}, headers=ASYNC)
    assert (twice.status_code, "twice" in twice.json()["message"]) == (400, True)
    itself = ada.post("inbox/@move", json={"source": "/inbox"}, headers=ASYNC)
    assert (itself.status_code, "into itself" in itself.json()["message"]) == (400, True)
    bad = ada.post("inbox/@copy", data="{", headers=ASYNC)
    assert bad.status_code == 400
    assert site.jobs() == []


def test_a_transition_that_is_not_possible_is_refused_alike(site: Site, ada: Any) -> None:
    bob = site.client("bob")  # who may not publish
    for client, name in ((ada, "nonsense"), (bob, "publish")):
        now = client.post(f"inbox/page0/@workflow/{name}")
        later = client.post(f"inbox/page0/@workflow/{name}", headers=ASYNC)
        assert now.status_code == later.status_code == 400
        assert now.json()["error"]["type"] == later.json()["error"]["type"] == "WorkflowException"
        assert f"'{name}'" in later.json()["error"]["message"]
    missing = ada.post("inbox/page0/@workflow", headers=ASYNC)
    assert missing.status_code == 400
    assert site.jobs() == []


def test_who_may_not_is_refused(site: Site) -> None:
    with as_manager(site):
        site.portal.portal_workflow.doActionFor(site.portal.archive, "publish")
    for user, status in (("mia", 403), (None, 401)):
        client = site.client(user)
        for path in ("archive/@copy", "archive/@move"):
            now = client.post(path, json={"source": "/inbox/page0"})
            later = client.post(path, json={"source": "/inbox/page0"}, headers=ASYNC)
            assert now.status_code == later.status_code == status
    assert site.jobs() == []


# Rights when a job runs


def test_rights_are_asked_again_and_nothing_is_changed_without(site: Site, ada: Any) -> None:
    """One source of three may not be taken any more: it alone stays, and can be retried."""
    job = put(ada, "archive/@move", {"source": sources(site, 0, 1, 2)})
    with as_manager(site):
        site.portal.inbox.page1.manage_permission("Delete objects", ["Manager"])
        site.portal.inbox.manage_permission("Delete objects", ["Manager"])
        for number in (0, 2):
            site.portal.inbox[f"page{number}"].manage_permission("Delete objects", ["Editor"])
    site.run()
    assert site.ids("inbox") == site.catalogued("inbox") == ["page0", "page1", "page2"]
    done = asked(ada, job)
    assert (done["outcome"], done["error"]["type"]) == ("failed", "SourcesFailed")
    assert [entry["error"]["type"] for entry in done["result"]] == ["Unauthorized"] * 3
    assert "traceback" not in done["error"]


def test_a_retry_is_for_what_has_failed_alone(site: Site, ada: Any) -> None:
    job = put(ada, "archive/@copy", {"source": sources(site, 0, 1, 2)})
    with as_manager(site):
        site.portal.inbox.manage_delObjects(["page1"])
    site.run()
    assert site.ids("archive") == ["page0", "page2"]
    done = asked(ada, job)
    assert "1 of 3" in done["error"]["message"]
    assert [entry.get("error", {}).get("type") for entry in done["result"]] == [
        *(None, "ObjectGone", None)
    ]
    assert done["result"][1]["source"] == sources(site, 1)[0]
    answer = ada.post(f"{job['@id']}/retry")
    assert (answer.status_code, answer.json()["state"]) == (202, "waiting")
    site.run()
    assert site.ids("archive") == ["page0", "page2"]


def test_who_may_not_add_any_more_copies_nothing(site: Site, ada: Any) -> None:
    job = put(ada, "archive/@copy", {"source": "/inbox/page0"})
    with as_manager(site):
        site.portal.archive.manage_permission("Add portal content", ["Manager"])
    site.run()
    done = asked(ada, job)
    assert (done["outcome"], done["error"]["type"]) == ("failed", "Unauthorized")
    assert site.ids("archive") == []


def test_who_may_not_publish_any_more_publishes_nothing(site: Site, ada: Any) -> None:
    """One of three in the folder is refused: none is published, nor is the folder."""
    job = put(ada, "inbox/@workflow/publish", {"include_children": True})
    with as_manager(site):
        site.portal.inbox.page2._Review_portal_content_Permission = ("Manager",)
    site.run()
    done = asked(ada, job)
    assert (done["outcome"], done["error"]["type"]) == ("failed", "Unauthorized")
    assert done["result"] is None
    assert not site.portal.portal_catalog.unrestrictedSearchResults(review_state="published")


# Jobs


def test_own_jobs_and_those_of_others(site: Site, ada: Any) -> None:
    job = put(ada, "archive/@copy", {"source": sources(site, 0, 1)})
    site.run()
    bob, boss, nobody = site.client("bob"), site.client("boss"), site.client(None)
    listed = ada.get("@jobs").json()
    assert [item["@id"] for item in listed["items"]] == [job["@id"]]  # its parts are none of them
    assert "result" not in listed["items"][0]
    assert bob.get("@jobs").json()["items"] == []
    assert job["@id"] in [item["@id"] for item in boss.get("@jobs").json()["items"]]
    assert nobody.get("@jobs").status_code == 401
    for method, path in (("GET", ""), ("DELETE", ""), ("POST", "/retry")):
        assert nobody.request(method, job["@id"] + path).status_code == 401
        theirs = bob.request(method, job["@id"] + path)
        unknown = bob.request(method, f"{site.base}/@jobs/1{path}")
        assert theirs.status_code == unknown.status_code == 404
        assert shape(theirs) == shape(unknown)
    assert asked(boss, job)["owner"] == "ada"


def shape(answer: Any) -> Any:
    """An answer without the URL that was asked."""
    said = answer.json()
    return {**said, "message": said["message"].partition("http")[0]}


@pytest.mark.parametrize("path", ["x", "99999999999999999999", "1/more", "1/retry/more", "-1"])
def test_ids_that_there_are_not(site: Site, ada: Any, path: str) -> None:
    for method in ("GET", "DELETE", "POST"):
        assert ada.request(method, f"@jobs/{path}").status_code == 404, method


def test_a_job_is_cancelled_once(site: Site, ada: Any) -> None:
    job = put(ada, "archive/@copy", {"source": sources(site, 0, 1)})
    gone = ada.delete(job["@id"])
    assert (gone.status_code, gone.content) == (204, b"")
    cancelled = asked(ada, job)
    assert cancelled["outcome"] == "cancelled"
    assert [entry["error"]["type"] for entry in cancelled["result"]] == ["NotBegun"] * 2
    again = ada.delete(job["@id"])
    assert (again.status_code, again.json()["error"]["type"]) == (409, "Conflict")
    site.run()
    assert site.ids("archive") == []
    boss = site.client("boss")
    retried = boss.post(f"{job['@id']}/retry")
    assert (retried.status_code, retried.headers["Location"]) == (202, job["@id"])
    assert retried.json()["outcome"] is None
    site.run()
    assert site.ids("archive") == ["page0", "page1"]
    assert boss.post(f"{job['@id']}/retry").status_code == 409
    assert ada.delete(job["@id"]).status_code == 409
    deeds = zodbjobs.insights.list_audit(site.app._p_jar)
    assert [(deed.action, deed.by) for deed in deeds] == [
        ("retry", "/plone/acl_users/boss"),
        ("cancel", "/plone/acl_users/ada"),
    ]


def test_tracebacks_are_for_managers(site: Site, ada: Any) -> None:
    job = put(ada, "archive/@copy", {"source": "/inbox/page0"})
    with as_manager(site):
        site.portal.manage_delObjects(["inbox"])
    site.run()
    own = asked(ada, job)["error"]
    assert (own["type"], sorted(own)) == ("ObjectGone", ["message", "type"])
    assert "ObjectGone" in asked(site.client("boss"), job)["error"]["traceback"][-1]


def test_lists_come_in_batches(site: Site, ada: Any) -> None:
    jobs = [put(ada, "archive/@copy", {"source": "/inbox/page0"}) for _ in range(5)]
    expected = [job["@id"] for job in reversed(jobs)]
    seen, url = [], "@jobs?b_size=2"
    while url is not None:
        batch = ada.get(url).json()
        assert len(batch["items"]) <= 2
        seen += [item["@id"] for item in batch["items"]]
        url = batch["batching"].get("next")
    assert seen == expected
    skipped = ada.get("@jobs?b_size=2&b_start=2").json()
    assert [item["@id"] for item in skipped["items"]] == expected[2:4]
    assert "batching" not in ada.get("@jobs").json()
    for bad in ("b_size=0", "b_size=x", "b_size=101", "b_start=-1", "b_start=9999", "before=x"):
        assert ada.get(f"@jobs?{bad}").status_code == 400


# The transaction of the request


def test_a_request_that_is_aborted_is_not_accepted(site: Site, ada: Any) -> None:
    def refuse(event: Any) -> None:
        raise RuntimeError("the commit went wrong")

    with handled(refuse):
        answer = ada.post("archive/@copy", json={"source": "/inbox/page0"}, headers=ASYNC)
    assert answer.status_code == 500
    assert not {"Preference-Applied", "Location"} & set(answer.headers)
    assert site.jobs() == []


def test_a_request_that_conflicts_puts_one_job(site: Site, ada: Any) -> None:
    left = [2]

    def conflict(event: Any) -> None:
        if left[0]:
            left[0] -= 1
            raise ConflictError

    with handled(conflict):
        job = put(ada, "archive/@copy", {"source": "/inbox/page0"})
    assert [row.id for row in site.jobs()] == [job["@id"].rpartition("/")[2]]
    site.run()
    assert site.ids("archive") == ["page0"]


def test_urls_are_those_of_the_browser(site: Site) -> None:
    """Behind a proxy, also in the job, which has no request of a browser."""
    public = "https://example.org/site"
    host = site.base.rpartition("/")[0]
    base = f"{host}/VirtualHostBase/https/example.org:443/plone/VirtualHostRoot/_vh_site"
    ada = site.client("ada", base=base)
    given = [f"{public}/inbox/page0", "/inbox/page1"]
    answer = ada.post("archive/@move", json={"source": given}, headers=ASYNC)
    assert answer.status_code == 202, answer.text
    place = answer.headers["Location"]
    assert place.startswith(f"{public}/@jobs/")
    site.run()
    done = ada.get(place.replace(public, base)).json()
    assert done["context"] == f"{public}/archive"
    assert done["result"][0] == {
        "source": f"{public}/inbox/page0",
        "target": f"{public}/archive/page0",
    }


def test_a_thousand_sources(site: Site, ada: Any, record_property: Any) -> None:
    """They are put, listed as one job, and cancelled together."""

    def timed(what: str, function: Callable[[], Any]) -> Any:
        began = time.monotonic()
        found = function()
        record_property(f"seconds of {what}", time.monotonic() - began)
        return found

    body = {"source": ["/inbox/page0"] * 1000}
    job = timed("the request", lambda: put(ada, "archive/@copy", body))
    begun = timed(
        "three copies", lambda: run_jobs(site.db, until=lambda: len(site.ids("archive")) == 3)
    )
    assert begun == 4
    assert timed("a look", lambda: asked(ada, job))["percent"] == 0
    assert len(timed("a list", lambda: ada.get("@jobs").json())["items"]) == 1
    assert timed("the cancel", lambda: ada.delete(job["@id"])).status_code == 204
    assert site.run() == 0
    done = timed("the result", lambda: asked(ada, job))
    assert (done["outcome"], len(done["result"])) == ("cancelled", 1000)
    assert ["target" in entry for entry in done["result"]] == [True] * 3 + [False] * 997
    assert len(site.ids("archive")) == 3


# Killed workers


@pytest.mark.parametrize("what", ["@copy", "@move"])
def test_killed_workers_do_each_source_once(
    site: Site, ada: Any, tmp_path: Path, what: str
) -> None:
    """Killed as they have moved something, and not committed it; and as they have committed it,
    and not booked it.
    """
    job = put(ada, f"archive/{what}", {"source": sources(site, 0, 1, 2)})
    job_id = job["@id"].rpartition("/")[2]
    path = str(tmp_path / "Data.fs")
    copy_database(site.db, path)
    address, stop = ZEO.server(path)
    try:
        for point in ("moved", "committed", "moved", "committed"):
            assert killed_worker(address, point) == signal.SIGKILL
        with contextlib.closing(ZEO.DB(address)) as db:
            with zodbjobs.Worker(db, heartbeat_seconds=1):
                wait_for(db, job_id)
            check_what_is_there(db, job_id, [] if what == "@move" else ["page0", "page1", "page2"])
    finally:
        stop()


def copy_database(db: Any, path: str) -> None:
    """Write what is in the memory of this process into a file, for others."""
    with contextlib.closing(FileStorage(path)) as file:
        for record in db.storage.iterator():
            meta = TransactionMetaData(record.user, record.description, record.extension)
            file.tpc_begin(meta, record.tid, record.status)
            for each in record:
                file.restore(each.oid, each.tid, each.data, "", None, meta)
            file.tpc_vote(meta)
            file.tpc_finish(meta)


def killed_worker(address: Any, point: str) -> int:
    """Run a worker in a process of its own until it kills itself; returns the signal."""
    pid = os.fork()
    if not pid:
        try:
            commit_suicide_when(point)
            zodbjobs.Worker(ZEO.DB(address), threads=1, heartbeat_seconds=1).run()
        finally:
            os._exit(1)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) * -1


def commit_suicide_when(point: str) -> None:
    """As soon as something was copied or moved, or as soon as that was committed."""

    def die(*args: object) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    def has_moved(obj: Any, event: Any) -> None:
        if event.newParent is None:
            return
        if point == "moved":
            die()
        transaction.get().addAfterCommitHook(die)

    getGlobalSiteManager().registerHandler(has_moved, (IDexterityContent, IObjectMovedEvent))


def wait_for(db: Any, job_id: str) -> None:
    """Until a job has ended."""
    deadline = time.monotonic() + 60
    with db.transaction() as connection:
        while zodbjobs.insights.find_job(connection, job_id).outcome is None:
            assert time.monotonic() < deadline
            time.sleep(0.05)
            connection.transaction_manager.begin()


def check_what_is_there(db: Any, job_id: str, left: list[str]) -> None:
    """Each source once, also in the catalog, and in the result."""
    with db.transaction() as connection:
        whole = zodbjobs.insights.find_job(connection, job_id)
        assert (whole.outcome, len(whole.result)) == ("succeeded", 3)
        assert sum(part.interruptions for part in whole.args) > 0
        app = application(connection, make_request())
        portal = app.plone
        assert list(portal.archive.objectIds()) == ["page0", "page1", "page2"]
        assert list(portal.inbox.objectIds()) == left
        expected = {
            "/".join(each.getPhysicalPath()): each.UID()
            for folder in (portal.inbox, portal.archive)
            for each in folder.objectValues()
        }
        brains = portal.portal_catalog.unrestrictedSearchResults(portal_type="Document")
        assert {brain.getPath(): brain.UID for brain in brains} == expected
        assert len(brains) == len(set(expected.values()))
