"""A browser, and the portal."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import portal_site
import pytest
from patience import PATIENCE
from playwright.sync_api import Browser, expect, sync_playwright
from portal_site import Portal, User

_CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser"))), None)

_ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """All of these start processes."""
    here = str(Path(__file__).parent)
    for item in items:
        if str(item.path).startswith(here):
            item.add_marker("process")


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    """A browser without a window."""
    if _CHROMIUM is None:
        pytest.skip("there is no Chromium, so no page was tried; `apt-get install chromium`")
    expect.set_options(timeout=PATIENCE * 1000)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=_CHROMIUM, args=_ARGUMENTS)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def portal(chromium: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Portal]:
    with contextlib.ExitStack() as stack:
        yield Portal(stack, tmp_path_factory.mktemp("portal"))


Enter = Callable[..., User]


@pytest.fixture
def enter(chromium: Browser, portal: Portal) -> Iterator[Enter]:
    """Opens a browser for somebody, and logs them in if they are named."""
    users: list[User] = []
    # Whatever a test before has left.
    portal.take(0)

    def enter(login: str | None = None, url: str | None = None, **said: Any) -> User:
        user = User(portal, chromium.new_context(locale="en-GB", **said), url)
        users.append(user)
        return user if login is None else user.log_in(login)

    yield enter
    faults = [fault for user in users for fault in user.faults]
    for user in users:
        user.context.close()
    portal.take(0)
    assert faults == []


@pytest.fixture
def free_port() -> int:
    return portal_site.free_port()
