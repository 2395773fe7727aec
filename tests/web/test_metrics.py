"""/metrics: who may read it, and that the pages need nothing for it."""

from __future__ import annotations

import contextlib
import math
import re
import sys
from typing import Any

import pytest
import sample
import transaction
import webtest
from prometheus_client.parser import text_string_to_metric_families
from web_site import PEOPLE, Site, same

import zodbjobs
from zodbjobs import defaults
from zodbjobs.errors import BadArgument
from zodbjobs.web import make_app
from zodbjobs.web.host import by_password, make_host

TOKEN = "a token of twenty-odd characters"


def bearer(token: str = TOKEN) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


@pytest.fixture(autouse=True)
def _counts_all(monkeypatch: pytest.MonkeyPatch) -> None:
    """However slow the machine is."""
    monkeypatch.setattr(defaults, "METRICS_SECONDS", math.inf)


@pytest.fixture
def browser(db: Any) -> webtest.TestApp:
    app = make_host(db, by_password("correct horse"), asks_password=True, metrics_token=TOKEN)
    return webtest.TestApp(app)


@pytest.fixture
def _without_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "prometheus_client", None)
    monkeypatch.delitem(sys.modules, "zodbjobs.metrics", raising=False)
    monkeypatch.delattr(zodbjobs, "metrics", raising=False)


def test_it_is_for_those_who_may_see_all_jobs(site: Site, put: Any) -> None:
    put(sample.nothing)
    nothing = site.get("/nowhere")
    for who in PEOPLE:
        got = site.get("/metrics", who)
        if who in ("onlooker", "manager"):
            assert got.headers["Content-Type"].startswith("text/plain; version=")
            assert got.headers["Cache-Control"] == "private, no-store"
            names = {each.name for each in text_string_to_metric_families(got.text)}
            assert "zodbjobs_put" in names
        else:
            assert got.status_int == nothing.status_int == 404
    assert site.get("/metrics", None).headers["Location"].endswith("/login")
    assert same(site.get("/metrics", "ada"), site.get("/metrics/", "ada"))


def test_who_has_the_token_needs_no_login(browser: webtest.TestApp) -> None:
    assert "zodbjobs_put_total" in browser.get("/metrics", headers=bearer()).text
    assert browser.head("/metrics", headers=bearer()).body == b""
    lower = {"Authorization": f"bearer {TOKEN}"}
    assert browser.get("/metrics", headers=lower).status_int == 200
    accepts = {"Accept": "application/openmetrics-text", **bearer()}
    assert browser.get("/metrics", headers=accepts).text.endswith("# EOF\n")


@pytest.mark.parametrize(
    "headers",
    [
        {},
        bearer("another token, as long as that"),
        bearer(""),
        bearer(f"{TOKEN}x"),
        bearer("é" * 20),
        {"Authorization": TOKEN},
        {"Authorization": f"Basic {TOKEN}"},
    ],
)
def test_any_other_token_is_none(browser: webtest.TestApp, headers: dict[str, str]) -> None:
    for path in ("/metrics", "/"):
        browser.get(path, headers=headers, status=401)


def test_the_token_opens_nothing_else(browser: webtest.TestApp) -> None:
    for path in ("/", "/jobs", "/queues", "/static/style.css", "/metrics/x", "/metricsx"):
        browser.get(path, headers=bearer(), status=401)
    browser.post("/metrics", headers=bearer(), status=401)


@pytest.mark.parametrize("token", ["", "short", "tab\tin it, and long", "é" * 20])
def test_what_can_be_no_token(token: str) -> None:
    with pytest.raises(BadArgument, match="16 characters of ASCII or more"):
        make_app(None, None, metrics_token=token)  # type: ignore[arg-type]


@pytest.mark.usefixtures("_without_the_extra")
def test_without_the_extra_the_pages_are_the_same(site: Site) -> None:
    assert site.get("/queues", "manager").status_int == 200
    got = site.get("/metrics", "manager")
    assert got.status_int == 501
    assert got.text == 'metrics need prometheus_client: pip install "zodbjobs[metrics]"\n'
    assert site.get("/metrics", "ada").status_int == 404
    with pytest.raises(ImportError, match=re.escape('pip install "zodbjobs[metrics]"')):
        make_app(None, None, metrics_token=TOKEN)  # type: ignore[arg-type]


def test_all_of_an_answer_is_one_snapshot(site: Site, put: Any) -> None:
    """That of the transaction in which the host asks."""
    put(sample.nothing)
    with contextlib.closing(site.db.open(manager := transaction.TransactionManager())) as other:
        zodbjobs.get_queue(other).put(sample.nothing)
        (found,) = re.findall(
            r"^zodbjobs_put_total.* (\S+)$", site.get("/metrics", "manager").text, re.MULTILINE
        )
        assert float(found) == 1
        manager.abort()
