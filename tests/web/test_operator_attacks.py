"""What an operator of one realm, or with some of the rights, could have found out or done."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
import sample
import transaction
from web_site import PEOPLE, Site

import zodbjobs
from zodbjobs import insights
from zodbjobs.web import ACTIONS

Put = Any

# Jobs of a page.
ROWS = 25


@pytest.fixture
def _some_rights() -> Iterator[None]:
    """Operators with a single right, and with all but one."""
    made = {f"only-{each}": {"overall": frozenset({each})} for each in ACTIONS}
    made |= {f"but-{each}": {"overall": ACTIONS - {each}} for each in ACTIONS}
    PEOPLE.update(made)
    yield
    for name in made:
        del PEOPLE[name]


# Rights


@pytest.mark.usefixtures("_some_rights")
@pytest.mark.parametrize("action", sorted(ACTIONS - {"view"}))
def test_a_right_without_that_to_view_shows_nothing(
    site: Site, put: Put, queue: Any, action: str
) -> None:
    failed = put(sample.fail, "it broke", title="Secret plans", run=True)
    waits = put(title="Secret plans")
    who, pages = f"only-{action}", ["", "/mine", "/jobs", "/queues", "/queues/-", "/workers"]
    for job_id in (failed, waits):
        pages += [f"/jobs/{job_id}{tail}" for tail in ("", ".json", "/retry", "/cancel", "/again")]
    for deed in ("retry", "cancel", "remove", "discard"):
        pages += [f"/jobs/{deed}?all=1", f"/jobs/{deed}?job={failed}&job={waits}"]
    for path in [*pages, site.about, "/audit", "/parked"]:
        assert "Secret plans" not in site.get(path, who), path
    before = site.db.storage.lastTransaction()
    for path, fields in {
        f"/jobs/{failed}/retry": {},
        "/jobs/retry": {"job": waits},
        "/jobs/discard": {"job": waits},
        "/jobs/remove": {"job": failed},
        "/jobs/cancel": {"all": "1"},
        "/queues/-/pause": {},
        "/queues/-/quota": {"size": "x"},
        "/queues/-/agents": {"size": "x"},
    }.items():
        assert site.post(path, who, fields=fields).status_int == 404, path
    assert site.db.storage.lastTransaction() == before


@pytest.mark.usefixtures("_some_rights")
def test_a_job_that_acts_is_retried_by_nobody(site: Site, put: Put, queue: Any) -> None:
    put(sample.fail, run=True)
    site.post("/jobs/discard", "manager", fields={"all": "1", "state": "failed"})
    transaction.begin()
    (acts,) = (job.id for job in queue)
    site.post(f"/jobs/{acts}/cancel", "manager")
    for who in ("but-discard", "manager"):
        site.post(f"/jobs/{acts}/retry", who)
        refused = site.post("/jobs/retry", who, fields={"job": acts})
        assert "ask for it anew" in refused
    assert site.status(acts) == "completed"


@pytest.mark.usefixtures("_some_rights")
def test_an_error_tells_no_arguments(site: Site, put: Put, queue: Any) -> None:
    parts = zodbjobs.serial(zodbjobs.Job(sample.identity, "an argument"))
    whole = queue.put(parts, realm="/here")
    transaction.commit()
    error = site.post(f"/jobs/{whole.id}/again", "but-view_arguments")
    assert error.status_int == 400
    assert "is a composition" in error
    assert "an argument" not in error


# Realms


def older(page: Any) -> str | None:
    """The cursor of the link to older ones."""
    link = page.html.select_one("#zj-older, nav.zj-pager a")
    return None if link is None else parse_qs(urlsplit(link["href"]).query)["before"][0]


def test_a_list_doesn_t_go_on_at_a_job_of_another_realm(site: Site, put: Put) -> None:
    put(realm="/there")
    jobs = [put() for _ in range(ROWS)]
    about = f"about={site.about.removeprefix('/about/')}"
    for path in ("/jobs?owner=ada", f"/jobs?{about}", f"/jobs?owner=ada&{about}", site.about):
        page = site.get(path, "manager-here")
        assert site.links(path, "manager-here") == set(jobs)
        assert older(page) is None
        assert "there are older ones" not in page
    # Those of one's own do go on, over others.
    jobs.insert(0, jobs.pop())
    for _ in range(3):
        put(realm="/there")
    jobs.append(put())
    for path in ("/jobs?owner=ada", f"/jobs?{about}", site.about):
        cursor = older(site.get(path, "manager-here"))
        assert cursor is not None
        assert cursor.partition("-")[2] in jobs
        rest = f"{path}{'&' if '?' in path else '?'}before={cursor}"
        found = site.links(path, "manager-here") | site.links(rest, "manager-here")
        assert found == set(jobs)


def test_a_look_that_takes_too_long_stops_at_one_of_the_realm(
    site: Site, put: Put, connection: Any
) -> None:
    oldest = put()
    nearer = put(owner="bob")
    for _ in range(3):
        put(realm="/there")
    connection.sync()
    wanted = {"owner": "ada", "realm": "/here"}
    first = insights.list_jobs(connection, **wanted, seconds=0)
    assert first == []
    assert first.cursor is not None
    assert first.cursor.partition("-")[2] == nearer
    rest = insights.list_jobs(connection, **wanted, before=first.cursor)
    assert [info.id for info in rest] == [oldest]
    last = insights.list_jobs(connection, owner="ada", realm="/nowhere", seconds=0)
    assert (last, last.cursor, last.looked_back_to) == ([], None, None)


def test_whether_a_queue_is_there(site: Site, put: Put, queue: Any) -> None:
    put()
    queue.parent.create("secret").put(sample.nothing, realm="/there")
    transaction.commit()
    for path in ("/jobs?queue={}", "/jobs?state=failed&queue={}", "/jobs/retry?all=1&queue={}"):
        known, unknown = (site.get(path.format(n), "manager-here") for n in ("secret", "public"))
        assert known.status_int == unknown.status_int == 200
        assert known.text.replace("secret", "public") == unknown.text
    assert "There is no such queue." in site.get("/jobs?queue=public", "manager")


def test_a_realm_that_is_not_one_s_own_is_not_said(site: Site, put: Put) -> None:
    put()
    question = site.get("/jobs/cancel?all=1&realm=/there", "manager-here")
    assert "/there" not in question


def test_a_refusal_tells_nothing_of_another_job(site: Site, put: Put) -> None:
    terms = {"unique": "nightly"}
    refused = put(sample.fail, run=True, **terms)
    there = put(sample.identity, "an argument", realm="/there", **terms)
    told = site.post("/jobs/retry", "manager-here", fields={"job": refused})
    assert "another job has its unique key" in told
    site.post(f"/jobs/{there}/cancel", "manager")
    transaction.begin()
    here = put(sample.identity, "an argument", **terms)
    near = site.post("/jobs/retry", "manager-here", fields={"job": refused})
    assert f"job {here} has its unique key" in near
    for page in (told, near):
        assert "an argument" not in page
        assert there not in page


# What is sent


@pytest.mark.parametrize("query", ["owner=%ff", "%ff=1", "job=1&job=%ff", "all=1&text=%ed%a0%80"])
@pytest.mark.parametrize("path", ["/", "/jobs", "/audit", "/mine", "/parked", "/jobs/retry"])
def test_a_query_that_is_no_text(site: Site, put: Put, path: str, query: str) -> None:
    put()
    for who in ("manager", "manager-here"):
        assert site.get(f"{path}?{query}", who).status_int == 200


# What can't be loaded, or shown


@pytest.mark.parametrize("error", [ImportError, SystemExit])
def test_deeds_on_what_cannot_be_loaded(
    site: Site, put: Put, monkeypatch: pytest.MonkeyPatch, error: type[BaseException]
) -> None:
    job_id = put(sample.identity, sample.Brittle())
    monkeypatch.setattr(sample, "brittle", error)
    site.db.cacheMinimize()
    for action in ("retry", "cancel", "discard", "remove", "remove"):
        for who in ("ada", "manager-here", "manager"):
            one = site.post(f"/jobs/{job_id}/{action}", who)
            assert one.status_int == (303 if who == "manager" else 404)
            assert site.post(f"/jobs/{action}", who, fields={"job": job_id}).status_int < 500
    assert site.post(f"/jobs/{job_id}/again", "manager").status_int == 400
    assert site.links("/jobs", "manager") == set()


class Unshown:
    """An argument that can't be shown."""

    def __repr__(self) -> str:
        raise RuntimeError("no")


def test_an_argument_that_cannot_be_shown(site: Site, put: Put) -> None:
    job_id = put(sample.identity, Unshown())
    for path in (f"/jobs/{job_id}", f"/jobs/{job_id}/again", "/jobs?text=x"):
        assert site.get(path, "manager").status_int == 200
    assert site.post(f"/jobs/{job_id}/again", "manager").status_int == 303


def test_what_was_looked_for_is_in_the_audit_without_secrets(site: Site, put: Put) -> None:
    put()
    fields = {"all": "1", "text": "password=hunter2"}
    assert site.post("/jobs/cancel", "manager", fields=fields).status_int == 303
    page = site.get("/audit", "manager")
    assert "cancel" in page
    assert "hunter2" not in page
