"""What an officer does with the portal, in a browser: each from the button to the end."""

from __future__ import annotations

import csv
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from patience import PATIENCE
from playwright.sync_api import Download, expect
from portal_site import Portal, User

Enter = Callable[..., User]

#: Seconds for a student, so that a bar moves and doesn't come to its end by itself.
SLOW = 1


def rows_of(download: Download) -> list[dict[str, str]]:
    text = Path(download.path()).read_text(encoding="utf-8")
    return list(csv.DictReader(text.splitlines()))


def matrics(portal: Portal, faculty: str, department: str, level: int) -> list[str]:
    with portal.reading() as connection:
        students = connection.root()["Application"]["portal"][faculty].values()
        return [
            student.matric
            for student in students
            if student.department == department and student.level == level
        ]


def download(user: User, name: str) -> Download:
    with user.page.expect_download(timeout=PATIENCE * 1000) as started:
        user.page.click(f"text=Download {name}")
    assert started.value.suggested_filename == name
    return started.value


def discard(user: User) -> None:
    user.page.click("#zj-discard")
    user.page.click("main button.zj-danger")
    expect(user.page.locator("main h1")).to_have_text("My jobs")
    expect(user.page.locator("main .zj-notice")).to_contain_text("It was discarded")


@pytest.mark.promise(173, 174, 176)
def test_an_export_from_the_button_to_the_end(portal: Portal, enter: Enter) -> None:
    ada = enter("ada")
    portal.take(SLOW)
    job_id = ada.start("engineering", "export", "Civil", "100")
    ada.page.evaluate("window.isSamePage = true")
    percent = ada.sees_more_than(0)
    assert ada.sees_more_than(percent) > percent
    expect(ada.state).to_have_text("running")
    portal.take(0)
    expect(ada.state).to_have_text("finished")
    expect(ada.page.locator("#zj-said")).to_have_text("“Students of Engineering” is finished.")
    assert ada.page.evaluate("window.isSamePage")

    rows = rows_of(download(ada, "students-engineering.csv"))
    assert [row["matric"] for row in rows] == matrics(portal, "engineering", "Civil", 100)
    assert {(row["department"], row["level"]) for row in rows} == {("Civil", "100")}

    file = ada.page.get_attribute("main .zj-files a", "href")
    discard(ada)
    assert ada.page.locator(f"#zj-job-{job_id}").count() == 0
    assert ada.go(f"/jobs/jobs/{job_id}") == 404
    assert ada.go(str(file)) == 404
    assert portal.ask(job_id, lambda job: job.status) is None


@pytest.mark.promise(173)
def test_those_that_are_ticked(portal: Portal, enter: Enter) -> None:
    ada = enter("ada")
    ada.go("/engineering")
    boxes = ada.page.locator("input[name=ticked]")
    ticked = [boxes.nth(number).get_attribute("value") for number in (1, 4)]
    for number in (1, 4):
        boxes.nth(number).check()
    ada.page.click("button[value=ticked]")
    expect(ada.state).to_have_text("finished")
    rows = rows_of(download(ada, "students-engineering.csv"))
    assert [row["matric"] for row in rows] == ticked


@pytest.mark.promise(173, 174, 175)
def test_three_at_once_of_which_one_fails(portal: Portal, enter: Enter) -> None:
    ada = enter("ada")
    portal.take(SLOW)
    ids = {
        kind: ada.start("engineering", kind, "Civil", "200")
        for kind in ("export", "report", "fees")
    }
    ada.go("/jobs/mine")
    states = {
        kind: ada.page.locator(f"#zj-job-{job_id} .zj-state") for kind, job_id in ids.items()
    }
    links = ada.page.locator("main tbody th a")
    assert links.all_text_contents()[:3] == [
        "Fees of Engineering", "Report on Engineering", "Students of Engineering",
    ]  # fmt: skip
    expect(states["fees"]).to_have_text("failed")  # at its first student
    expect(states["export"]).to_have_text("running")
    expect(states["report"]).to_have_text("running")
    portal.take(0)
    expect(states["export"]).to_have_text("finished")
    expect(states["report"]).to_have_text("finished")

    ada.go(f"/jobs/{ids['report']}")
    document = Path(download(ada, "report-engineering.pdf").path()).read_bytes()
    assert document.startswith(b"%PDF-")
    ada.go(f"/jobs/{ids['fees']}")
    told = "It could not be finished; the administrators were told. Reference "
    expect(ada.page.locator("main .zj-lead")).to_have_text(f"{told}{ids['fees']}.")
    assert "KeyError" not in ada.page.content()
    assert ada.page.locator("main .zj-files").count() == 0


def test_cancelled_in_the_middle_nothing_of_it_remains(portal: Portal, enter: Enter) -> None:
    ada = enter("ada")
    portal.take(SLOW)
    job_id = ada.start("engineering", "export", "Civil", "300")
    ada.sees_more_than(0)
    ada.page.click("#zj-cancel")
    ada.page.click("main button.zj-danger")
    expect(ada.state).to_have_text("cancelled")
    expect(ada.page.locator("main .zj-lead")).to_have_text(
        "It was cancelled. What it had done was undone."
    )
    portal.take(0)
    next_one = ada.start("engineering", "export", "Civil", "300")
    expect(ada.state).to_have_text("finished")  # the thread has done with the first one
    assert portal.ask(next_one, lambda job: list(job.attachments)) == ["students-engineering.csv"]
    assert portal.ask(job_id, lambda job: (job.outcome, len(job.attachments))) == ("cancelled", 0)
    ada.go(f"/jobs/{job_id}")
    assert ada.page.locator("main .zj-files").count() == 0


def test_the_worker_is_killed_and_the_same_bar_goes_on(portal: Portal, enter: Enter) -> None:
    ada = enter("ada")
    portal.take(SLOW)
    job_id = ada.start("engineering", "export", "Mechanical", "100")
    ada.page.evaluate("window.isSamePage = true")
    ada.sees_more_than(0)
    portal.kill(portal.worker)
    portal.take(0)
    portal.start_worker()
    expect(ada.state).to_have_text("finished")
    assert ada.page.evaluate("window.isSamePage")
    assert ada.page.locator("main .zj-files a").count() == 1
    rows = rows_of(download(ada, "students-engineering.csv"))
    assert [row["matric"] for row in rows] == matrics(portal, "engineering", "Mechanical", 100)
    past = portal.ask(job_id, lambda job: [attempt.outcome for attempt in job.past_attempts])
    assert past == ["interrupted", "succeeded"]


def test_the_web_starts_anew_and_the_page_finds_the_job_again(
    portal: Portal, enter: Enter
) -> None:
    ada = enter("ada")
    portal.take(SLOW)
    job_id = ada.start("engineering", "export", "Electrical", "100")
    ada.page.evaluate("window.isSamePage = true")
    percent = ada.sees_more_than(0)
    portal.kill(portal.web)
    away = ada.page.locator("#zj-away")
    expect(away).to_be_visible()
    expect(away).to_contain_text("The server can’t be reached.")
    portal.web = portal.start_web()
    assert ada.sees_more_than(percent) > percent
    expect(away).to_be_hidden()
    portal.take(0)
    expect(ada.state).to_have_text("finished")
    assert ada.page.evaluate("window.isSamePage")
    assert portal.ask(job_id, lambda job: len(job.past_attempts)) == 1
    ada.faults.clear()  # the browser tells of each request that wasn't answered


@pytest.mark.promise(165)
@pytest.mark.parametrize(
    "bound", [{"PORTAL_MOST_MEMORY": "0.001"}, {"PORTAL_MOST_JOBS": "1"}], ids=str
)
def test_too_much_to_do(
    portal: Portal, enter: Enter, bound: dict[str, str], free_port: int
) -> None:
    portal.take(SLOW)
    ada = enter("ada")
    running = ada.start("engineering", "export", "Civil", "400")
    ada.sees_more_than(0)
    web = portal.start_web(free_port, **bound)
    other = enter("ada", f"http://127.0.0.1:{free_port}")
    other.go("/engineering")
    with portal.reading() as connection:
        before = len(connection.root()["zodbjobs.jobs"])
    with other.page.expect_response(re.compile("/start$")) as answer:
        other.page.click("button[value=all]")
    assert (answer.value.status, int(answer.value.headers["retry-after"]) > 0) == (503, True)
    expect(other.page.locator("main .zj-notice")).to_contain_text("so nothing was started")
    with portal.reading() as connection:
        assert len(connection.root()["zodbjobs.jobs"]) == before
    other.go("/jobs/mine")
    first = other.page.locator("main tbody tr").first
    assert first.get_attribute("id") == f"zj-job-{running}"
    portal.kill(web)


@pytest.mark.promise(173)
def test_without_javascript(portal: Portal, enter: Enter) -> None:
    ada = enter("ada", java_script_enabled=False)
    portal.take(SLOW)

    def reloaded_until(state: str) -> None:
        while ada.state.text_content() != state:
            ada.page.reload()

    ada.start("engineering", "export", "Civil", "100")
    reloaded_until("running")
    ada.page.click("#zj-cancel")
    ada.page.click("main button.zj-danger")
    reloaded_until("cancelled")
    discard(ada)
    portal.take(0)
    ada.start("engineering", "export", "Civil", "100")
    reloaded_until("finished")
    rows = rows_of(download(ada, "students-engineering.csv"))
    assert len(rows) == len(matrics(portal, "engineering", "Civil", 100))
    discard(ada)
