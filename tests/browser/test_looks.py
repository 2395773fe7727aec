"""Each page as people see it: by WCAG 2.2 AA, and as pictures in build/screenshots."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import portal_jobs
import pytest
from axe_playwright_python.sync_playwright import Axe
from patience import until, wait_for
from playwright.sync_api import Browser, Page, expect
from portal_site import ROOT, Portal, User

import zodbjobs
from zodbjobs import clock
from zodbjobs.stored.conflicts import Conflicts
from zodbjobs.stored.lifecycle.fights import Fight, Key
from zodbjobs.web.static_files import static_files

PICTURES = ROOT / "build" / "screenshots"

#: How each page is looked at: the name, and what the context of the browser has for it.
LOOKS: dict[str, dict[str, Any]] = {
    "light": {"color_scheme": "light", "viewport": {"width": 1280, "height": 800}},
    "dark": {"color_scheme": "dark", "viewport": {"width": 1280, "height": 800}},
    "phone": {
        "color_scheme": "light",
        "viewport": {"width": 390, "height": 844},
        "device_scale_factor": 2,
        "is_mobile": True,
    },
}

_RULES = {
    "runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"],
}


#: Who sees each page, and its path; a part in braces is an id that `world` has.
PAGES: dict[str, tuple[str | None, str]] = {
    "login": (None, "/login"),
    "home": ("ada", "/"),
    "home-manager": ("mia", "/"),
    "faculty": ("ada", "/engineering?level=300"),
    "mine": ("ada", "/jobs/mine"),
    "mine-empty": ("bola", "/jobs/mine"),
    "about": ("ada", "{about}"),
    "not-found": ("ada", "/jobs/jobs/1"),
    "job-running": ("ada", "/jobs/{running}"),
    "job-waiting": ("ada", "/jobs/{waiting}"),
    "job-finished": ("ada", "/jobs/{finished}"),
    "job-failed": ("ada", "/jobs/{failed}"),
    "job-cancelled": ("ada", "/jobs/{cancelled}"),
    "job-cancel": ("ada", "/jobs/jobs/{running}/cancel"),
    "job-discard": ("ada", "/jobs/jobs/{finished}/discard"),
    "overview": ("mia", "/jobs"),
    "jobs": ("mia", "/jobs/jobs"),
    "jobs-failed": ("mia", "/jobs/jobs?state=failed"),
    "jobs-none": ("mia", "/jobs/jobs?state=parked"),
    "operator-running": ("mia", "/jobs/{running}"),
    "operator-finished": ("mia", "/jobs/{finished}"),
    "operator-failed": ("mia", "/jobs/{failed}"),
    "operator-again": ("mia", "/jobs/jobs/{failed}/again"),
    "retry-all": ("mia", "/jobs/jobs/retry?all=1&state=failed"),
    "queues": ("mia", "/jobs/queues"),
    "queue": ("mia", "/jobs/queues/-"),
    "workers": ("mia", "/jobs/workers"),
    "parked": ("mia", "/jobs/parked"),
    "schedules": ("mia", "/jobs/schedules"),
    "schedule": ("mia", "/jobs/schedules/weekly"),
    "schedule-paused": ("mia", "/jobs/schedules/often"),
    "conflicts": ("mia", "/jobs/conflicts"),
    "sweep-running": ("ada", "/jobs/{sweep}"),
    "sweep-set-aside": ("ada", "/jobs/{swept}"),
    "operator-sweep": ("mia", "/jobs/{parts}"),
    "audit": ("mia", "/jobs/audit"),
}


@pytest.fixture(scope="module")
def world(chromium: Browser, portal: Portal) -> dict[str, str]:
    """A job in each state; their ids, and the path of the page about the faculty."""
    context = chromium.new_context()
    ada = User(portal, context).log_in("ada")
    ids = {
        "failed": ada.start("engineering", "fees"),
        "finished": ada.start("engineering", "report", "Civil", "100"),
    }
    expect(ada.state).to_have_text("finished")
    portal.take(1)
    ids["cancelled"] = ada.start("engineering", "export")
    ada.page.click("#zj-cancel")
    ada.page.click("main button.zj-danger")
    expect(ada.state).to_have_text("cancelled")
    make_schedules(portal)
    make_conflicts(portal)
    ids["swept"] = sweep(portal, portal_jobs.remind)
    ids["parts"] = sweep(portal, portal_jobs.remind, parallel=2)
    ids["sweep"] = sweep(portal, portal_jobs.remind_slowly, seconds=0.1)
    until(lambda: portal.ask(ids["parts"], lambda job: job.outcome))
    until(lambda: portal.ask(ids["sweep"], lambda job: job.done))
    ids["running"] = ada.start("engineering", "export", "Civil", "200")
    ada.sees_more_than(1)
    portal.take(10_000)
    # More than there are threads, so that one waits.
    more = [ada.start("engineering", "export", "Civil", "300")]
    more.append(User(portal, chromium.new_context()).log_in("mia").start("law", "report"))
    ids["waiting"] = ada.start("engineering", "export", "Chemical")
    ada.go("/engineering")
    ids["about"] = str(ada.page.get_attribute("text=Jobs about this faculty", "href"))
    context.close()
    return ids


def make_schedules(portal: Portal) -> None:
    """One that has run and failed, one that is paused and has left times out, one that is over."""
    with portal.reading() as connection:
        schedules = zodbjobs.get_queues(connection).schedules
        weekly = schedules.create(
            "weekly",
            "30 2 * * mon",
            portal_jobs.leave_a_file,
            zone="Africa/Lagos",
            title="The students of the week",
            owner="portal.mia",
            jitter=timedelta(minutes=10),
            pause_after_failures=3,
        )
        weekly.run()
        weekly.edit(portal_jobs.fail_with_markup)
        failing = weekly.run()
        schedules.create("often", portal_jobs.never_end, every=timedelta(seconds=1))
        schedules.create("once", portal_jobs.leave_a_file, at=[clock.to_datetime(clock.now())])
        connection.transaction_manager.commit()
        wait_for(failing)

    def has_left_out() -> bool:
        with portal.reading() as connection:
            often = zodbjobs.get_queues(connection).schedules["often"]
            if often.left_out:
                often.pause("the ledger is being audited", by="portal.mia")
                zodbjobs.get_queue(connection).get(often.runs[0].job_id).cancel()
            return bool(often.left_out)

    until(has_left_out)


def make_conflicts(portal: Portal) -> None:
    """What two jobs fought over, and one with who doesn't say."""
    now = clock.now()
    cart = Key("shop.checkout:pay", "shop.model.Cart", b"\0" * 7 + b"\7")
    tree = Key("shop.stock:count", "BTrees.OOBTree.OOBucket")
    with portal.reading() as connection:
        queues = zodbjobs.get_queues(connection)
        queues.conflicts = Conflicts()
        queues.conflicts.add(
            {
                cart: Fight(1200, 90_000_000, now, now, (("/shop/<cart>", 3), ("", 1))),
                tree: Fight(3, 200_000, now, now, (("shop.stock:order", 3),)),
            },
            now,
        )


def sweep(portal: Portal, each: Callable[[Any], None], **said: Any) -> str:
    """Put a sweep of Ada's over some students."""
    with portal.reading() as connection:
        faculty = connection.root()["Application"]["portal"]["engineering"]
        students = list(faculty.values())[:30]
        job = zodbjobs.Sweep(students, each, **said)
        labels = {"owner": "portal.ada", "realm": "/portal", "about": faculty}
        zodbjobs.get_queue(connection).put(job, context=False, title="Reminders", **labels)
        connection.transaction_manager.commit()
        return zodbjobs.get_job_id(job)


@pytest.fixture(scope="module")
def looked(chromium: Browser, portal: Portal) -> Iterator[Callable[[str | None, str], Page]]:
    """A page that somebody has open, in one of LOOKS; each logs in once."""
    known: dict[str | None, Any] = {None: None}
    opened: dict[tuple[str | None, str], Page] = {}

    def page(who: str | None, look: str) -> Page:
        if who not in known:
            context = chromium.new_context()
            User(portal, context).log_in(str(who))
            known[who] = context.storage_state()
        if (who, look) not in opened:
            context = chromium.new_context(
                storage_state=known[who], locale="en-GB", reduced_motion="reduce", **LOOKS[look]
            )
            opened[who, look] = context.new_page()
        return opened[who, look]

    yield page
    for each in opened.values():
        each.context.close()


@pytest.mark.parametrize("name", PAGES)
def test_a_page(
    portal: Portal, world: dict[str, str], looked: Callable[..., Page], name: str
) -> None:
    who, path = PAGES[name]
    PICTURES.mkdir(parents=True, exist_ok=True)
    violations = []
    for look in LOOKS:
        page = looked(who, look)
        answer = page.goto(portal.url + path.format(**world))
        assert answer is not None
        assert answer.status == (404 if name == "not-found" else 200)
        height = page.evaluate("document.documentElement.scrollHeight")
        size = LOOKS[look]["viewport"]
        # So high that all of it is seen at once, with what sticks to an edge where it ends.
        page.set_viewport_size({**size, "height": max(height, size["height"])})
        page.screenshot(path=PICTURES / f"{name}-{look}.png")
        page.set_viewport_size(size)
        response = Axe().run(page, options=_RULES).response
        assert response["passes"]
        violations += [
            (look, each["id"], node["html"], node["failureSummary"])
            for each in response["violations"]
            for node in each["nodes"]
        ]
        width = page.evaluate("document.documentElement.scrollWidth")
        assert width <= size["width"], (look, "it scrolls sideways")
    assert violations == []


# What a host may say of everything, in ways that outweigh most.
_HOSTILE = """
  #content h1, #content p, #content a { color: rgb(1, 2, 3); text-transform: uppercase }
  .host #content table, .host #content td { border: 7px solid red; font-size: 40px }
  button, .button, .card, .state, .main { background: rgb(4, 5, 6); padding: 99px }
"""

_STYLES = """
  Object.fromEntries([...document.querySelectorAll('.zj *')].map((each, n) => {
    const s = getComputedStyle(each);
    return [`${n} ${each.nodeName}`, [s.color, s.backgroundColor, s.padding, s.margin, s.border,
      s.fontSize, s.fontWeight, s.textTransform, s.display].join('; ')];
  }))
"""

_HOSTS = """
  [...document.querySelectorAll('.hosts, .hosts *')].map((each) => {
    const s = getComputedStyle(each);
    return [each.nodeName, s.color, s.backgroundColor, s.padding, s.margin, s.border, s.fontSize,
      s.fontFamily, s.boxSizing, s.display].join('; ');
  })
"""


def test_the_style_stays_with_what_is_ours(
    portal: Portal, world: dict[str, str], looked: Callable[..., Page], chromium: Browser
) -> None:
    """Neither does what a host says come in, nor does what we say get out."""
    shown = looked("mia", "light")
    shown.goto(portal.url + "/jobs/{failed}".format(**world))
    ours = shown.evaluate("document.querySelector('.zj.zj-inside').outerHTML")
    style = "".join(static_files()[name].body.decode() for name in ("style.css", "operate.css"))
    around = (
        '<body class="host"><div class="hosts card state"><h1>Host</h1><p class="button main">Text'
        '<table class="jobs"><tr><th>1<td>2</table><button>B</button></div>'
        '<div id="content">{}</div>'
    )
    page = chromium.new_page()
    page.set_content(f"<style>{style}</style>{around.format(ours)}")
    wanted = page.evaluate(_STYLES)
    page.set_content(f"<style>{_HOSTILE}</style><style>{style}</style>{around.format(ours)}")
    assert page.evaluate(_STYLES) == wanted
    with_ours = page.evaluate(_HOSTS)
    page.set_content(f"<style>{_HOSTILE}</style>{around.format(ours)}")
    assert page.evaluate(_HOSTS) == with_ours
    page.close()
