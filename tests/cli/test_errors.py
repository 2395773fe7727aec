"""What a stranger does wrong: one line that says so, with the cure, and status 2."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import sample
from storages import file_storage
from ZODB.DB import DB
from ZODB.FileStorage import FileStorage

import zodbjobs
from zodbjobs.cli.main import main

Run = Callable[..., Any]
Put = Callable[..., list[str]]

# One command of each kind, that needs no more than a database and an id.
READING = (
    *("jobs", "stats", "workers", "resume", "drain", "agents", "quotas", "conflicts"),
    "metrics",
)
OPERATIONS = ("cancel", "retry", "remove", "forget")
WITH_ID = ("show", "watch", *OPERATIONS)


def words(name: str, database: object) -> list[object]:
    more = {"put": ["sample:nothing"], **{name: ["1"] for name in WITH_ID}}
    return [name, database, *more.get(name, [])]


EVERY = ("worker", "put", *READING, *WITH_ID)


@pytest.mark.parametrize("name", [*EVERY, "check"])
def test_missing_file(run: Run, tmp_path: Path, name: str) -> None:
    path = tmp_path / "missing.fs"
    problem = run(*words(name, path)).problem
    assert f"there is no file {path}" in problem
    assert f"zodbjobs worker --create {path}" in problem
    assert not path.exists()


@pytest.mark.parametrize("name", EVERY)
def test_held_file(run: Run, path: Path, name: str) -> None:
    with contextlib.closing(file_storage(path.parent)):
        problem = run(*words(name, path)).problem
    assert f"{path} is held by process {os.getpid()}" in problem
    assert "--read-only" in problem


def test_file_that_a_worker_has_open(
    run_process: Run, worker: Callable[..., subprocess.Popen[str]], path: Path
) -> None:
    process = worker(path)
    problem = run_process("put", path, "sample:nothing").problem
    assert f"held by process {process.pid}," in problem
    jobs = run_process("jobs", path, "--read-only")
    assert (jobs.status, jobs.out, jobs.err) == (0, "no such jobs\n", "")


def test_held_file_by_uri(run: Run, path: Path) -> None:
    with contextlib.closing(file_storage(path.parent)):
        assert f"is held by process {os.getpid()}" in run("jobs", f"file://{path}").problem


@pytest.mark.parametrize("content", [b"", b"# notes\n", b"\x00" * 100])
def test_not_a_file_storage(run: Run, tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "notes.txt"
    path.write_bytes(content)
    for name in ("jobs", "put", "worker"):
        assert f"{path} isn't a FileStorage; give the path" in run(*words(name, path)).problem
    assert path.read_bytes() == content
    assert list(tmp_path.iterdir()) == [path]


def test_directory(run: Run, tmp_path: Path) -> None:
    assert f"{tmp_path} is a directory; give" in run("jobs", tmp_path).problem
    assert f"{tmp_path} is a directory; give" in run("worker", "--create", tmp_path).problem


def test_directory_that_is_missing(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "missing" / "Data.fs"
    assert f"there is no directory {path.parent}" in run("worker", "--create", path).problem


@pytest.mark.parametrize(
    ("uri", "says"),
    [
        ("nosuch://localhost/x", "schemes: "),
        ("postgresql://localhost/x", "RelStorage"),
        ("zeo://localhost:port", "Port could not be cast"),
        ("zeo://localhost:1?wait_timeout=soon", "soon"),
        ("memory://x?bogus=1", "bogus"),
        ("demo:(nosuch://x)/(memory://y)", "nosuch"),
        ("zconfig:///nosuch/zodb.conf", "/nosuch/zodb.conf"),
        ("file:///nosuch/Data.fs", "there is no file /nosuch/Data.fs"),
        ("file:///nosuch/Data.fs?create=1", "there is no directory /nosuch"),
    ],
)
def test_bad_uri(run: Run, uri: str, says: str) -> None:
    problem = run("jobs", uri).problem
    assert says in problem
    assert uri.partition("?")[0] in problem or "there is no" in problem


def test_a_password_is_not_shown(run: Run) -> None:
    problem = run("jobs", "nosuch://ada:se:cr@et@host/x").problem
    assert "nosuch://ada:***@host/x" in problem
    assert "et@" not in problem


@pytest.mark.parametrize("name", ["jobs", "worker"])
def test_nobody_listens_at_the_port(run_process: Run, name: str) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        uri = f"zeo://127.0.0.1:{unused.getsockname()[1]}"
        query = "?wait_timeout=1"
        problem = run_process(name, uri + query).problem
    assert f"no server answers at {uri}?wait_timeout=1; start it" in problem


def test_nobody_waits_long_for_a_server(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("zodbjobs.cli.database.WAIT_SECONDS", 1)
    assert "zeo://127.0.0.1:1?wait_timeout=1;" in run("jobs", "zeo://127.0.0.1:1").problem


def test_pauses_of_what_is_not_there(run: Run, path: Path) -> None:
    for words in (["pause", "--reason", "why"], ["resume"], ["drain"]):
        name, *more = words
        assert "there is no queue 'none'" in run(name, path, "--queue", "none", *more).problem
    assert "paused or drained for a reason" in run("pause", path, "--reason", " ").problem
    assert "it is for nothing" in run("resume", path, "--match", "a:*").problem


UNKNOWN_IDS = ["123456", "abc", "0", "1", "99999999999999999999999"]


@pytest.mark.parametrize("name", ["show", "watch"])
@pytest.mark.parametrize("job_id", UNKNOWN_IDS)
def test_unknown_id(run: Run, path: Path, name: str, job_id: str) -> None:
    problem = run(name, path, job_id).problem
    assert f"there is no job {job_id} in {path}" in problem
    assert f"`zodbjobs jobs {path}` lists the ids" in problem


@pytest.mark.parametrize("name", OPERATIONS)
@pytest.mark.parametrize("job_id", UNKNOWN_IDS)
def test_unknown_id_of_an_operation(run: Run, path: Path, name: str, job_id: str) -> None:
    problem = run(name, path, job_id).problem
    assert f"there is no job {job_id} in the database; `zodbjobs jobs`" in problem


def test_an_unknown_id_stops_no_other(run: Run, put: Put, path: Path) -> None:
    first, last = put(zodbjobs.Job(sample.nothing), zodbjobs.Job(sample.nothing))
    done = run("cancel", path, first, "99", last, "abc")
    assert done.status == 2
    assert done.out == f"cancelled: {first} sample:nothing\ncancelled: {last} sample:nothing\n"
    said = [line.partition(";")[0] for line in done.err.splitlines()]
    assert said == [
        f"zodbjobs: there is no job {job_id} in the database" for job_id in ("99", "abc")
    ]


def test_unknown_queue(run: Run, path: Path) -> None:
    for command in (
        ("worker", path, "--queue", "mail"),
        ("put", path, "sample:nothing", "--queue", "mail"),
        ("jobs", path, "--queue", "mail"),
    ):
        assert "there is no queue 'mail' (there are: '')" in run(*command).problem


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (["sample"], "write MODULE:FUNCTION"),
        ([":add"], "write MODULE:FUNCTION"),
        (["nosuchmodule:add"], "No module named 'nosuchmodule'"),
        (["..sample:add"], "can't import ..sample"),
        (["sample:nosuch"], "sample has no function nosuch"),
        (["sample:noted"], "sample:noted is of the type list, not a function"),
        (["sample:Account.nosuch"], "has no function Account.nosuch"),
        (["sample:identity"], "missing a required argument: 'value'"),
        (["sample:identity", "1", "2"], "too many positional arguments"),
        (["sample:identity", "other=1"], "sample:identity(value: 'Any')"),
        (["sample:add", "--many", "3"], "--many"),
        (["sample:add", "--in", "-1"], "--in"),
        (["sample:add", "--in", "nan"], "--in"),
        (["sample:add", "--in", "1e30"], "--in"),
        (["sample:add", "--priority", "8"], "priority"),
    ],
)
def test_bad_call(run: Run, path: Path, call: list[str], says: str) -> None:
    assert says in run("put", path, *call).problem
    assert run("jobs", path).out == "no such jobs\n"


def test_module_that_ends_the_process(run: Run, tmp_path: Path) -> None:
    (tmp_path / "a_script_that_exits.py").write_text("raise SystemExit('usage: ...')\n")
    assert (
        "can't import a_script_that_exits"
        in run("put", tmp_path / "Data.fs", "a_script_that_exits:main").problem
    )


@pytest.mark.parametrize("name", [name for name in EVERY if name != "worker"])
def test_database_without_queues(run: Run, tmp_path: Path, name: str) -> None:
    path = tmp_path / "Data.fs"
    DB(FileStorage(str(path))).close()
    problem = run(*words(name, path)).problem
    assert f"{path} has no queues yet" in problem
    assert f"zodbjobs worker {path}" in problem


@pytest.mark.parametrize("name", ["put", "worker"])
def test_read_only_storage(run: Run, tmp_path: Path, name: str) -> None:
    path = tmp_path / "Data.fs"
    db = DB(FileStorage(str(path)))
    if name == "put":
        zodbjobs.install(db)
    db.close()
    problem = run(*words(name, f"file://{path}?read_only=1")).problem
    assert "opened read-only, nothing was changed; " in problem


def test_watch_of_a_job_that_nobody_can_run_meanwhile(run: Run, put: Put, path: Path) -> None:
    (waiting,) = put(zodbjobs.Job(sample.nothing))
    problem = run("watch", path, waiting).problem
    assert f"start `zodbjobs worker {path}`" in problem


def test_wrong_status(run: Run, put: Put, path: Path) -> None:
    (waiting,) = put(zodbjobs.Job(sample.nothing))
    assert "only a parked job" in run("retry", path, waiting).problem
    assert "only a job that has ended can be forgotten" in run("forget", path, waiting).problem
    run("cancel", path, waiting)
    assert "only a job in a queue can be cancelled" in run("cancel", path, waiting).problem
    assert (
        "has ended, it doesn't wait in the default queue; forget it"
        in run("remove", path, waiting).problem
    )


@pytest.mark.parametrize(
    "call",
    [
        ["jobs"],
        ["nosuch"],
        ["--nosuch"],
        ["show", "Data.fs"],
        ["show", "Data.fs", "1", "2"],
        ["jobs", "Data.fs", "--nosuch"],
        ["jobs", "Data.fs", "--status", "nosuch"],
        ["jobs", "Data.fs", "--limit", "0"],
        ["worker", "Data.fs", "--threads", "0"],
        ["zc-async"],
    ],
)
def test_wrong_usage(run: Run, call: list[str]) -> None:
    assert "--help`" in run(*call).problem


def test_job_whose_class_is_missing(
    run: Run, put: Put, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Special(zodbjobs.Job):
        pass

    Special.__module__, Special.__qualname__ = "sample", "Special"
    with monkeypatch.context() as patch:
        patch.setattr(sample, "Special", Special, raising=False)
        (special,) = put(Special(sample.nothing))
    assert special in run("jobs", path).out
    assert "the class sample.Special is missing" in run("show", path, special).out
    for name in OPERATIONS:
        if name != "remove":
            assert "the class sample.Special is missing" in run(name, path, special).problem
    assert run("remove", path, special).out == f"removed: {special} sample:nothing\n"
    assert special not in run("jobs", path).out


def test_without_the_extra(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    assert 'pip install "zodbjobs[cli]"' in capsys.readouterr().err
