"""`zodbjobs metrics`: printed once, and served."""

from __future__ import annotations

import contextlib
import signal
import socket
import subprocess
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import sample
from patience import PATIENCE, until
from prometheus_client.parser import text_string_to_metric_families

import zodbjobs

Put = Callable[..., list[str]]


def put_count(text: str) -> float:
    families = {each.name: each for each in text_string_to_metric_families(text)}
    return sum(each.value for each in families["zodbjobs_put"].samples)


def put_at(url: str) -> float | None:
    """None until all is counted: a slow machine has not the time for it in one scrape."""
    with urllib.request.urlopen(url, timeout=PATIENCE) as got:
        text = got.read().decode()
    return put_count(text) if "zodbjobs_put_total{" in text else None


def test_it_prints_once(run: Any, path: Path, put: Put) -> None:
    put(*(zodbjobs.Job(sample.nothing) for _ in range(3)))
    done = run("metrics", path)
    assert (done.status, done.err) == (0, "")
    assert put_count(done.out) == 3


def test_it_is_served_until_it_is_told_to_stop(
    start: Callable[..., subprocess.Popen[str]], path: Path, put: Put
) -> None:
    put(zodbjobs.Job(sample.nothing))
    process = start("metrics", path, "--serve", "0")
    assert process.stderr is not None
    url = process.stderr.readline().split()[-1]
    assert url.startswith("http://127.0.0.1:")
    with urllib.request.urlopen(url, timeout=PATIENCE) as got:
        assert got.headers["Content-Type"].startswith("text/plain")
    until(lambda: put_at(url) == 1)
    with pytest.raises(urllib.error.HTTPError, match="404"):
        urllib.request.urlopen(f"{url}/jobs", timeout=PATIENCE)
    process.send_signal(signal.SIGTERM)
    assert process.wait(PATIENCE) == 0
    assert process.stderr.read() == ""


def test_a_server_that_was_asked_is_seen_as_it_is_now(
    start: Callable[..., subprocess.Popen[str]], run_process: Any, zeo: str
) -> None:
    process = start("metrics", zeo, "--serve", "127.0.0.1:0")
    assert process.stderr is not None
    url = process.stderr.readline().split()[-1]
    for number in range(2):
        until(lambda number=number: put_at(url) == number)
        assert run_process("put", zeo, "sample:nothing").status == 0


@pytest.mark.parametrize("given", ["x", "127.0.0.1:", ":9100", "70000", "-1"])
def test_what_is_no_address(run: Any, path: Path, given: str) -> None:
    problem = run("metrics", path, f"--serve={given}").problem
    assert f"{given!r} is no address; write PORT or HOST:PORT" in problem


def test_a_file_that_is_only_looked_at_is_not_served(run: Any, path: Path) -> None:
    assert run("metrics", path, "--read-only").status == 0
    problem = run("metrics", path, "--read-only", "--serve", "0").problem
    assert "sees no later change; leave out --serve or" in problem


def test_a_port_that_is_taken(run: Any, path: Path) -> None:
    with contextlib.closing(socket.create_server(("127.0.0.1", 0))) as taken:
        port = taken.getsockname()[1]
        problem = run("metrics", path, "--serve", port).problem
    assert f"can't listen at {port}: Address already in use; choose another" in problem


def test_without_the_extra(run: Any, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert 'pip install "zodbjobs[metrics]"' in run("metrics", path).problem
