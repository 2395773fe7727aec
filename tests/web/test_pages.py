"""The pages of users: what they show, in which language, and how they are kept up to date."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import sample
import transaction
from web_site import Site
from webob import Request

import zodbjobs
from zodbjobs import clock, operations
from zodbjobs.errors import BadArgument
from zodbjobs.interfaces import OUTCOMES
from zodbjobs.web import accepted, make_app, path_about, path_of, sentences
from zodbjobs.web.language import language
from zodbjobs.web.visit import NOTICES

Put = Any

MARKUP = "<script>alert(1)</script>\"'><img src=x onerror=alert(1)>${1+1}{title}"
STATIC = Path(zodbjobs.__path__[0]) / "web" / "static"


def lead(page: Any) -> str:
    text: str = page.html.select_one(".zj-lead").text
    return text


# One job


def test_a_job_that_waits(site: Site, put: Put) -> None:
    path = f"/jobs/{put()}"
    page = site.get(path)
    assert page.html.h1.text == "An export"
    assert lead(page) == "It waits for its turn."
    assert page.html.select_one(".zj-state").text == "waiting"
    assert not page.html.select("progress")
    assert page.html.select_one("#zj-cancel")
    assert not page.html.select_one("#zj-discard")
    # It will begin at once, most likely; later it is looked at less often.
    assert page.html.main["data-live"] == "1"
    with zodbjobs.testing.moving_clock() as moved:
        moved.advance(seconds=11)
        assert site.get(path).html.main["data-live"] == "5"
        assert site.get(f"{path}.json").headers["Retry-After"] == "5"


@pytest.mark.promise(172)
def test_a_job_that_runs(site: Site, put: Put) -> None:
    seen = []

    def look() -> None:
        seen.append(site.get(f"/jobs/{job_id}"))

    job_id = put(sample.report_and_wait, 41.7)
    worker = zodbjobs.Worker(site.db, threads=1)
    worker.start()
    try:
        while not seen or not seen[-1].html.select(".zj-percent"):
            look()
    finally:
        sample.gate.set()
        worker.stop()
    html = seen[-1].html
    assert html.select_one("progress")["value"] == "41"
    assert html.select_one(".zj-percent").text == "41 %"
    assert html.main["data-live"] == "1"
    assert html.main["data-say"] == "25 percent are done."
    assert lead(seen[-1]) == "It is at work."


def test_a_job_that_is_done(site: Site, put: Put) -> None:
    page = site.get(f"/jobs/{put(sample.add, 40, 2, run=True)}")
    assert lead(page) == "It is finished."
    assert page.html.pre.text == "42"
    assert page.html.main["data-live"] == "30"
    assert page.html.main["data-say"] == "“An export” is finished."
    assert not page.html.select_one("#zj-cancel")
    assert page.html.select_one("#zj-discard")


@pytest.mark.promise(174)
def test_a_failure_is_a_sentence(site: Site, put: Put) -> None:
    job_id = put(sample.fail, "<b>secret</b>", run=True)
    page = site.get(f"/jobs/{job_id}")
    assert lead(page) == (
        f"It could not be finished; the administrators were told. Reference {job_id}."
    )
    assert "secret" not in page.text
    assert "Traceback" not in page.text
    shown = site.get(f"/jobs/{job_id}", "manager").html.select_one("#zj-traceback pre").text
    assert "ValueError: <b>secret</b>" in shown


def test_there_is_a_sentence_for_each_end() -> None:
    assert set(OUTCOMES) <= set(sentences.WORDS)
    assert set(sentences._SENTENCES) == set(sentences.WORDS) - {"new"}


def test_a_job_in_a_queue_that_is_paused(site: Site, put: Put, queue: Any) -> None:
    job_id = put()
    queue.pause("the release comes")
    transaction.commit()
    page = site.get(f"/jobs/{job_id}")
    assert lead(page) == "It waits, as work of this kind is paused."
    assert page.html.select_one(".zj-state").text == "paused"
    assert site.get("/mine").html.select_one(".zj-state").text == "paused"
    assert site.get(f"/jobs/{job_id}.json").json["sentence"] == lead(page)
    queue.resume()
    transaction.commit()
    assert lead(site.get(f"/jobs/{job_id}")) == "It waits for its turn."


def test_one_reader_reads_one_word(site: Site, put: Put) -> None:
    path = f"/jobs/{put(sample.nothing, run=True, owner='manager')}"
    for page in (path, "/jobs", "/mine"):
        words = site.get(page, "manager").html.select("tbody .zj-state, .zj-eyebrow .zj-state")
        assert {each.text for each in words} == {"succeeded"}
    assert site.get(f"/jobs/{put(sample.nothing, run=True)}").html.select_one(
        ".zj-state"
    ).text == ("finished")


def test_a_job_for_later(site: Site, put: Put) -> None:
    due = clock.to_datetime(clock.now()) + timedelta(days=1)
    page = site.get(f"/jobs/{put(begin_after=due)}")
    assert lead(page) == "It begins later, at the time below."
    times = {time["datetime"] for time in page.html.select("time")}
    assert due.isoformat() in times


def test_times_are_utc_until_the_script_knows_better(site: Site, put: Put) -> None:
    page = site.get(f"/jobs/{put()}")
    time = page.html.select_one("time")
    moment = datetime.fromisoformat(time["datetime"])
    assert moment.tzinfo == UTC
    assert time["title"] == f"{moment:%Y-%m-%d %H:%M:%S.%f} UTC"
    assert time.text == f"{moment:%Y-%m-%d %H:%M} UTC"
    assert "Times are in UTC." in page.html.select_one(".zj-without").text


def test_a_job_without_a_title(site: Site, put: Put) -> None:
    job_id = put(title=None)
    assert site.get(f"/jobs/{job_id}").html.h1.text == f"Job {job_id}"


# Deeds


def test_cancel_asks_first_and_needs_no_script(site: Site, put: Put) -> None:
    job_id = put()
    asked = site.get(site.get(f"/jobs/{job_id}").html.select_one("#zj-cancel")["href"])
    assert asked.html.h1.text == "Cancel “An export”?"
    (form,) = asked.forms.values()
    done = form.submit(headers={"X-Who": "ada"})
    assert (done.status_int, done.headers["Location"]) == (303, f"/jobs/{job_id}?done=cancelled")
    page = site.get(done.headers["Location"])
    assert page.html.select_one(".zj-notice").text == "It was cancelled."
    assert lead(page) == "It was cancelled. What it had done was undone."


@pytest.mark.promise(176)
def test_discard_leaves_nothing(site: Site, put: Put) -> None:
    job_id = put(sample.add, 1, 2, run=True)
    asked = site.get(site.get(f"/jobs/{job_id}").html.select_one("#zj-discard")["href"])
    (form,) = asked.forms.values()
    done = form.submit(headers={"X-Who": "ada"})
    page = site.get(done.headers["Location"])
    assert page.html.select_one(".zj-notice").text == "It was discarded, with its files."
    assert site.links("/mine", "ada") == set()
    for tail in ("", ".json", "/result"):
        assert site.get(f"/jobs/{job_id}{tail}").status_int == 404


def test_deeds_are_in_the_audit_trail(site: Site, put: Put) -> None:
    job_id = put()
    site.post(f"/jobs/{job_id}/cancel", "keeper")
    with site.reading() as connection:
        (entry,) = zodbjobs.insights.list_audit(connection)
    assert (entry.by, entry.action) == ("keeper", "cancel")


@pytest.mark.promise(172)
@pytest.mark.parametrize(("deed", "run"), [("cancel", True), ("discard", False)])
def test_a_deed_that_comes_too_late(site: Site, put: Put, deed: str, run: bool) -> None:
    job_id = put(run=run)
    assert not site.get(f"/jobs/{job_id}/{deed}").forms
    before = site.db.storage.lastTransaction()
    done = site.post(f"/jobs/{job_id}/{deed}")
    assert done.headers["Location"] == f"/jobs/{job_id}?done=too-late"
    assert "Nothing was changed" in site.get(done.headers["Location"]).text
    assert site.db.storage.lastTransaction() == before


def test_only_known_notices_are_shown(site: Site) -> None:
    assert not site.get("/mine?done=<b>hello</b>").html.select(".zj-notice")
    assert not site.get("/jobs?done=<b>hello</b>", "manager").html.select(".zj-notice")
    assert not any(set(text) & set("<>&{}") for text in NOTICES.values())


# For programs


@pytest.mark.promise(174, 178)
def test_the_status_leads_to_the_result(site: Site, put: Put) -> None:
    job_id = put(sample.add, 40, 2)
    waits = site.get(f"/jobs/{job_id}.json")
    assert (waits.status_int, waits.headers["Retry-After"]) == (202, "1")
    assert waits.json["state"] == "waiting"
    assert waits.json["result"] is None
    zodbjobs.testing.run_jobs(site.db)
    done = site.get(f"/jobs/{job_id}.json")
    assert (done.status_int, done.headers["Location"]) == (303, f"/jobs/{job_id}/result")
    assert done.json["outcome"] == "succeeded"
    got = site.get(done.headers["Location"])
    assert (got.content_type, got.json) == ("application/json", {"result": "42"})


def test_the_status_without_a_result(site: Site, put: Put) -> None:
    for job_id in (put(run=True), put(sample.fail, run=True)):
        got = site.get(f"/jobs/{job_id}.json")
        assert (got.status_int, got.json["result"]) == (200, None)
        assert site.get(f"/jobs/{job_id}/result").status_int == 404


def test_the_status_doesn_t_lead_where_one_may_not_go(site: Site, put: Put) -> None:
    got = site.get(f"/jobs/{put(sample.add, 1, 2, run=True)}.json", "viewer")
    assert (got.status_int, got.json["result"]) == (200, None)


def test_a_view_answers_accepted(connection: Any, queue: Any) -> None:
    request = Request.blank("/export", base_url="https://portal.example/app")
    job = queue.put(zodbjobs.Job(sample.nothing))
    answer = accepted(request, job)
    path = f"/app/jobs/{job.id}"
    assert (answer.status_int, answer.headers["Location"]) == (202, f"{path}.json")
    assert answer.headers["Retry-After"] == "1"
    assert answer.json == {"id": job.id, "status": f"{path}.json", "page": path}
    assert accepted(request, job, "/jobs app/").headers["Location"].startswith("/jobs%20app/jobs/")
    transaction.commit()
    with pytest.raises(BadArgument, match="has no page before it is put"):
        path_of(zodbjobs.Job(sample.nothing))
    with pytest.raises(BadArgument, match="isn't stored"):
        path_about(sample.Account())


# Markup


def test_markup_is_inert(site: Site, put: Put) -> None:
    job_id = put(sample.report_and_fail, 30, title=MARKUP, owner=MARKUP[:200])
    zodbjobs.testing.run_jobs(site.db)
    for path in (f"/jobs/{job_id}", f"/jobs/{job_id}/discard", site.about):
        page = site.get(path, "manager")
        assert page.status_int == 200
        assert MARKUP in page.html.text
        assert len(page.html.select("script")) == 1
        assert not page.html.select("img")
    assert site.get(f"/jobs/{job_id}.json", "manager").json["title"] == MARKUP


def test_the_result_is_text(site: Site, put: Put) -> None:
    page = site.get(f"/jobs/{put(sample.identity, MARKUP, run=True)}")
    assert page.html.pre.text == repr(MARKUP)
    assert not page.html.select("img")


def test_the_policy_allows_nothing_from_elsewhere(site: Site, put: Put) -> None:
    page = site.get(f"/jobs/{put()}")
    policy = dict(
        part.split(" ", 1) for part in page.headers["Content-Security-Policy"].split("; ")
    )
    assert policy == {
        "default-src": "'none'",
        "script-src": "'self'",
        "style-src": "'self'",
        "img-src": "'self'",
        "connect-src": "'self'",
        "form-action": "'self'",
        "frame-ancestors": "'none'",
        "base-uri": "'none'",
    }
    assert page.headers["X-Content-Type-Options"] == "nosniff"
    assert page.headers["Referrer-Policy"] == "same-origin"
    assert page.headers["Cache-Control"] == "private, no-cache"
    assert not page.html.select("[style], [onclick], [onload]")
    assert not [each for each in page.html.select("script") if each.text]


# Kept up to date


def test_what_is_the_same_isn_t_sent_again(site: Site, put: Put) -> None:
    job_id = put(sample.add, 1, 2)
    path = f"/jobs/{job_id}?live=1"
    page = site.get(path)
    again = site.get(path, If_None_Match=page.headers["ETag"])
    assert (again.status_int, again.body) == (304, b"")
    assert again.headers["ETag"] == page.headers["ETag"]
    for who, language_ in (("manager", "en"), ("ada", "de")):
        other = site.get(path, who, If_None_Match=page.headers["ETag"], Accept_Language=language_)
        assert other.status_int == 200
    zodbjobs.testing.run_jobs(site.db)
    assert site.get(path, If_None_Match=page.headers["ETag"]).status_int == 200


def test_an_etag_is_one_reader_s(site: Site) -> None:
    """Their names, and the tokens of their forms, are on pages that are the same otherwise."""
    etag = site.get("/mine", "viewer").headers["ETag"]
    assert site.get("/mine", "viewer", If_None_Match=etag).status_int == 304
    assert site.get("/mine", "bob", If_None_Match=etag).status_int == 200


def test_rights_are_asked_before_the_etag(site: Site, put: Put) -> None:
    path = f"/jobs/{put()}"
    etag = site.get(path).headers["ETag"]
    assert site.get(path, "bob", If_None_Match=etag).status_int == 404
    assert site.get(path, "bob", If_None_Match="*").status_int == 404
    assert site.get(path, None, If_None_Match=etag).status_int == 302


def test_the_part_that_is_refreshed_is_that_of_the_page(site: Site, put: Put) -> None:
    for path in (f"/jobs/{put()}", "/mine", site.about):
        page, part = site.get(path), site.get(f"{path}?live=1")
        assert part.text.lstrip().startswith("<main")
        assert str(part.html.main) == str(page.html.main)


def test_how_often_it_is_asked_for(site: Site) -> None:
    assert sentences.seconds_until_next(["waiting", "active"]) == 1
    assert sentences.seconds_until_next(["assigned"]) == 1
    assert sentences.seconds_until_next(["succeeded", "blocked"]) == 5
    assert sentences.seconds_until_next(["succeeded", "failed", "parked"]) == 30
    assert site.get("/mine").html.main["data-live"] == "30"


def test_the_script_is_short() -> None:
    assert (STATIC / "live.js").stat().st_size < 15_000


def test_static_files_may_be_kept(site: Site) -> None:
    page = site.get("/mine")
    for path in (page.html.script["src"], page.html.select_one("[rel=stylesheet]")["href"]):
        got = site.get(path)
        assert got.headers["Cache-Control"] == "private, max-age=31536000, immutable"
        bare = site.get(path.partition("?")[0])
        assert bare.headers["Cache-Control"] == "private, no-cache"
        assert site.get(path, If_None_Match=got.headers["ETag"]).status_int == 304
    assert site.get("/static/../rights.py").status_int == 404
    assert site.get("/static/%2e%2e%2frights.py").status_int == 404


# Lists


@pytest.mark.promise(175)
def test_a_list_has_pages(site: Site, put: Put) -> None:
    ids = [put(title=f"Export {number}") for number in range(60)]
    first = site.get("/mine")
    assert len(first.html.select("main tbody tr")) == 25
    assert first.html.select_one("main tbody tr")["id"] == f"zj-job-{ids[-1]}"
    second = site.get(first.html.select_one(".zj-pager a")["href"])
    links = second.html.select(".zj-pager a")
    assert [link.text for link in links] == ["The newest", "Older ones"]
    third = site.get(links[1]["href"])
    assert len(third.html.select("main tbody tr")) == 10
    for nonsense in ("banana", "1", "1-", "1-2-3", "-1-2", "9" * 5000 + "-1"):
        assert len(site.get(f"/mine?before={nonsense}").html.select("main tbody tr")) == 25
    assert site.get("/mine?before=1-1").html.select_one(".zj-empty")


# Languages


@pytest.mark.parametrize(
    ("wanted", "code"),
    [("de", "de"), ("de-AT, en;q=0.5", "de"), ("fr, de;q=0.5", "de"), ("fr", "en"), ("", "en")],
)
def test_the_language_is_the_reader_s(site: Site, put: Put, wanted: str, code: str) -> None:
    page = site.get(f"/jobs/{put()}", Accept_Language=wanted)
    assert page.html.html["lang"] == page.headers["Content-Language"] == code
    sentence = {"en": "It waits for its turn.", "de": "Es wartet, bis es an der Reihe ist."}
    assert lead(page) == sentence[code]
    assert "Accept-Language" in page.headers["Vary"]


def test_numbers_and_durations() -> None:
    en, de = language("en"), language("de")
    assert [en.size(n) for n in (0, 999, 1500, 999_960, 2_500_000_000, 9**17)] == [
        *("0 B", "999 B", "1.5 kB", "1.0 MB", "2.5 GB", "16677.2 TB")
    ]
    assert de.size(1500) == "1,5 kB"
    assert de.number(12345) == "12.345"
    assert [en.duration(s) for s in (None, 0.25, 5, 120, 7200, 86400 * 3)] == [
        *("", "250 ms", "5.0 s", "2 min", "2 h", "3 days")
    ]


# Where it is mounted


@pytest.mark.parametrize("mount", ["/portal/jobs", "/VirtualHostRoot/über"])
def test_links_stay_below_the_mount(db: Any, put: Put, site: Site, mount: str) -> None:
    site.mount = mount.encode().decode("latin-1")
    quoted = Request.blank("/", base_url="http://x").relative_url("") and mount.replace(
        "ü", "%C3%BC"
    )
    job_id = put()
    page = site.get(f"/jobs/{job_id}")
    paths = [each.get("href") or each.get("src") for each in page.html.select("[href], [src]")]
    ours = [path for path in paths if path and path[0] != "#"]
    assert len(ours) > 5
    assert all(path.startswith(f"{quoted}/") for path in ours)
    done = site.post(f"/jobs/{job_id}/cancel")
    assert done.headers["Location"].startswith(f"{quoted}/jobs/{job_id}?")


def test_a_host_without_a_log_in_page(db: Any) -> None:
    from zodbjobs.web import Rights

    app = make_app(lambda request: None, lambda request: Rights())
    assert Request.blank("/jobs/1").get_response(app).status_int == 403


def test_what_is_no_url(site: Site) -> None:
    for path in ("/jobs/0", "/jobs/01", "/jobs/-1", "/jobs/x", "/jobs/1/", "/jobs/%D9%A3", "/%ff"):
        assert site.get(path).status_int == 404
    assert site.get("/jobs/" + "9" * 40).status_int == 404
    assert site.get("/jobs/9999999999999999999").status_int == 404
    assert site.get("/mine?before=%ff&%fe=1").status_int == 200
    assert site.browser.delete("/mine", headers={"X-Who": "ada"}, status="*").status_int == 404


def test_operations_are_what_deeds_use() -> None:
    assert re.search(r"caller's transaction", operations.deeds.__doc__ or "")
