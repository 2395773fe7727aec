"""What people send who mean no good, and what jobs say that is no text for a page."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from typing import Any

import attachment_jobs
import pytest
import sample
import transaction
from persistent import Persistent
from web_site import PEOPLE, Site, same
from ZODB.DB import DB
from ZODB.DemoStorage import DemoStorage
from ZODB.utils import u64

import zodbjobs
from zodbjobs import local
from zodbjobs.stored.job_index import JobIndex
from zodbjobs.web import language
from zodbjobs.web.pages import ROUTES
from zodbjobs.web.rows import MOST_LOOKED_AT

Put = Any

#: As the name of a file is that isn't UTF-8.
NO_TEXT = "caf\udce9.csv"


# Ranges, headers, forms


@pytest.mark.parametrize("first", [2**63 - 1, 2**63, 10**19 - 1])
def test_a_range_further_than_a_file_can_be_told_to_seek(site: Site, put: Put, first: int) -> None:
    job_id = put(attachment_jobs.attach, "data.csv", b"a,b", run=True)
    for wanted, status in ((f"bytes={first}-", 416), (f"bytes=0-{first}", 206)):
        got = site.get(f"/jobs/{job_id}/files/data.csv", Range=wanted)
        assert got.status_int == status


@pytest.mark.parametrize("origin", ["http://[", "http://[::1", "//", "http://a:b:c", "\xff"])
def test_an_origin_that_is_no_url(site: Site, put: Put, origin: str) -> None:
    job_id = put()
    assert site.post(f"/jobs/{job_id}/cancel", Origin=origin).status_int == 403
    assert site.status(job_id) == "pending"


@pytest.mark.parametrize(
    "kind",
    [
        "multipart/form-data",
        "multipart/form-data; boundary=x",
        "application/x-www-form-urlencoded; charset=utf-16",
        "application/x-www-form-urlencoded; charset=nonsense",
        "application/json",
    ],
)
@pytest.mark.parametrize("body", [b"token=%ff", b"token=%ed%a0%80", b"\xff", b"--x\r\n\r\n"])
def test_what_is_no_form(site: Site, put: Put, kind: str, body: bytes) -> None:
    job_id = put()
    headers = {"X-Who": "ada", "Content-Type": kind}
    got = site.browser.post(f"/jobs/{job_id}/cancel", body, headers=headers, expect_errors=True)
    assert got.status_int == 403


def test_a_long_header_is_not_remembered(site: Site) -> None:
    remembered = language._chosen.cache_info().currsize
    assert site.get("/mine", Accept_Language="de," * 10_000).html.html["lang"] == "en"
    assert language._chosen.cache_info().currsize <= remembered + 1


def test_a_name_longer_than_that_of_any_owner(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(PEOPLE, "x" * 600, {})
    assert site.get("/mine", "x" * 600).html.select_one(".zj-empty")


@pytest.mark.parametrize(
    "route", [each for each in ROUTES if each.method == "GET"], ids=lambda r: r.path
)
def test_parameters_that_are_no_text(site: Site, put: Put, route: Any) -> None:
    """Of each page they are an error of who asks, if at all."""
    parts = {"job": put(), "database": "unnamed", "oid": "1", "name": "x", "file": "x"}
    path = route.path.format(**parts)
    for given in ("text=%ff", "%fe=1&all=1", "before=" + "9" * 5_000, "since=x&until=9999-99"):
        assert site.get(f"{path}?{given}", "manager").status_int < 500


# What jobs say


def say_no_text() -> str:
    local.set_progress(50, NO_TEXT)
    return NO_TEXT


def say_it_and_fail() -> None:
    raise ValueError(NO_TEXT)


def say_what_is_no_progress(value: Any) -> None:
    local.set_live_annotation("percent", value)
    local.set_live_annotation("message", value)


class Leaving:
    """Its repr ends the process that asks for it."""

    def __repr__(self) -> str:
        sys.exit(3)


def return_what_leaves() -> Any:
    return Leaving()


@pytest.mark.parametrize("function", [say_no_text, say_it_and_fail, return_what_leaves])
def test_texts_that_cannot_be_encoded(
    site: Site, put: Put, function: Any, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.CRITICAL, logger="zodbjobs")  # the report of a test can't have them
    job_id = put(function, run=True)
    for who in ("ada", "manager"):
        for path in (f"/jobs/{job_id}", f"/jobs/{job_id}.json", "/mine", site.about):
            assert site.get(path, who).status_int in (200, 303, 404)
    assert site.get(f"/jobs/{job_id}/result").status_int in (200, 404)


@pytest.mark.parametrize(
    "value", [float("nan"), float("inf"), -float("inf"), 10**30, "half", (1, b"x"), True]
)
def test_a_progress_that_is_none(site: Site, put: Put, value: Any) -> None:
    job_id = put(say_what_is_no_progress, value, run=True)
    for path in (f"/jobs/{job_id}", f"/jobs/{job_id}.json", "/mine"):
        assert site.get(path).status_int == 200


# What a job is about


class Fragile(Persistent):
    """Can't be loaded while it is told so."""

    is_broken = False

    def __setstate__(self, state: Any) -> None:
        if Fragile.is_broken:
            raise RuntimeError("no")
        super().__setstate__(state)


@pytest.fixture
def fragile(connection: Any) -> Iterator[Fragile]:
    connection.root()["fragile"] = made = Fragile()
    transaction.commit()
    yield made
    Fragile.is_broken = False


def test_an_object_that_cannot_be_loaded_tells_nothing(
    site: Site, put: Put, fragile: Fragile
) -> None:
    job_id = put(about=fragile)
    about = f"/about/{site.db.database_name}/{u64(fragile._p_oid)}"
    site.db.cacheMinimize()
    Fragile.is_broken = True
    for who in ("bob", "viewer", "manager-there"):
        assert same(site.get(f"/jobs/{job_id}", who), site.get("/jobs/999999", who))
        assert same(site.get(about, who), site.get("/about/elsewhere/1", who))
    assert site.get(f"/jobs/{job_id}", "ada").status_int == 200


def test_how_many_others_there_are_doesn_t_show(site: Site, put: Put, queue: Any) -> None:
    """Neither in where the list goes on, nor in whether one's own is found behind them."""
    mine = put()
    queue.put_many([sample.nothing] * (MOST_LOOKED_AT + 1), owner="bob", about=site.account)
    transaction.commit()
    page = site.get(site.about)
    assert site.links(site.about, "ada") == {mine}
    assert not page.html.select(".zj-pager a")


def test_a_list_doesn_t_count_what_comes_before(
    site: Site, put: Put, queue: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(100):
        queue.put(sample.nothing, owner="ada")
    transaction.commit()
    read = []
    newest = JobIndex.newest

    def counted(*args: Any) -> Iterator[Any]:
        for each in newest(*args):
            read.append(each)
            yield each

    monkeypatch.setattr(JobIndex, "newest", counted)
    path, steps = "/mine", []
    while path:
        del read[:]
        older = [a for a in site.get(path).html.select(".zj-pager a") if a.text == "Older ones"]
        path = older[0]["href"] if older else ""
        steps.append(len(read))
    assert len(steps) == 4
    assert max(steps) < 50


def test_jobs_of_another_database_have_no_page_here() -> None:
    """A link would lead to whichever job has their number here."""
    databases: dict[str, Any] = {}
    here, there = (
        DB(DemoStorage(), database_name=name, databases=databases) for name in ("a", "b")
    )
    for each in (here, there):
        zodbjobs.install(each)
    connection = here.open()
    connection.root()["account"] = account = sample.Account()
    transaction.commit()
    zodbjobs.get_queue(connection.get_connection("b")).put(
        sample.nothing, owner="ada", about=account
    )
    transaction.commit()
    site = Site(here)
    site.account = account
    assert site.get(site.about, "ada").status_int == 404
    transaction.abort()
    connection.close()
    for each in (here, there):
        each.close()
