"""What a manager does, with the keyboard alone."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from patience import until
from playwright.sync_api import expect
from portal_site import Portal, User

import zodbjobs

Enter = Callable[..., User]

#: Elements of a page that can be tabbed to, at most.
_MOST_TABS = 150


def press(user: User, selector: str, text: str = "") -> None:
    """Tab to what is meant, which has such a text, and press Enter."""
    tab_to(user, selector, text)
    user.page.keyboard.press("Enter")


_IS_THERE = """
([selector, text]) => document.activeElement.matches(selector)
    && (!text || document.activeElement.textContent === text)
"""


def tab_to(user: User, selector: str, text: str = "") -> None:
    expect(user.page.locator(selector).first).to_be_visible()
    for _ in range(_MOST_TABS):
        user.page.keyboard.press("Tab")
        if user.page.evaluate(_IS_THERE, [selector, text]):
            return
    raise AssertionError(f"{selector} can't be reached with the keyboard")


def go_to(user: User, title: str) -> None:
    """Follow an entry of the navigation of the pages."""
    press(user, "nav[aria-label=Pages] a", title)


def type_into(user: User, selector: str, text: str) -> None:
    tab_to(user, selector)
    user.page.keyboard.type(text)


def log_in(user: User, login: str) -> None:
    user.go("/login")
    type_into(user, "#login", login)
    type_into(user, "#password", user.portal.passwords[login])
    user.page.keyboard.press("Enter")
    expect(user.page.locator("h1")).to_have_text("Faculties")


def test_the_test_job_comes_to_46_at_100_percent(portal: Portal, enter: Enter) -> None:
    mia = enter()
    log_in(mia, "mia")
    press(mia, "form[action$='/test'] button")
    expect(mia.page.locator("h1")).to_have_text("A test job")
    expect(mia.page.locator("main section pre").first).to_have_text("46")
    job_id = mia.page.url.rpartition("/")[2]
    assert portal.ask(job_id, lambda job: (job.percent, job.result)) == (100.0, 46)


def test_all_that_match_are_retried(portal: Portal, enter: Enter) -> None:
    ada = enter("ada")
    ended = {}
    for level in ("100", "200"):
        job_id = ada.start("engineering", "fees", "Civil", level)
        expect(ada.state).to_have_text("failed")
        ended[job_id] = portal.ask(job_id, lambda job: job.finished)
    mia = enter()
    log_in(mia, "mia")
    press(mia, "nav[aria-label=Portal] a[href='/jobs']")
    go_to(mia, "Jobs")
    type_into(mia, "#zj-f-state", "failed")
    press(mia, "form[role=search] button[type=submit]")
    for job_id in ended:
        expect(mia.page.locator(f"main tbody a[href$='/{job_id}']")).to_be_visible()
    press(mia, "#zj-all-retry")
    expect(mia.page.locator("h1")).to_have_text("Retry all 2 jobs that match?")
    type_into(mia, "#zj-why", "the prices are there now")
    press(mia, "#zj-yes")
    expect(mia.state).to_have_text("succeeded")
    until(lambda: all(_has_ended_since(portal, *each) for each in ended.items()))
    go_to(mia, "Audit")
    expect(mia.page.locator("main tbody")).to_contain_text("the prices are there now")
    expect(mia.page.locator("main tbody")).to_contain_text("portal.mia")


def _has_ended_since(portal: Portal, job_id: str, before: datetime) -> bool:
    finished = portal.ask(job_id, lambda job: job.finished)
    return finished is not None and finished > before


def test_a_queue_is_paused_and_goes_on(portal: Portal, enter: Enter) -> None:
    mia = enter()
    log_in(mia, "mia")
    press(mia, "nav[aria-label=Portal] a[href='/jobs']")
    go_to(mia, "Queues")
    press(mia, "main tbody a")
    expect(mia.page.locator("h1")).to_have_text("The default queue")
    type_into(mia, "#zj-why", "the disk is exchanged")
    press(mia, "#zj-pause")
    expect(mia.state).to_have_text("paused")
    ada = enter("ada")
    ada.start("engineering", "export", "Civil", "100")
    expect(ada.state).to_have_text("paused")
    with portal.reading() as connection:
        assert zodbjobs.get_queue(connection).paused == "the disk is exchanged"
    press(mia, "#zj-resume-1")
    expect(mia.state).to_have_text("open")
    expect(ada.state).to_have_text("finished")


def test_a_schedule_of_the_code_is_run_now(portal: Portal, enter: Enter) -> None:
    mia = enter()
    log_in(mia, "mia")
    press(mia, "nav[aria-label=Portal] a[href='/jobs']")
    go_to(mia, "Schedules")
    press(mia, "main tbody a", "count students")
    expect(mia.page.locator("h1")).to_have_text("Schedule count students")
    expect(mia.state).to_have_text("active")
    press(mia, "#zj-run")
    expect(mia.page.locator("main .zj-notice")).to_be_visible()
    expect(mia.page.locator("main tbody .zj-state").first).to_have_text("succeeded")
    press(mia, "main tbody a")
    expect(mia.page.locator("main section pre").first).to_contain_text("Engineering: 1,000")
