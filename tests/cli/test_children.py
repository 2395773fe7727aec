"""When a child is started again, and what is said of its end."""

from __future__ import annotations

from typing import Any

import pytest

from zodbjobs.cli import children
from zodbjobs.cli.address import of_uri, parse, uri_of
from zodbjobs.cli.children import LONGEST_PAUSE, STEADY_SECONDS, Child, how


class Clock:
    now = 1000.0

    def monotonic(self) -> float:
        return self.now


class Process:
    pid = 1
    stdout = None

    def wait(self) -> int:
        return 0


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(children, "time", made)
    monkeypatch.setattr(children.subprocess, "Popen", lambda *args, **kwargs: Process())
    return made


def made() -> Child:
    orders: dict[str, Any] = {"name": "worker 1", "lifeline": ()}
    return Child("module", orders, lambda event: None, speaks=False)


def test_the_pause_grows_while_it_dies_soon(clock: Clock) -> None:
    child = made()
    pauses = []
    for _ in range(8):
        child.start()
        assert child.due is None
        clock.now += 0.5
        child.ended(again=True)
        assert child.due is not None
        pauses.append(child.due - clock.now)
    assert pauses == [0, 1, 2, 4, 8, 16, LONGEST_PAUSE, LONGEST_PAUSE]
    child.start()
    clock.now += STEADY_SECONDS
    child.ended(again=True)
    assert child.due == clock.now


def test_the_last_end_is_followed_by_no_start(clock: Clock) -> None:
    child = made()
    child.start()
    assert child.pid == 1
    child.ended(again=False)
    assert (child.pid, child.due) == (None, None)


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
    assert how(status) == says


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
