"""Commands that are given an application in place of a database."""

from __future__ import annotations

import contextlib
import sys
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from storages import file_storage

from zodbjobs.cli import application

Run = Callable[..., Any]

# A command of each kind, with what follows its database.
WORDS: dict[str, list[str]] = {
    **{
        name: []
        for name in (
            "jobs",
            "stats",
            "workers",
            "agents",
            "quotas",
            "conflicts",
            "audit",
            "drain",
            "resume",
        )
    },
    **{name: ["17", "18"] for name in ("cancel", "retry", "remove", "forget")},
    **{name: ["17"] for name in ("show", "watch")},
    "pause": ["--reason", "it is late"],
    "put": ["sample:nothing", "1", "two=2"],
}


@pytest.fixture
def conf(monkeypatch: pytest.MonkeyPatch, path: Path) -> Path:
    """The configuration of an application, whose database is the file of the tests."""
    module = types.ModuleType("made_application")

    @contextlib.contextmanager
    def opened(conf: str, *, read_only: bool, wait_seconds: int | None) -> Iterator[Any]:
        with contextlib.closing(file_storage(path.parent)) as db:
            yield db

    vars(module)["opened"] = opened
    monkeypatch.setitem(sys.modules, "made_application", module)
    kind = application.KINDS["--zope-conf"]._replace(module="made_application")
    monkeypatch.setitem(application.KINDS, "--zope-conf", kind)
    made = path.parent / "zope.conf"
    made.touch()
    return made


@pytest.mark.parametrize("name", WORDS)
def test_all_that_follows_is_as_after_a_database(
    run: Run, path: Path, conf: Path, name: str
) -> None:
    first = run(name, "--zope-conf", conf, *WORDS[name])
    last = run(name, *WORDS[name], f"--zope-conf={conf}")
    plain = run(name, path, *WORDS[name])
    assert first.status == last.status == plain.status
    assert first.out.split()[:2] == last.out.split()[:2] == plain.out.split()[:2] or name == "put"
    assert first.err.replace(f"--zope-conf {conf}", str(path)) == plain.err


def test_a_database_beside_it_is_a_word_too_many(run: Run, conf: Path) -> None:
    assert "unexpected extra argument" in run("jobs", "Data.fs", "--zope-conf", conf).problem


@pytest.mark.parametrize("option", ["--create", "--address=127.0.0.1:0"])
def test_what_is_for_paths_is_refused(run: Run, conf: Path, option: str) -> None:
    problem = run("worker", "--zope-conf", conf, option).problem
    assert f"for paths; --zope-conf {conf} says where its data are" in problem


def test_a_configuration_that_is_not_there(run: Run) -> None:
    assert "File 'zope.conf' does not exist" in run("jobs", "--zope-conf", "zope.conf").problem


def test_without_zope_the_cure_is_named(run: Run, path: Path) -> None:
    for name in ("worker", "jobs"):
        problem = run(name, "--zope-conf", path).problem
        assert "install zodbjobs[zope] into the environment of the instance" in problem
