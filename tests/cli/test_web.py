"""`zodbjobs web`: who gets in, and what it does around a request."""

from __future__ import annotations

import base64
import contextlib
import json
import signal
import socket
import subprocess
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import sample
import transaction
import webtest
from patience import PATIENCE
from ZODB.POSException import ConflictError, ReadOnlyError

import zodbjobs
from zodbjobs.cli.commands.web import PASSWORD_VARIABLE
from zodbjobs.web import host
from zodbjobs.web.host import by_header, by_password, make_host

PASSWORD = "correct horse"


def basic(password: str = PASSWORD, name: str = "Zoë") -> dict[str, str]:
    words = base64.b64encode(f"{name}:{password}".encode()).decode()
    return {"Authorization": f"Basic {words}"}


@pytest.fixture
def browser(db: Any) -> webtest.TestApp:
    return webtest.TestApp(make_host(db, by_password(PASSWORD), asks_password=True))


@pytest.fixture
def job_id(queue: Any) -> str:
    job = queue.put(zodbjobs.Job(sample.nothing))
    transaction.commit()
    return zodbjobs.get_job_id(job)


# Who gets in


@pytest.mark.parametrize(
    "headers",
    [
        {},
        basic("wrong"),
        basic(""),
        basic(name="x" * 501),
        {"Authorization": "Basic"},
        {"Authorization": "Basic %%%"},
        {"Authorization": "Basic /////w=="},
        {"Authorization": f"Bearer {PASSWORD}"},
        {"X-User": "ada"},
    ],
)
def test_it_is_closed(browser: webtest.TestApp, job_id: str, headers: dict[str, str]) -> None:
    for path in ("/", f"/jobs/{job_id}", "/static/style.css", "/nowhere"):
        got = browser.get(path, headers=headers, status=401)
        assert got.headers["WWW-Authenticate"] == 'Basic realm="zodbjobs", charset="UTF-8"'
        assert got.text == "Log in first.\n"


def test_who_knows_the_password_may_do_all(browser: webtest.TestApp, job_id: str) -> None:
    page = browser.get(f"/jobs/{job_id}", headers=basic())
    assert page.html.select_one(".zj-who span").text == "Zoë"
    asked = browser.get(page.html.select_one("#zj-cancel")["href"], headers=basic())
    (form,) = asked.forms.values()
    assert form.submit(headers=basic()).status_int == 303
    page = browser.get(f"/jobs/{job_id}", headers=basic())
    assert page.html.select_one(".zj-state").text == "cancelled"


@pytest.mark.parametrize(
    ("address", "headers", "status"),
    [
        ("127.0.0.1", {"X-User": "ada"}, 200),
        ("10.0.0.7", {"X-User": "ada"}, 403),
        ("127.0.0.1", {"X-User": " "}, 403),
        ("127.0.0.1", {"X-User": "x" * 501}, 403),
        ("127.0.0.1", {}, 403),
        ("127.0.0.1", basic(), 403),
    ],
)
def test_a_proxy_says_who_asks(
    db: Any, address: str, headers: dict[str, str], status: int
) -> None:
    app = make_host(db, by_header("X-User", ["127.0.0.1"]), asks_password=False)
    browser = webtest.TestApp(app, extra_environ={"REMOTE_ADDR": address})
    assert browser.get("/", headers=headers, status="*").status_int == status


# Around a request


def test_a_post_that_conflicts_is_made_again(
    browser: webtest.TestApp, job_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    (form,) = browser.get(f"/jobs/{job_id}/cancel", headers=basic()).forms.values()
    attempts = []
    commit = transaction.TransactionManager.commit

    def conflict_once(manager: Any) -> None:
        attempts.append(manager)
        if len(attempts) == 1:
            raise ConflictError
        commit(manager)

    monkeypatch.setattr(transaction.TransactionManager, "commit", conflict_once)
    assert form.submit(headers=basic()).status_int == 303
    assert len(attempts) == 2
    page = browser.get(f"/jobs/{job_id}", headers=basic())
    assert page.html.select_one(".zj-state").text == "cancelled"


@pytest.mark.parametrize(
    ("error", "status"), [(ConflictError, 503), (ReadOnlyError, 409), (ValueError, 500)]
)
def test_errors_are_told_and_kept(
    browser: webtest.TestApp,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    error: type[Exception],
    status: int,
) -> None:
    def fail(*args: Any) -> None:
        raise error("a secret")

    monkeypatch.setattr(host, "_once", fail)
    got = browser.get("/", headers=basic(), status=status)
    assert "secret" not in got.text
    assert got.content_type == "text/plain"
    if status == 500:
        assert "a secret" in caplog.text


def test_connections_come_back(browser: webtest.TestApp, db: Any, job_id: str) -> None:
    before = opened(db)
    for path in ("/", "/nowhere", f"/jobs/{job_id}/cancel"):
        browser.get(path, headers=basic(), status="*")
    assert opened(db) == before


def opened(db: Any) -> int:
    return len([each for each in db.connectionDebugInfo() if each["opened"]])


# The command


@pytest.fixture
def serve(start: Callable[..., subprocess.Popen[str]]) -> Iterator[Callable[..., str]]:
    """Starts the command; returns where it serves."""

    def serve(*words: object, **env: str) -> str:
        process = start("web", *words, "--listen", "127.0.0.1:0", **env)
        assert process.stderr is not None
        line = process.stderr.readline()
        assert " are at http://" in line, line + process.stderr.read()
        processes.append(process)
        return line.split()[-1]

    processes: list[subprocess.Popen[str]] = []
    yield serve
    for process in processes:
        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE) == 0


def fetch(url: str, headers: dict[str, str]) -> Any:
    return urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=PATIENCE)


@pytest.mark.process
def test_it_serves_below_a_prefix(
    serve: Callable[..., str], put: Callable[..., list[str]], path: Path
) -> None:
    (job_id,) = put(zodbjobs.Job(sample.nothing))
    url = serve(path, "--prefix", "/jobs-of-us", **{PASSWORD_VARIABLE: PASSWORD})
    assert url.endswith("/jobs-of-us/")
    with fetch(f"{url}jobs/{job_id}.json", basic()) as got:
        said = json.load(got)
        assert (got.status, said["page"]) == (202, f"/jobs-of-us/jobs/{job_id}")
        assert "Server" not in got.headers
    with pytest.raises(urllib.error.HTTPError, match="401"):
        fetch(url, {})


@pytest.mark.process
def test_a_name_from_a_proxy(serve: Callable[..., str], path: Path) -> None:
    url = serve(path, "--user-header", "X-Remote-User")
    with fetch(url, {"X-Remote-User": "ada"}) as got:
        assert "ada" in got.read().decode()
    with pytest.raises(urllib.error.HTTPError, match="403"):
        fetch(url, {"X_Remote_User": "ada"})


def test_what_is_wrong_is_told_in_one_line(run: Any, path: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").write_text("\n")
    (tmp_path / "short").write_text("1234567\n")
    (tmp_path / "binary").write_bytes(b"\xff" * 8)
    secret = {PASSWORD_VARIABLE: PASSWORD}
    for words, env, problem in [
        ((), {}, f"nobody could log in: set {PASSWORD_VARIABLE}"),
        (("--password-file", "empty"), {}, "the first line of empty is empty"),
        (("--password-file", "short"), {}, "the password is too short; take 8 characters"),
        (("--password-file", "binary"), {}, "can't read the password in binary"),
        (("--password-file", "none"), {}, "'none' does not exist"),
        (("--user-header", "X-User"), secret, "give one of the two"),
        (("--user-header", "X", "--listen", "0.0.0.0:1"), {}, "name the proxy with --proxy"),
        (("--listen", "8080"), secret, "'8080' is no address; write HOST:PORT"),
        (("--listen", "127.0.0.1:99999"), secret, "is no address"),
        (("--listen", "192.0.2.1:0"), secret, "can't listen at 192.0.2.1:0"),
    ]:
        assert problem in run("web", path, *words, **env).problem
    assert "there is no file" in run("web", tmp_path / "none.fs", **secret).problem


def test_a_port_that_is_taken(run: Any, path: Path) -> None:
    with contextlib.closing(socket.create_server(("127.0.0.1", 0))) as taken:
        port = taken.getsockname()[1]
        problem = run(
            "web", path, "--listen", f"127.0.0.1:{port}", **{PASSWORD_VARIABLE: PASSWORD}
        ).problem
    assert f"can't listen at 127.0.0.1:{port}: Address already in use; choose" in problem


def test_without_the_extra(run: Any, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert 'pip install "zodbjobs[web]"' in run("web", path).problem
