"""`zodbjobs schedules`, and those that the code of a worker declares."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import patience
import pytest
import sample
from storages import file_storage

import zodbjobs
from zodbjobs.cli.errors import CommandError
from zodbjobs.cli.worker_command import found_schedules
from zodbjobs.testing import run_jobs

Run = Callable[..., Any]


@pytest.fixture
def add(path: Path, run: Run) -> Callable[..., Any]:
    with contextlib.closing(file_storage(path.parent)) as db:
        zodbjobs.install(db)

    def add(*words: str) -> Any:
        return run("schedules", path, "add", *words)

    return add


def test_add_show_and_list(path: Path, run: Run, add: Run) -> None:
    assert "there are no schedules" in run("schedules", path).out
    made = add("nightly", "sample:add", "1", "more=2", "--cron", "30 2 * * *", "--zone", "UTC").out
    assert "At 02:30 every day" in made
    assert made.count("\nnext ") == 10
    told = json.loads(run("schedules", path, "show", "nightly", "--json").out)
    assert (told["state"], told["calls"], told["fired"]) == ("active", "sample:add", 0)
    assert len(told["upcoming"]) == 10
    add(
        "often",
        "sample:nothing",
        "--every",
        "5m",
        "--overlap",
        "allow",
        "--pause-after-failures",
        "3",
    )
    lines = run("schedules", path).out.splitlines()
    assert [line.split()[:2] for line in lines[1:]] == [["nightly", "active"], ["often", "active"]]
    assert [each["name"] for each in json.loads(run("schedules", path, "--json").out)] == [
        *("nightly", "often"),
    ]


def test_spans_moments_and_what_is_unlimited(path: Path, run: Run, add: Run) -> None:
    made = add("soon", "sample:nothing", "--at", "90m", "--window", "any").out
    assert "when         at 1 moment\n" in made
    assert made.count("\nnext ") == 1
    assert "latest, of any age" in made
    made = add("often", "sample:nothing", "--every", "90", "--pause-after-failures", "3").out
    assert "when         every 0:01:30\n" in made
    assert "pause after  3 failures" in made
    edited = run("schedules", path, "edit", "often", "--pause-after-failures", "0").out
    assert "pause after" not in edited
    run("schedules", path, "edit", "often", "--window", "2h")
    edited = run("schedules", path, "edit", "often", "--window", "any", "--timeout", "5m").out
    assert "latest, of any age" in edited


def test_edit_pause_resume_run_and_remove(path: Path, run: Run, add: Run) -> None:
    add("nightly", "sample:add", "1", "--cron", "@daily")
    edited = run("schedules", path, "edit", "nightly", "--every", "12h", "--catch-up", "all").out
    assert "every 12:00:00" in edited
    assert "catch up     all, for 24" in edited
    paused = run("schedules", path, "pause", "nightly", "--reason", "a holiday").out
    assert ": a holiday" in paused
    assert (
        "state        active" in run("schedules", path, "resume", "nightly", "--why", "over").out
    )
    job_id = run("schedules", path, "run", "nightly").out.strip()
    with contextlib.closing(file_storage(path.parent)) as db:
        assert run_jobs(db) == 1
    assert f"run          job {job_id}, " in run("schedules", path, "show", "nightly").out
    assert run("schedules", path, "remove", "nightly").out == "nightly: removed\n"
    deeds = [entry["action"] for entry in json.loads(run("audit", path, "--json").out)]
    assert deeds == [
        *("remove schedule", "run schedule", "resume schedule", "pause schedule"),
        *("edit schedule", "create schedule"),
    ]


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (["add", "bad", "sample:nothing", "--cron", "0 25 * * *"], "at character 3, in its hour"),
        (["add", "bad", "sample:nothing"], "say when: --cron"),
        (["add", "bad", "--cron", "@daily"], "add bad MODULE:FUNCTION"),
        (["add", "bad", "sample:nothing", "--at", "noon"], "as 90m for 90 minutes from now"),
        (["resume", "nowhere", "--reason", "over"], "--reason is for pause"),
        (["add", "bad", "sample:nowhere", "--cron", "@daily"], "no function nowhere"),
        (["add", "bad", "sample:nothing", "--every", "5x"], "write it as 90s, 5m"),
        (["show"], "say which schedule"),
        (["show", "nowhere"], "there is no schedule 'nowhere'"),
        (["pause", "nowhere"], "--reason TEXT"),
        (["run", "nowhere", "--cron", "@daily"], "are for add and edit"),
        (["dance", "nowhere"], "'dance' is not one of"),
    ],
)
def test_what_is_wrong_is_told_in_a_line(
    path: Path, run: Run, add: Run, words: list[str], why: str
) -> None:
    ended = run("schedules", path, *words)
    assert ended.status == 2
    assert why in ended.err
    assert ended.err.count("\n") == 1


def test_a_worker_finds_what_its_code_declares() -> None:
    assert found_schedules(None) == []
    with pytest.raises(CommandError, match="write MODULE:NAME"):
        found_schedules("nowhere:NAMES")
    with pytest.raises(CommandError, match="write MODULE:NAME"):
        found_schedules("sample")
    with pytest.raises(CommandError, match="not iterable; give the name of a list"):
        found_schedules("sample:nothing")


@pytest.mark.parametrize("more", [(), ("--processes", "2")])
def test_a_worker_declares_them(path: Path, worker: Run, run: Run, more: Any) -> None:
    with contextlib.closing(file_storage(path.parent)) as db:
        zodbjobs.install(db)
    process = worker(path, "--schedules", "declared:SCHEDULES", *more)
    process.terminate()
    assert patience.ended(process) == 0
    told = json.loads(run("schedules", path, "show", "nightly", "--json").out)
    assert (told["declared"], told["state"], told["zone"]) == (True, "undeclared", "Europe/Berlin")


def test_lateness(path: Path) -> None:
    with contextlib.closing(file_storage(path.parent)) as db:
        zodbjobs.install(db)
        with db.transaction() as connection, zodbjobs.testing.moving_clock() as clock:
            schedules = zodbjobs.get_queues(connection).schedules
            schedules.create("often", sample.nothing, every=timedelta(minutes=5))
            assert zodbjobs.insights.schedule_lateness(connection) == timedelta(0)
            clock.advance(390)
            assert zodbjobs.insights.schedule_lateness(connection) == timedelta(seconds=90)
            (info,) = zodbjobs.insights.list_schedules(connection)
            assert (info.state, info.lateness) == ("active", timedelta(seconds=90))
