"""Nobody gets at another's jobs, by a URL, a form of another site, or a text that is markup."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import portal_jobs
import pytest
from patience import wait_for
from playwright.sync_api import expect
from portal_site import Portal, User

import zodbjobs

Enter = Callable[..., User]


def put(portal: Portal, function: Callable[[], Any], **said: Any) -> str:
    """Put a job of Ada's, and wait for its end."""
    with portal.reading() as connection:
        site = connection.root()["Application"]["portal"]
        job = zodbjobs.ProgressableJob(function)
        labels = {"owner": "portal.ada", "realm": "/portal", "about": site["engineering"]}
        zodbjobs.get_queue(connection).put(job, context=False, **{**labels, **said})
        connection.transaction_manager.commit()
        wait_for(job)
        return zodbjobs.get_job_id(job)


def urls(job_id: str) -> list[str]:
    """Each URL of a job, below both of its addresses."""
    tails = ["", "/result", "/files/data.csv", "/cancel", "/discard", "/retry", "/remove"]
    return [
        f"/jobs/{prefix}{job_id}{tail}"
        for prefix, tail in itertools.product(("", "jobs/"), [*tails, ".json", "/put_again"])
    ]


def answer(user: User, method: str, path: str, **form: str) -> Any:
    said: dict[str, Any] = {"form": form} if method == "POST" else {}
    # waitress before 3 closes the connection after HEAD without saying so; a browser asks again.
    return user.context.request.fetch(
        user.url + path, method=method, max_redirects=0, max_retries=5, **said
    )


LISTS = ["/", "/jobs", "/jobs/mine", "/engineering", "/jobs/nowhere", "/jobs/static/style.css"]


@pytest.mark.parametrize("namespace", ["attribute", "acquire"])
def test_no_method_is_called_by_a_url(portal: Portal, enter: Enter, namespace: str) -> None:
    path = f"/++{namespace}++__delitem__?key=engineering"
    for user in (enter(), enter("ada"), enter("mia")):
        assert answer(user, "GET", path).status in (302, 303, 404)
    with portal.reading() as connection:
        assert "engineering" in connection.root()["Application"]["portal"]


@pytest.mark.promise(171)
def test_anonymous_is_sent_to_log_in(portal: Portal, enter: Enter) -> None:
    job_id = put(portal, portal_jobs.leave_a_file)
    nobody = enter()
    paths = [*urls(job_id), *urls("1"), "/jobs", "/jobs/mine", "/jobs/nowhere", "/jobs/audit"]
    for method, path in itertools.product(("GET", "POST", "HEAD"), paths):
        got = answer(nobody, method, path)
        assert got.status in (302, 303), (method, path)
        assert got.headers["location"].startswith(f"{portal.url}/login?next=")
    assert portal.ask(job_id, lambda job: job.outcome) == "succeeded"


@pytest.mark.promise(171)
def test_another_officer_gets_404_and_sees_it_nowhere(portal: Portal, enter: Enter) -> None:
    job_id = put(portal, portal_jobs.leave_a_file, title="A secret export")
    bola = enter("bola")
    own = bola.start("science", "export", "Physics", "100")
    token = bola.token(f"/jobs/jobs/{own}/{'discard' if _has_ended(portal, own) else 'cancel'}")
    for method, path in itertools.product(("GET", "POST", "HEAD"), urls(job_id)):
        got = answer(bola, method, path, token=token)
        assert got.status == 404, (method, path)
        assert "A secret export" not in got.text()
    for path in ("/jobs", "/jobs/mine", "/jobs/jobs", "/jobs/jobs?text=secret", "/jobs/audit"):
        text = answer(bola, "GET", path).text()
        assert "A secret export" not in text
        assert job_id not in text
    ada = enter("ada")
    ada.go("/engineering")
    about = ada.page.get_attribute("text=Jobs about this faculty", "href")
    assert ada.go(str(about)) == 200
    expect(ada.page.locator(f"#zj-job-{job_id}")).to_be_visible()
    assert bola.go(str(about)) == 404
    assert portal.ask(job_id, lambda job: job.outcome) == "succeeded"


def _has_ended(portal: Portal, job_id: str) -> bool:
    with portal.reading() as connection:
        from zodbjobs.insights import find_job

        wait_for(find_job(connection, job_id))
    return True


def test_a_form_of_another_site_changes_nothing(portal: Portal, enter: Enter) -> None:
    job_id = put(portal, portal_jobs.leave_a_file)
    path = f"/jobs/jobs/{job_id}/discard"
    ada = enter("ada")
    token = ada.token(path)
    forged: list[dict[str, Any]] = [
        {"form": {}},
        {"form": {"token": "forged"}},
        {"form": {"token": token}, "headers": {"Origin": "http://evil.example"}},
        {"form": {"token": token}, "headers": {"Sec-Fetch-Site": "cross-site"}},
        {"form": {"token": token}, "headers": {"Sec-Fetch-Site": "same-site"}},
    ]
    for said in forged:
        got = ada.context.request.post(portal.url + path, max_redirects=0, **said)
        assert got.status == 403
    starts = ada.context.request.post(f"{portal.url}/engineering/start", form={"kind": "export"})
    assert starts.status == 403
    assert portal.ask(job_id, lambda job: job.outcome) == "succeeded"
    # As a browser does it: a page of another site that sends the form when it is opened.
    other = ada.context.new_page()
    other.set_content(
        f"<form method=post action='{portal.url}{path}'><input name=token value='{token}'></form>"
    )
    with other.expect_navigation():
        other.evaluate("document.forms[0].submit()")
    assert portal.ask(job_id, lambda job: job.outcome) == "succeeded"


def test_markup_is_text(portal: Portal, enter: Enter) -> None:
    markup = portal_jobs.MARKUP
    succeeded = put(portal, portal_jobs.leave_markup, title=markup)
    failed = put(portal, portal_jobs.fail_with_markup, title=markup)
    ada, mia = enter("ada"), enter("mia")
    paths = ["/jobs/mine", "/jobs"]
    for job_id in (succeeded, failed):
        paths += [f"/jobs/{job_id}", f"/jobs/jobs/{job_id}", f"/jobs/jobs/{job_id}/discard"]
    for user, path in itertools.product((ada, mia), paths):
        assert user.go(path) == 200
        assert user.page.evaluate("window.hacked") is None
        assert user.page.locator("main img, main script").count() == 0
        if path.endswith(f"jobs/{failed}"):
            expect(user.page.locator("h1")).to_have_text(markup)
    ada.go(f"/jobs/{succeeded}")
    with ada.page.expect_download() as started:
        ada.page.click("main .zj-files a")
    assert started.value.suggested_filename.endswith(".csv")
    file = ada.page.get_attribute("main .zj-files a", "href")
    got = ada.context.request.get(portal.url + str(file))
    assert got.headers["content-type"] == "application/octet-stream"
    assert got.headers["x-content-type-options"] == "nosniff"
    assert got.headers["content-disposition"].startswith("attachment; ")
    mia.go(f"/jobs/{failed}")
    expect(mia.page.locator("#zj-traceback pre")).to_contain_text(markup)
