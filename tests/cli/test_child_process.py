"""When a child is restarted, and how its exit is told; addresses of ZEO servers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from zodbjobs.cli import child_process
from zodbjobs.cli.child_process import (
    MOST_RESTART_SECONDS,
    STEADY_SECONDS,
    ChildProcess,
    exit_text,
)
from zodbjobs.cli.zeo_address import of_uri, parse, uri_of
from zodbjobs.testing import MovableClock, moving_clock


class Process:
    pid = 1
    stdout = None

    def wait(self) -> int:
        return 0


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Iterator[MovableClock]:
    monkeypatch.setattr(child_process.subprocess, "Popen", lambda *args, **kwargs: Process())
    with moving_clock() as made:
        yield made


def made() -> ChildProcess:
    settings: dict[str, Any] = {"name": "worker 1", "pipes": ()}
    return ChildProcess("module", settings, lambda event: None, writes=False)


def test_the_delay_grows_while_it_dies_soon(clock: MovableClock) -> None:
    child = made()
    delays = []
    for _ in range(8):
        child.start()
        assert child.restart_at is None
        clock.advance(0.5)
        child.exited(restart=True)
        assert child.restart_at is not None
        delays.append(child.restart_at - clock.monotonic())
    assert delays == [0, 1, 2, 4, 8, 16, MOST_RESTART_SECONDS, MOST_RESTART_SECONDS]
    child.start()
    clock.advance(STEADY_SECONDS)
    child.exited(restart=True)
    assert child.restart_at == clock.monotonic()


def test_the_last_end_is_followed_by_no_start(clock: MovableClock) -> None:
    child = made()
    child.start()
    assert child.pid == 1
    child.exited(restart=False)
    assert (child.pid, child.restart_at) == (None, None)


@pytest.mark.parametrize(
    ("status", "says"),
    [
        (0, "ended with status 0"),
        (2, "ended with status 2"),
        (-9, "was killed by SIGKILL"),
        (-99, "was killed by signal 99"),
    ],
)
def test_how_it_ended(status: int, says: str) -> None:
    assert exit_text(status) == says


@pytest.mark.parametrize(
    ("text", "address", "uri"),
    [
        ("8100", ("127.0.0.1", 8100), "zeo://127.0.0.1:8100"),
        ("host:8100", ("host", 8100), "zeo://host:8100"),
        ("[::1]:8100", ("::1", 8100), "zeo://[::1]:8100"),
        ("/run/portal/zeo", "/run/portal/zeo", "zeo:///run/portal/zeo"),
    ],
)
def test_addresses_and_uris(text: str, address: object, uri: str) -> None:
    assert parse(text) == address
    made = uri_of(parse(text), "/srv/a b.blobs")
    assert made == f"{uri}?blob_dir=/srv/a%20b.blobs&shared_blob_dir=1"
    assert of_uri(made) == address


@pytest.mark.parametrize("uri", ["", "zeo://", "http://host:80", "zeo://host:port", "/path"])
def test_other_texts_have_no_address(uri: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011
        of_uri(uri)
