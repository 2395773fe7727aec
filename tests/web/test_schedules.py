"""The pages of schedules: who sees and changes what, and what they show."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
import sample
import transaction
from web_site import PEOPLE, Site

import zodbjobs
from zodbjobs import insights
from zodbjobs.testing import moving_clock, run_jobs

NAME = "nightly <b>run</b>/50%"
PATH = "/schedules/nightly%20%3Cb%3Erun%3C%2Fb%3E%2F50%25"


@pytest.fixture
def schedule(connection: Any) -> Any:
    made = zodbjobs.get_queues(connection).schedules.create(
        NAME,
        "30 2 * * *",
        zodbjobs.Job(sample.note, "a secret word"),
        zone="Europe/Berlin",
        title="At night",
        jitter=timedelta(minutes=1),
        pause_after_failures=3,
    )
    transaction.commit()
    return made


def texts(page: Any, selector: str) -> list[str]:
    return [" ".join(each.get_text().split()) for each in page.html.select(selector)]


def test_who_may_see_and_change(site: Site, schedule: Any) -> None:
    seeing = {who for who in PEOPLE if site.get("/schedules", who).status_int == 200}
    assert seeing == {"onlooker", "manager"}
    for who in PEOPLE:
        assert (site.get(PATH, who).status_int == 200) == (who in seeing)
        assert ("Schedules" in texts(site.get("/", who), "header nav a")) == (who in seeing)
    assert not site.get(PATH, "onlooker").html.select("main form")
    before = site.db.storage.lastTransaction()
    for deed in ("pause", "resume", "run", "edit", "remove"):
        fields = {"why": "so", "sure": "1", "when": "@daily"}
        for who in set(PEOPLE) - {"manager"}:
            assert site.post(f"{PATH}/{deed}", who, fields=fields).status_int in (403, 404)
    assert site.db.storage.lastTransaction() == before


def test_what_it_shows(site: Site, schedule: Any, connection: Any) -> None:
    with moving_clock(schedule.next + timedelta(seconds=90)):
        assert "late by" in " ".join(texts(site.get("/schedules", "manager"), "main td"))
        run_jobs(site.db)
        page = site.get(PATH, "manager")
        assert f"Schedule {NAME}" in texts(page, "h1")
        assert not page.html.select("main b")
        assert len(page.html.select("[aria-labelledby=zj-upcoming] li")) == 10
        (row,) = texts(page, "[aria-labelledby=zj-runs] tbody tr")
        assert "late by" in row
        assert "a secret word" not in page
        rows = texts(site.get("/schedules", "manager"), "main tbody tr")
    assert len(rows) == 1
    assert "At night" in rows[0]
    assert "Europe/Berlin" in rows[0]


def test_one_whose_code_is_missing_hides_no_other(
    site: Site, schedule: Any, connection: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = zodbjobs.get_queues(connection).schedules
    made.create("lost", "@daily", zodbjobs.Job(sample.note, sample.Brittle()))
    transaction.commit()
    monkeypatch.setattr(sample, "brittle", ImportError)
    site.db.cacheMinimize()
    assert len(texts(site.get("/schedules", "manager"), "main tbody tr")) == 2
    page = site.get("/schedules/lost", "manager")
    assert "can’t be fired by this process: its job: it can't be loaded" in page.text
    assert len(page.html.select("[aria-labelledby=zj-upcoming] li")) == 10
    for deed, fields in (("pause", {"why": "so"}), ("remove", {"sure": "1"})):
        got = site.post(f"/schedules/lost/{deed}", "manager", fields=fields)
        assert got.status_int == 303
    connection.sync()
    assert "lost" not in made


def test_it_is_changed(site: Site, schedule: Any, connection: Any) -> None:
    def post(deed: str, **fields: str) -> Any:
        got = site.post(f"{PATH}/{deed}", "manager", fields=fields)
        connection.sync()
        return got

    shown = site.get(post("pause", why="a holiday").headers["Location"], "manager")
    assert texts(shown, ".zj-notice") == ["The schedule is paused."]
    assert (schedule.paused, schedule.paused_by) == ("a holiday", "manager")
    assert "a holiday" in site.get("/schedules", "manager")
    assert post("resume").status_int == 303
    assert schedule.paused is None
    post("run", why="to try it")
    assert len(schedule.runs) == 1
    post("edit", when="0 4 * * mon", zone="UTC", why="quieter")
    assert (schedule.when, schedule.zone) == ("0 4 * * mon", "UTC")
    post("edit", when="12h")
    assert schedule.when == "every 12:00:00"
    assert post("remove").status_int == 400
    assert NAME in zodbjobs.get_queues(connection).schedules
    assert post("remove", sure="1").status_int == 303
    assert NAME not in zodbjobs.get_queues(connection).schedules
    assert post("run").status_int == 404
    deeds = [(entry.action, entry.by, entry.why) for entry in insights.list_audit(connection)]
    assert deeds == [
        ("remove schedule", "manager", None),
        ("edit schedule", "manager", None),
        ("edit schedule", "manager", "quieter"),
        ("run schedule", "manager", "to try it"),
        ("resume schedule", "manager", None),
        ("pause schedule", "manager", "a holiday"),
    ]
    assert "ran a schedule" in site.get("/audit", "manager")


@pytest.mark.parametrize(
    ("deed", "fields", "why"),
    [
        ("pause", {"why": " "}, "for a reason"),
        ("edit", {"when": "0 25 * * *"}, "at character 3, in its hour"),
        ("edit", {"when": "@daily", "zone": "Mars"}, "no zone"),
        ("edit", {"when": "9999999d"}, "from a second to ten years"),
    ],
)
def test_what_cannot_be(site: Site, schedule: Any, deed: str, fields: Any, why: str) -> None:
    before = site.db.storage.lastTransaction()
    got = site.post(f"{PATH}/{deed}", "manager", fields=fields)
    assert got.status_int == 400
    assert why in " ".join(texts(got, "[role=alert].zj-notice"))
    assert site.db.storage.lastTransaction() == before


def test_an_empty_page(site: Site) -> None:
    assert "Nothing is scheduled." in site.get("/schedules", "manager")
    assert site.get("/schedules/nowhere", "manager").status_int == 404
