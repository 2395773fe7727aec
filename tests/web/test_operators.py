"""The pages of operators: who may see and do what, and what they show."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any

import attachment_jobs
import pytest
import sample
import transaction
from bench import bench
from web_site import PEOPLE, Site, same
from ZODB.utils import u64

import zodbjobs
from zodbjobs import Agent, clock, insights
from zodbjobs.stored.conflicts import Conflicts
from zodbjobs.stored.lifecycle.fights import Fight, Key
from zodbjobs.testing import moving_clock, run_jobs
from zodbjobs.web.pace import paced

Put = Any

# Each page, and who may come there.
ALL = {"onlooker", "manager"}
REALMS = {"manager-here", "manager-there"}
PAGES = {
    "/jobs": ALL | REALMS,
    "/jobs?state=failed&sort=-took&rows=50": ALL | REALMS,
    "/parked": ALL | REALMS,
    "/queues": ALL,
    "/queues/-": ALL,
    "/schedules": ALL,
    "/workers": ALL,
    "/conflicts": ALL,
    "/metrics": ALL,
    "/audit": {"manager"} | REALMS,
    "/jobs/retry?all=1": {"manager"} | REALMS,
    "/jobs/cancel?all=1": {"manager"} | REALMS,
    "/jobs/remove?all=1": {"manager"} | REALMS,
    "/jobs/discard?all=1": {"manager"} | REALMS,
}

# What is sent where, and who may send it.
DEEDS: dict[str, tuple[dict[str, str], set[str]]] = {
    "/jobs/retry": ({"all": "1"}, {"manager"} | REALMS),
    "/jobs/cancel": ({"all": "1"}, {"manager"} | REALMS),
    "/jobs/remove": ({"all": "1"}, {"manager"} | REALMS),
    "/jobs/discard": ({"all": "1"}, {"manager"} | REALMS),
    "/queues/-/pause": ({"why": "a repair"}, {"manager"}),
    "/queues/-/resume": ({}, {"manager"}),
    "/queues/-/drain": ({"why": "a repair"}, {"manager"}),
    "/queues/-/quota": ({"quota": "exports", "size": "3"}, {"manager"}),
    "/queues/-/agent": ({"size": "3"}, {"manager"}),
    "/queues/-/agents": ({"size": "3"}, {"manager"}),
    "/queues/-/agent/remove": ({}, {"manager"}),
}


@pytest.fixture
def failed(put: Put, db: Any) -> str:
    """The id of a job of Ada's in the realm "/here" that has failed."""
    job_id: str = put(sample.fail, "it broke", run=True)
    return job_id


@pytest.fixture
def worker(db: Any) -> Any:
    """A worker that is registered, for the default queue and another one."""
    connection = db.open()
    zodbjobs.get_queues(connection).create("mail")
    transaction.commit()
    connection.close()
    with bench(db, agents=[Agent("", 2), Agent("mail", 1)]) as made:
        yield made


def texts(page: Any, selector: str) -> list[str]:
    return [" ".join(each.get_text().split()) for each in page.html.select(selector)]


# Who may


@pytest.mark.parametrize("who", PEOPLE)
def test_each_page_takes_its_right(site: Site, failed: str, who: str) -> None:
    nowhere = site.get("/nowhere", who)
    for path, people in PAGES.items():
        got = site.get(path, who)
        assert got.status_int == (200 if who in people else 404), path
        if who not in people:
            assert same(got, nowhere)


@pytest.mark.parametrize("who", PEOPLE)
def test_each_deed_takes_its_right(site: Site, failed: str, queue: Any, who: str) -> None:
    queue.quotas.create("exports", 2)
    transaction.commit()
    for path, (fields, people) in DEEDS.items():
        before = site.db.storage.lastTransaction()
        forged = site.post(path, who, token="forged", fields=fields)
        assert forged.status_int == (403 if who in people else 404), path
        assert site.db.storage.lastTransaction() == before
        got = site.post(path, who, fields=fields)
        assert (got.status_int != 404) == (who in people), path
        if who not in people:
            assert site.db.storage.lastTransaction() == before, path


def test_nobody_is_sent_to_log_in(site: Site) -> None:
    for path in PAGES:
        assert site.get(path, None).headers["Location"].endswith("/login")
    for path in DEEDS:
        assert site.post(path, None, token="x").headers["Location"].endswith("/login")


def test_a_get_writes_nothing(site: Site, failed: str, put: Put) -> None:
    put(sample.identity, 1)
    before = site.db.storage.lastTransaction()
    for who in PEOPLE:
        for path in ("/", *PAGES, *DEEDS, f"/jobs/retry?job={failed}", f"/jobs/{failed}/again"):
            site.get(path, who)
    assert site.db.storage.lastTransaction() == before


def test_the_navigation_is_of_what_one_may(site: Site, failed: str) -> None:
    entries = {who: texts(site.get("/", who), "header nav a") for who in PEOPLE}
    assert entries["ada"] == entries["viewer"] == entries["keeper"] == ["My jobs"]
    assert entries["onlooker"] == [
        *("Overview", "Jobs", "Parked", "Queues", "Schedules", "Workers", "My jobs"),
    ]
    assert entries["manager-here"] == ["Overview", "Jobs", "Parked", "Audit", "My jobs"]
    whole = ["Overview", "Jobs", "Parked", "Queues", "Schedules", "Workers", "Audit"]
    whole.append("My jobs")
    assert entries["manager"] == whole


def test_what_one_may_not_do_isn_t_offered(site: Site, failed: str, put: Put) -> None:
    put()
    page = site.get("/jobs", "onlooker")
    assert page.html.select("tbody tr")
    assert not page.html.select("button[formaction], input[type=checkbox], .zj-deeds")
    assert not site.get("/queues/-", "onlooker").html.select("form")
    job = site.get(f"/jobs/{failed}", "onlooker")
    assert not job.html.select(".zj-actions a, #zj-traceback, #zj-log, #zj-arguments, #zj-deeds")
    assert "it broke" not in job
    assert "it broke" not in site.get("/jobs", "onlooker")
    assert "it broke" in site.get("/jobs", "manager")


# Realms


def test_a_manager_sees_the_own_realm_alone(site: Site, put: Put, failed: str) -> None:
    there = put(sample.fail, "elsewhere", realm="/there", title="Secret plans", run=True)
    nowhere = put(realm=None, owner=None, title="Of nobody")
    for path in ("/", "/jobs", "/jobs?state=failed", "/jobs?realm=/there", "/jobs?owner=ada"):
        page = site.get(path, "manager-here")
        assert site.links(path, "manager-here") <= {failed}
        for text in ("Secret plans", "elsewhere", "Of nobody", f"/{there}", f"/{nowhere}"):
            assert text not in page
    assert site.links("/jobs", "manager-there") == {there}
    assert site.links("/jobs", "manager") == {failed, there, nowhere}
    for path in ("/jobs/retry?all=1&realm=/there", f"/jobs/retry?job={there}"):
        assert "Secret plans" not in site.get(path, "manager-here")


def test_a_deed_stays_in_the_realm(site: Site, put: Put, failed: str) -> None:
    there = put(sample.fail, realm="/there", run=True)
    site.post("/jobs/retry", "manager-here", fields={"job": there})
    assert site.status(there) == "completed"
    fields = {"all": "1", "state": "failed", "realm": "/there"}
    got = site.post("/jobs/retry", "manager-here", fields=fields)
    assert got.status_int == 303
    _run_one(site)
    assert (site.status(failed), site.status(there)) == ("pending", "completed")


def test_numbers_and_queues_are_of_all_realms(site: Site, failed: str) -> None:
    page = site.get("/", "manager-here")
    assert not page.html.select(".zj-tiles, .zj-chart, #zj-workers, #zj-queues")
    assert not site.get("/jobs", "manager-here").html.select("#zj-f-queue, #zj-f-realm")
    question = site.get("/jobs/retry?all=1&callable=sample", "manager-here")
    assert texts(question, "h1") == ["Retry the 1 job that matches?"]


def test_the_audit_of_a_realm(site: Site, failed: str) -> None:
    site.post(f"/jobs/{failed}/retry", "manager-here", fields={"why": "mended"})
    assert "mended" in site.get("/audit", "manager-here")
    assert "mended" in site.get("/audit", "manager")
    assert "mended" not in site.get("/audit", "manager-there")
    assert "mended" in site.get(f"/jobs/{failed}", "manager-here")
    assert "mended" not in site.get(f"/jobs/{failed}", "ada")
    site.post("/queues/-/pause", "manager", fields={"why": "a repair"})
    assert "a repair" not in site.get("/audit", "manager-here")
    assert "a repair" in site.get("/audit?by=manager", "manager")
    assert "a repair" not in site.get("/audit?by=ada", "manager")


# The list


def test_each_filter_is_in_the_url(site: Site, put: Put, failed: str, queue: Any) -> None:
    other = queue.parent.create("-odd/name")
    odd = other.put(zodbjobs.Job(sample.identity, "needle"), title="Odd", owner="bob")
    transaction.commit()
    waits = put(title="Yearly export")
    about = f"{site.db.database_name}/{u64(site.account._p_oid)}"
    for query, wanted in {
        "state=failed": {failed},
        "state=waiting": {waits, odd.id},
        "state=completed": {failed},
        "state=waiting&queue=-": {waits},
        "queue=--odd/name": {odd.id},
        "callable=identity": {odd.id},
        "callable=sample:f*": {failed},
        "owner=bob": {odd.id},
        f"about={about}": {waits, failed},
        "text=YEARLY": {waits},
        "text=needle": {odd.id},
        "realm=/here": {waits, failed},
        "until=2001-01-01": set(),
        "since=2001-01-01T10:00": {waits, failed, odd.id},
        "worker=nosuch&state=active": set(),
    }.items():
        page = site.get(f"/jobs?{query}", "manager")
        assert site.links(f"/jobs?{query}", "manager") == wanted, query
        for name, value in (each.split("=") for each in query.split("&")):
            field = page.html.select_one(f"#zj-f-{name}")
            chosen = field.select_one("option[selected]") if field.name == "select" else field
            assert chosen["value"] == value


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("state=veiw", "There is no such state."),
        ("queue=nosuch", "There is no such queue."),
        ("since=soon", "“soon” is no time"),
        ("since=0001-01-01T00:00%2B23:59", "is no time"),
        ("about=x", "names no object"),
        ("before=x", "isn&#39;t the cursor"),
        ("state=waiting&worker=x", "there can't be any such jobs"),
        ("since=2030-01-01&until=2020-01-01", "there can't be any such jobs"),
    ],
)
def test_a_filter_that_cannot_be(site: Site, put: Put, query: str, said: str) -> None:
    put()
    page = site.get(f"/jobs?{query}", "manager")
    assert page.status_int == 400
    assert said.replace("&#39;", "'") in " ".join(texts(page, "[role=alert].zj-notice"))
    assert not page.html.select("tbody tr")
    if not query.startswith("before"):
        question = site.get(f"/jobs/cancel?all=1&{query}", "manager")
        assert texts(question, "h1") == ["Nothing was changed"]
        fields = [("all", "1"), *(each.split("=") for each in query.split("&"))]
        got = site.post("/jobs/cancel", "manager", fields=[tuple(f) for f in fields])
        assert got.status_int == 400


def test_who_may_not_see_arguments_finds_nothing_by_them(site: Site, put: Put) -> None:
    put(sample.identity, "needle")
    assert not site.get("/jobs", "onlooker").html.select("#zj-f-text")
    assert site.get("/jobs?text=needle", "onlooker").status_int == 404


def test_pages_of_the_list(site: Site, put: Put) -> None:
    ids = [put(title=f"Number {n:02}") for n in range(30)]
    with moving_clock():  # so that the page takes no time
        first = site.get("/jobs", "manager")
    assert site.links("/jobs", "manager") == set(ids[5:])
    older = first.html.select_one("#zj-older")["href"]
    assert site.links(older, "manager") == set(ids[:5])
    assert first.html.select_one("main")["data-live"] == "5"
    page = site.get(older, "manager")
    assert page.html.select_one("#zj-newest")["href"] == "/jobs"
    assert "data-live" not in page.html.select_one("main").attrs
    assert site.links("/jobs?rows=50", "manager") == set(ids)


def test_sorting(site: Site, put: Put) -> None:
    for title in ("b", "C", "a"):
        put(title=title)
    path = "/jobs"
    shown = []
    for _ in range(2):
        path = site.get(path, "manager").html.select_one("thead a:-soup-contains(Job)")["href"]
        page = site.get(path, "manager")
        shown.append(texts(page, "tbody th a"))
        assert page.html.select_one("th[aria-sort]").get_text() == "Job"
    assert shown == [["a", "b", "C"], ["C", "b", "a"]]


def test_all_rows_are_ticked_by_a_link(site: Site, put: Put) -> None:
    put()
    page = site.get("/jobs", "manager")
    assert not page.html.select("[checked]")
    ticked = site.get(page.html.select_one("#zj-tick-all")["href"], "manager")
    assert len(ticked.html.select("tbody [checked]")) == 1
    assert "data-live" not in ticked.html.select_one("main").attrs


def test_how_far_it_looked(site: Site, put: Put, monkeypatch: pytest.MonkeyPatch) -> None:
    put(sample.identity, 1), put(), put()
    monkeypatch.setattr("zodbjobs.web.pages.jobs.list_jobs", _impatient)
    page = site.get("/jobs?callable=identity", "manager")
    assert "It was looked back to" in page
    go_on = page.html.select_one("#zj-older")
    assert go_on.get_text() == "Go on looking"
    assert "callable=identity" in go_on["href"]
    monkeypatch.undo()
    assert len(site.links(go_on["href"], "manager")) == 1


def _impatient(place: Any, **terms: Any) -> Any:
    return insights.list_jobs(place, **{**terms, "seconds": -1})


# Deeds on several


def _run_one(site: Site) -> None:
    """Run the job that acts, and no other: the first one that is owned by a manager."""
    with site.reading() as connection:
        mine = [job for job in zodbjobs.get_queue(connection) if "matching" in job.description]
        assert len(mine) == 1
        job_id = zodbjobs.get_job_id(mine[0])
    run_jobs(site.db, until=lambda: site.status(job_id) == "completed")


def test_what_is_ticked(site: Site, failed: str, put: Put) -> None:
    put(sample.fail, title="<b>Second</b>", run=True)
    page = site.get("/jobs?state=failed", "manager")
    form = page.forms[1]
    assert [each.value for each in form.fields["state"]] == ["failed"]
    form.get("job", index=0).checked = True
    form.action = page.html.select_one("#zj-ticked-retry")["formaction"]
    question = form.submit(headers={"X-Who": "manager"})
    assert texts(question, "h1") == ["Retry 1 job?"]
    assert texts(question, ".zj-named a") == ["<b>Second</b>"]
    question.form["why"] = "the printer is back"
    done = question.form.submit(headers={"X-Who": "manager"})
    assert done.headers["Location"].endswith("/jobs?state=failed&done=all-retried")
    shown = site.get(done.headers["Location"], "manager")
    assert texts(shown, ".zj-notice") == ["Done: they are tried again."]
    assert site.links("/jobs?state=failed", "manager") == {failed}
    assert "the printer is back" in site.get("/audit", "manager")


def test_nothing_is_ticked(site: Site, failed: str) -> None:
    for query in ("", "?job=999999", "?job=x", "?job=%C3%BC", f"?job={'9' * 40}"):
        page = site.get(f"/jobs/retry{query}", "manager")
        assert "Nothing is ticked" in page
        assert not page.html.select("form")


def test_what_was_refused_is_told(site: Site, failed: str, put: Put) -> None:
    done = put(sample.nothing, run=True, title="Was <done>")
    got = site.post("/jobs/retry", "manager", fields=[("job", failed), ("job", done)])
    assert got.status_int == 200
    assert "It was done to 1 job." in got
    assert texts(got, "#zj-refused + ul a") == ["Was <done>"]
    assert site.status(failed) == "pending"


@pytest.mark.parametrize(
    ("action", "state"), [("cancel", "completed"), ("remove", None), ("discard", None)]
)
def test_each_action_on_the_ticked(site: Site, put: Put, action: str, state: Any) -> None:
    job_id = put(run=action == "discard")
    got = site.post(f"/jobs/{action}", "manager", fields={"job": job_id, "why": "so"})
    assert got.status_int == 303
    assert site.status(job_id) == state
    shown = texts(site.get(got.headers["Location"], "manager"), ".zj-notice")
    assert len(shown) == 1


def test_all_that_match(site: Site, put: Put) -> None:
    ids = [put(sample.fail, run=True) for _ in range(3)]
    other = put(sample.fail, owner="bob", run=True)
    question = site.get("/jobs/retry?all=1&state=failed&owner=ada", "manager")
    assert texts(question, "h1") == ["Retry all 3 jobs that match?"]
    question.form["why"] = "mended"
    late = put(sample.fail, run=True)
    got = question.form.submit(headers={"X-Who": "manager"})
    acting = got.headers["Location"].split("/jobs/")[1].split("?")[0]
    page = site.get(f"/jobs/{acting}?done=acting", "manager")
    assert texts(page, ".zj-notice") == ["This job does it; its bar shows how far it is."]
    _run_one(site)
    assert {site.status(job_id) for job_id in ids} == {"pending"}
    # What has come since it was asked isn't touched, nor what doesn't match.
    assert {site.status(other), site.status(late)} == {"completed"}
    assert "mended" in site.get("/audit", "manager")
    assert site.get(f"/jobs/{acting}", "ada").status_int == 404


def test_all_that_is_scheduled(site: Site, put: Put) -> None:
    """The time of what is scheduled is to come."""
    job_id = put(begin_after=timedelta(days=1))
    fields = {"all": "1", "state": "scheduled"}
    assert site.post("/jobs/cancel", "manager", fields=fields).status_int == 303
    run_jobs(site.db)
    assert site.status(job_id) == "completed"


def test_the_number_comes_from_an_index(
    site: Site, put: Put, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(3):
        put(sample.fail, run=True)
    put(run=True)
    monkeypatch.setattr("zodbjobs.web.pages.act._MOST_COUNTED", 1)
    for query, said in {
        "discard?all=1&state=succeeded": "Discard the 1 job that matches?",
        "discard?all=1&state=completed": "Discard all 4 jobs that match?",
        "retry?all=1&state=failed": "Retry all jobs that match (at most 3)?",
        "retry?all=1": "Retry all jobs that match?",
    }.items():
        assert texts(site.get(f"/jobs/{query}", "manager"), "h1") == [said]
    realm = site.get("/jobs/retry?all=1&state=failed", "manager-here")
    assert texts(realm, "h1") == ["Retry all jobs that match?"]


def test_nothing_matches(site: Site, put: Put) -> None:
    page = site.get("/jobs/retry?all=1&state=failed", "manager")
    assert "There are no jobs that match." in page
    assert not page.html.select("form")


# One job


def test_one_job_for_operators(site: Site, put: Put, queue: Any) -> None:
    job_id = put(sample.fail, "it broke", run=True)
    page = site.get(f"/jobs/{job_id}", "manager")
    assert texts(page, "#zj-attempts + .zj-scroll tbody th .zj-message") == [
        "ValueError: it broke"
    ]
    assert page.html.select_one("#zj-traceback").has_attr("open")
    site.post(f"/jobs/{job_id}/retry", "manager", fields={"why": "the disk is back"})
    page = site.get(f"/jobs/{job_id}", "manager")
    for text in ("sample:fail", "'it broke'", "the disk is back", "retried", "/here"):
        assert text in page.html.get_text()
    assert "sample:fail" not in site.get(f"/jobs/{job_id}", "ada")


def test_the_tree(site: Site, put: Put, queue: Any) -> None:
    first = queue.put(sample.nothing, title="First", realm="/here")
    second = queue.put(sample.nothing, after=[first], title="Second", realm="/here")
    second.add_callback(sample.nothing)
    hidden = queue.put(sample.nothing, title="Elsewhere", realm="/there")
    third = queue.put(sample.nothing, after=[hidden, second], title="Third", realm="/here")
    transaction.commit()
    whole = texts(site.get(f"/jobs/{third.id}", "manager"), ".zj-tree li")
    assert [line.split(" ")[0] for line in whole] == ["Third", "waits", "waits", "waits", "is"]
    assert "Elsewhere" not in site.get(f"/jobs/{third.id}", "manager-here")
    assert "First" in site.get(f"/jobs/{third.id}", "manager-here")
    assert not site.get(f"/jobs/{first.id}", "manager").html.select(".zj-tree")


def test_retry_and_remove_of_one(site: Site, failed: str, put: Put) -> None:
    question = site.get(f"/jobs/{failed}/retry", "manager")
    question.form["why"] = "once more"
    got = question.form.submit(headers={"X-Who": "manager"})
    assert got.headers["Location"].endswith(f"/jobs/{failed}?done=retried")
    assert site.status(failed) == "pending"
    assert "That can’t be done any more" in site.get(f"/jobs/{failed}/retry", "manager")
    assert site.post(f"/jobs/{failed}/retry", "manager").headers["Location"].endswith("too-late")
    removed = site.post(f"/jobs/{failed}/remove", "manager")
    assert removed.headers["Location"].endswith("/jobs?done=removed")
    assert site.status(failed) is None
    assert "once more" in site.get("/audit", "manager")


def test_the_reason_of_an_owner_isn_t_asked_for(site: Site, put: Put) -> None:
    job_id = put()
    assert not site.get(f"/jobs/{job_id}/cancel", "ada").html.select("#zj-why")
    assert site.get(f"/jobs/{job_id}/cancel", "manager").html.select("#zj-why")


def test_put_again_with_other_arguments(site: Site, put: Put, connection: Any) -> None:
    job_id = put(sample.add, 40, 1, run=True)
    page = site.get(f"/jobs/{job_id}/again", "manager")
    assert [each.get_text() for each in page.html.select("textarea")] == ["40", "1"]
    page.form["a-1"] = "2"
    page.form["why"] = "one was too few"
    got = page.form.submit(headers={"X-Who": "manager"})
    new = re.search(r"/jobs/(\d+)\?done=again", got.headers["Location"])
    assert new is not None
    with site.reading() as connection:
        job = insights.find_job(connection, new[1])
        assert job is not None
        assert (list(job.args), job.owner, job.title) == ([40, 2], "manager", "An export")
    assert "one was too few" in site.get("/audit", "manager")
    assert site.get(f"/jobs/{new[1]}", "ada").status_int == 404


@pytest.mark.parametrize("given", ["nonsense", "NaN", "[1", "", "1e999", "9" * 5000])
def test_arguments_that_are_no_json(site: Site, put: Put, given: str) -> None:
    job_id = put(sample.add, 40, 1)
    before = site.db.storage.lastTransaction()
    got = site.post(f"/jobs/{job_id}/again", "manager", fields={"a-0": given})
    assert got.status_int == 400
    assert texts(got, "[role=alert].zj-notice")
    assert got.html.select_one("textarea").get_text().strip() == given
    assert site.db.storage.lastTransaction() == before


def test_what_isn_t_plain_or_isn_t_shown_stays(site: Site, put: Put) -> None:
    job_id = put(sample.identity, sample.Account())
    page = site.get(f"/jobs/{job_id}/again", "manager")
    assert not page.html.select("textarea")
    assert "can’t be changed" in page
    site.post(f"/jobs/{job_id}/again", "manager", fields={"a-0": "1", "k-x": "2", "a-9": "3"})
    with site.reading() as connection:
        jobs = list(zodbjobs.get_queue(connection))
        assert [type(job.args[0]).__name__ for job in jobs] == ["Account", "Account"]


def test_a_secret_isn_t_shown_nor_lost(site: Site, put: Put, queue: Any) -> None:
    job = zodbjobs.Job(sample.identity, {"user": "ada", "password": "hunter2"})
    job_id = queue.put(job, realm="/here").id
    transaction.commit()
    for path in (f"/jobs/{job_id}", f"/jobs/{job_id}/again", "/jobs?text=ada"):
        page = site.get(path, "manager")
        assert page.status_int == 200
        assert "hunter2" not in page
    assert not site.get(f"/jobs/{job_id}/again", "manager").html.select("textarea")
    assert site.links("/jobs?text=hunter2", "manager") == set()
    got = site.post(f"/jobs/{job_id}/again", "manager", fields={"a-0": '{"password": "mine"}'})
    assert got.status_int == 303
    with site.reading() as connection:
        passwords = {each.args[0]["password"] for each in zodbjobs.get_queue(connection)}
        assert passwords == {"hunter2"}


def test_a_job_can_be_put_again_without_its_arguments_seen(
    site: Site, put: Put, monkeypatch: pytest.MonkeyPatch
) -> None:
    job_id = put(sample.identity, "confidential")
    monkeypatch.setitem(PEOPLE, "onlooker", {"overall": frozenset({"view", "put_again"})})
    page = site.get(f"/jobs/{job_id}/again", "onlooker")
    assert "confidential" not in page
    assert not page.html.select("textarea")
    got = site.post(f"/jobs/{job_id}/again", "onlooker", fields={"a-0": '"mine"'})
    assert got.status_int == 303
    with site.reading() as connection:
        jobs = list(zodbjobs.get_queue(connection))
        assert [list(job.args) for job in jobs] == [["confidential"], ["confidential"]]


# Queues and agents


def test_pause_and_resume(site: Site, put: Put, queue: Any) -> None:
    page = site.get("/queues/-", "manager")
    form = page.forms[0]
    form["why"] = "a <b>repair</b>"
    got = form.submit(headers={"X-Who": "manager"})
    shown = site.get(got.headers["Location"], "manager")
    assert texts(shown, ".zj-notice") == ["The queue is paused: no job of it is begun."]
    assert "a <b>repair</b>" in shown.html.get_text()
    assert not shown.html.select("main b")
    assert "is paused: a <b>repair</b>" in " ".join(
        texts(site.get("/", "manager"), ".zj-alerts li")
    )
    resume = shown.html.select_one("#zj-resume-1").find_parent("form")["action"]
    assert site.post(resume, "manager").status_int == 303
    queue._p_jar.sync()
    assert queue.paused is None
    assert [entry.by for entry in insights.list_audit(queue)] == ["manager", "manager"]


def test_a_pause_of_some_and_a_drain(site: Site, queue: Any) -> None:
    site.post("/queues/-/pause", "manager", fields={"why": "so", "match": "sample:*"})
    site.post("/queues/-/drain", "manager", fields={"why": "full"})
    page = site.get("/queues/-", "manager")
    assert "What calls sample:* waits" in page
    assert "It takes no new jobs" in page
    site.post("/queues/-/resume", "manager", fields={"match": "sample:*"})
    site.post("/queues/-/resume", "manager")
    queue._p_jar.sync()
    assert (queue.pauses, queue.draining) == ((), None)


@pytest.mark.parametrize(
    ("path", "fields"),
    [
        ("pause", {"why": " "}),
        ("drain", {}),
        ("quota", {"quota": "nosuch", "size": "1"}),
        ("quota", {"quota": "exports", "size": "0"}),
        ("quota", {"quota": "exports", "size": "x"}),
        ("resume", {"match": "nosuch"}),
        ("agent", {"size": "1"}),
        ("agent", {"worker": "nosuch", "agent": "1", "size": "1"}),
        ("agents", {"worker": "nosuch", "size": "1"}),
    ],
)
def test_changes_that_cannot_be(site: Site, queue: Any, path: str, fields: dict[str, str]) -> None:
    queue.quotas.create("exports", 2)
    transaction.commit()
    before = site.db.storage.lastTransaction()
    got = site.post(f"/queues/-/{path}", "manager", fields=fields)
    assert got.status_int == 400
    assert texts(got, "[role=alert].zj-notice")
    assert site.db.storage.lastTransaction() == before


def test_a_queue_that_there_isn_t(site: Site) -> None:
    assert site.get("/queues/nosuch", "manager").status_int == 404
    assert site.post("/queues/nosuch/pause", "manager", fields={"why": "x"}).status_int == 404


def test_a_quota_is_changed(site: Site, queue: Any) -> None:
    queue.quotas.create("exports", 2)
    queue.quotas.create("customer:*", 1)
    transaction.commit()
    got = site.post("/queues/-/quota", "manager", fields={"quota": "exports", "size": "5"})
    assert got.status_int == 303
    queue._p_jar.sync()
    assert queue.quotas["exports"].size == 5
    assert "exports: 2 to 5" in site.get("/audit", "manager")


def test_a_rate_is_shown_and_changed(site: Site, queue: Any) -> None:
    queue.quotas.create("mail", rate=100, per=timedelta(minutes=1), burst=5)
    transaction.commit()
    shown = site.get("/queues/-", "manager")
    assert "100 in 1 min" in shown
    assert "5 at once" in shown
    for fields, size, rate in (
        ({"size": "", "rate": "20"}, None, 20),
        ({"size": "3", "rate": "30"}, 3, 30),
        ({"size": "4"}, 4, 30),
    ):
        path = "/queues/-/quota"
        assert site.post(path, "manager", fields={"quota": "mail", **fields}).status_int == 303
        queue._p_jar.sync()
        assert (queue.quotas["mail"].size, queue.quotas["mail"].rate) == (size, rate)
    assert "100 per 0:01:00, 5 at once to 20 per 0:01:00" in site.get("/audit", "manager")
    wrong = {"quota": "mail", "size": "", "rate": "x"}
    assert site.post("/queues/-/quota", "manager", fields=wrong).status_int == 400


def test_what_jobs_fight_over(site: Site, queue: Any) -> None:
    assert "No job had to be run again" in site.get("/conflicts", "manager")
    queue.parent.conflicts = Conflicts()
    now = clock.now()
    fight = Fight(1200, 90_000_000, now, now, (("/shop/<cart>", 3), ("", 1)))
    queue.parent.conflicts.add({Key("shop:pay", "shop.Cart", b"\0" * 7 + b"\7"): fight}, now)
    transaction.commit()
    page = site.get("/conflicts", "manager")
    (row,) = page.html.select("tbody tr")
    shown = " ".join(row.get_text(" ").split())
    for part in ("shop:pay", "shop.Cart", "object 7", "/shop/<cart>", "1,200", "of its own"):
        assert part in shown
    assert "Konflikte" in site.get("/conflicts", "manager", Accept_Language="de")


def test_agents_are_changed(site: Site, worker: Any, connection: Any) -> None:
    connection.sync()
    page = site.get("/queues/mail", "manager")
    (row,) = page.html.select("tbody tr[id^=zj-agent-]")
    fields = {each["name"]: each["value"] for each in row.select("input")}
    changed = {**fields, "size": "4"}
    assert site.post("/queues/mail/agent", "manager", fields=changed).status_int == 303
    connection.sync()
    assert [agent.size for agent in insights.stored_agents(connection)] == [2, 4]
    assert site.post("/queues/mail/agent/remove", "manager", fields=fields).status_int == 303
    connection.sync()
    assert [agent.queue for agent in insights.stored_agents(connection)] == [""]
    assert "isn’t there any more" in site.post("/queues/mail/agent", "manager", fields=changed)
    new = {"worker": fields["worker"], "size": "7"}
    assert site.post("/queues/mail/agents", "manager", fields=new).status_int == 303
    connection.sync()
    assert [agent.size for agent in insights.stored_agents(connection)] == [2, 7]


def test_the_last_agent_stays(site: Site, worker: Any, connection: Any) -> None:
    connection.sync()
    for path, status in (("/queues/mail", 303), ("/queues/-", 400)):
        row = site.get(path, "manager").html.select_one("tbody tr[id^=zj-agent-]")
        fields = {each["name"]: each["value"] for each in row.select("input")}
        got = site.post(f"{path}/agent/remove", "manager", fields=fields)
        assert got.status_int == status


def test_workers_with_version_and_agents(site: Site, worker: Any) -> None:
    page = site.get("/workers", "manager")
    row = " ".join(texts(page, "tbody tr"))
    assert zodbjobs.__version__ in row
    assert "default queue: 2 at a time" in row
    assert "mail: 1 at a time" in row


# The overview


def test_the_overview(site: Site, put: Put, failed: str) -> None:
    put(title="Waits")
    put(begin_after=timedelta(hours=1))
    page = site.get("/", "manager")
    tiles = {
        each["id"]: each.select_one(".zj-number").get_text()
        for each in page.html.select(".zj-tiles li")
    }
    assert tiles["zj-tile-waiting"] == "1"
    assert tiles["zj-tile-minute"] == tiles["zj-tile-failed"] == tiles["zj-tile-history"] == "1"
    assert len(page.html.select("svg[role=img]")) == 4
    assert "No worker is running, so nothing is begun." in texts(page, ".zj-alerts span")
    assert site.links("/", "manager") >= {failed}


def test_short_jobs_are_seen_to_be_run(site: Site, put: Put) -> None:
    """None is running when one looks; the counters of minutes tell that they do."""
    with moving_clock() as clock:
        for _ in range(3):
            put(run=True)
        clock.advance(59)
        page = site.get("/", "manager")
        assert page.html.select_one("#zj-tile-running .zj-number").get_text() == "0"
        assert page.html.select_one("#zj-tile-minute .zj-number").get_text() == "3"


def test_what_waits_for_long_is_told(site: Site, put: Put) -> None:
    with moving_clock() as clock:
        put()
        assert "has waited" not in site.get("/", "manager")
        clock.advance(600)
        assert "The default queue: a job has waited for 10 min." in site.get("/", "manager")


@pytest.mark.parametrize(
    ("wanted", "cost", "pace"),
    [
        (1, 0.0, 1),
        (1, 0.05, 1),
        (1, 0.06, 5),
        (5, 0.3, 30),
        (30, 0.0, 30),
        (1, 2.0, 60),
        (1, 9.0, 60),
    ],
)
def test_a_dear_page_is_asked_for_more_seldom(wanted: int, cost: float, pace: int) -> None:
    assert paced(wanted, cost) == pace


def test_users_have_their_jobs_there(site: Site, put: Put) -> None:
    mine = put()
    assert site.links("/", "ada") == {mine}
    assert texts(site.get("/", "ada"), "h1") == ["My jobs"]


# What can't be loaded, and markup


def test_a_job_that_cannot_be_loaded(
    site: Site, put: Put, monkeypatch: pytest.MonkeyPatch
) -> None:
    job_id = put(sample.identity, sample.Brittle())
    monkeypatch.setattr(sample, "brittle", ImportError)
    site.db.cacheMinimize()
    for path in ("/", *PAGES, f"/jobs/{job_id}", f"/jobs/{job_id}/again", "/jobs?text=x"):
        for who in ("manager", "onlooker", "manager-here"):
            assert site.get(path, who).status_int in (200, 404), (path, who)
    assert site.links("/jobs", "manager") == {job_id}
    assert site.links("/jobs", "manager-here") == set()
    assert site.get(f"/jobs/{job_id}", "manager").status_int == 200
    assert site.post(f"/jobs/{job_id}/again", "manager").status_int == 400
    assert site.post(f"/jobs/{job_id}/remove", "manager").status_int == 303
    assert site.links("/jobs", "manager") == set()


def test_the_reasons_of_what_is_parked(
    site: Site, put: Put, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = {put(sample.identity, sample.Brittle()) for _ in range(2)}
    monkeypatch.setattr(sample, "brittle", ImportError)
    site.db.cacheMinimize()
    run_jobs(site.db)
    page = site.get("/parked", "manager")
    assert site.links("/parked", "manager") == ids
    (reason,) = texts(page, "#zj-reasons + ul li")
    assert reason.startswith("2 ")
    assert "#reasons" not in site.get("/parked", "onlooker")


def test_markup_is_text(site: Site, put: Put, queue: Any) -> None:
    evil = "<script>alert(1)</script>"
    failed = put(sample.fail, evil, title=evil, owner=f"{evil}o", run=True)
    waits = put(attachment_jobs.attach, evil, b"", title=f"\"{evil}'")
    queue.pause(evil)
    transaction.commit()
    site.post("/jobs/retry", "manager", fields={"job": failed, "why": evil})
    quoted = "%3Cscript%3Ealert(1)%3C/script%3E"
    paths = ["/", "/jobs", "/queues", "/queues/-", "/audit", "/parked", f"/jobs/{failed}"]
    paths += [f"/jobs?text={quoted}", f"/jobs?owner={quoted}o", f"/jobs?since={quoted}"]
    paths += [f"/audit?by={quoted}", f"/jobs/cancel?job={waits}", f"/jobs/{waits}/again"]
    paths += [f"/jobs/cancel?all=1&owner={quoted}o", f"/jobs?state={quoted}&sort={quoted}"]
    for path in paths:
        page = site.get(path, "manager")
        assert page.status_int in (200, 400), path
        assert len(page.html.select("script")) == 1, path
        assert "unsafe" not in page.headers["Content-Security-Policy"]


def test_pages_are_in_german(site: Site, failed: str, put: Put) -> None:
    put()
    pages = set(PAGES) - {"/metrics"}
    for path in ("/", *pages, f"/jobs/{failed}", f"/jobs/{failed}/again"):
        page = site.get(path, "manager", Accept_Language="de")
        assert page.html.select_one("html")["lang"] == "de"
    assert texts(site.get("/", "manager", Accept_Language="de"), "h1") == ["Übersicht"]
