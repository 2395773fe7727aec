"""`zodbjobs demo`: does the work, says what it did, and notices what isn't as promised."""

from __future__ import annotations

import csv
import json
import logging
import re
import subprocess
import sys
from collections.abc import Callable
from datetime import timedelta
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from patience import until

from zodbjobs.cli.commands import cli
from zodbjobs.cli.database import opened
from zodbjobs.demo import portal, run, workload
from zodbjobs.insights.reading import reading
from zodbjobs.stored.lifecycle import calls
from zodbjobs.stored.lifecycle.root import get_queues

STUDENTS = 300

# Each is a commit, and a disk may take long for one.
CHARGES = 200

# The command with as many.
DEMO = f"""
from zodbjobs.cli import main
from zodbjobs.demo import workload
workload.SMALL = {CHARGES}
main.main()
"""


def zodbjobs(*args: object) -> subprocess.CompletedProcess[str]:
    return python("-m", "zodbjobs.cli.main", *args)


def python(*args: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *map(str, args)], capture_output=True, text=True, timeout=100
    )


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("demo") / "kept"


@pytest.fixture(scope="module")
def made(kept: Path) -> subprocess.CompletedProcess[str]:
    """The demo, run once for all tests that look at what it leaves."""
    return python("-c", DEMO, "demo", "--students", STUDENTS, "--seconds", 0.5, "--keep", kept)


@pytest.mark.process
class TestTheCommand:
    def test_all_is_as_promised(self, made: Any) -> None:
        assert made.returncode == 0, made.stdout + made.stderr
        assert "All as promised." in made.stdout
        assert "300 rows" in made.stdout
        assert made.stderr == ""  # the error that the failing job logs isn't in between

    def test_it_says_how_each_job_ended(self, made: Any) -> None:
        summary = made.stdout[made.stdout.index("OUTCOME") :]
        outcomes = [line.split("  ")[1].split()[0] for line in _cells(summary)[:7]]
        assert outcomes == [*("succeeded", "succeeded", "failed"), *["succeeded"] * 3, "active"]
        assert "46" in summary
        assert "X25000000, who is no student" in summary
        assert "jobs a second" in summary

    def test_states_are_told_as_they_change(self, made: Any) -> None:
        assert "close registration: scheduled" in made.stdout
        assert "close registration: succeeded" in made.stdout
        assert "200 of 200" in made.stdout
        assert "issue 300 cards: succeeded  100 %" in made.stdout
        assert "bell, each second: active" in made.stdout

    def test_the_csv_has_the_students_of_the_database(self, made: Any, kept: Path) -> None:
        with (kept / "students.csv").open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
        with opened(str(kept / "Data.fs")) as db, reading(db) as connection:
            students = connection.root()["students"]
            assert [row["matric_number"] for row in rows] == list(students)
            for row in rows:
                student = students[row["matric_number"]]
                assert row["given_name"] == student["given_name"]
                assert row["date_of_birth"] == student["date_of_birth"].isoformat()
        assert len(rows) == STUDENTS

    def test_other_commands_read_what_it_leaves(self, made: Any, kept: Path) -> None:
        path = kept / "Data.fs"
        assert f"jobs {path}" in made.stdout
        assert f"stats {path}" in made.stdout

        failed = json.loads(zodbjobs("jobs", path, "--outcome", "failed", "--json").stdout)
        assert [job["description"] for job in failed] == ["zodbjobs.demo.portal:import_payments"]
        stats = json.loads(zodbjobs("stats", path, "--json").stdout)
        assert stats["workers"] == []
        bell = json.loads(zodbjobs("schedules", path, "show", "bell", "--json").stdout)
        assert bell["paused"] == "the demo is over"
        # The last one may have been put as the worker stopped.
        rung = bell["fired"] - sum(run["state"] != "succeeded" for run in bell["runs"])
        assert rung > 0
        assert [queue["finished"] for queue in stats["queues"]] == [CHARGES + 5 + rung]

    def test_what_a_job_logged_is_kept_with_it(self, made: Any, kept: Path) -> None:
        path = kept / "Data.fs"
        (export_id,) = re.findall(rf"show {re.escape(str(path))} (\d+)", made.stdout)
        shown = zodbjobs("show", path, export_id).stdout
        assert f"exported {STUDENTS} students" in shown

    def test_what_is_there_isnt_overwritten(self, made: Any, kept: Path) -> None:
        before = (kept / "Data.fs").stat()
        again = zodbjobs("demo", "--keep", kept)
        assert again.returncode == 2
        assert again.stderr.count("\n") == 1
        assert "is there already" in again.stderr
        assert (kept / "Data.fs").stat().st_mtime_ns == before.st_mtime_ns


def _cells(summary: str) -> list[str]:
    """The lines of the table, two spaces between their cells."""
    lines = summary.splitlines()[1:]
    return ["  ".join(part for part in line.split("  ") if part.strip()) for line in lines]


# In this process, with something changed


@pytest.fixture
def demo(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    monkeypatch.setattr(workload, "LATE", timedelta(seconds=0.2))
    monkeypatch.setattr(workload, "SMALL", 100)

    def run_demo(*args: str) -> Result:
        words = ["demo", "--students", "50", "--seconds", "0.2", *args]
        return CliRunner().invoke(cli, words)

    return run_demo


def test_a_fine_run_has_status_0(demo: Any) -> None:
    done = demo()
    assert done.exit_code == 0, done.output
    assert "The database is removed" in done.output
    assert "--keep DIR" in done.output


def test_a_csv_with_a_row_too_few(demo: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    track = portal.local.track
    monkeypatch.setattr(
        portal.local, "track", lambda values, total: islice(track(values, total), total - 1)
    )
    done = demo()
    assert done.exit_code == 1
    assert "Not as promised: the CSV's 49 rows aren't those of the 50 students" in done.output
    assert "All as promised" not in done.output


def test_a_fee_that_is_charged_twice(demo: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    charge = portal.charge

    def twice(student: portal.Record, amount: int) -> int:
        return charge(student, 2 * amount)

    _replace(monkeypatch, "charge", twice)
    done = demo()
    assert done.exit_code == 1
    assert "Not as promised: 50 students don't owe what they should" in done.output


def test_a_card_that_is_issued_twice(demo: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    issue_card = portal.issue_card

    def twice(student: portal.Record, cards: Any) -> None:
        issue_card(student, cards)
        issue_card(student, cards)

    _replace(monkeypatch, "issue_card", twice)
    done = demo()
    assert done.exit_code == 1
    assert "students haven't the one card that they should" in done.output


def test_a_sweep_that_sets_nobody_aside(demo: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(portal, "_PROBATION", 3.0)  # for half of 50 students
    _replace(monkeypatch, "issue_card", lambda student, cards: None)
    done = demo()
    assert done.exit_code == 1
    assert "the sweep has set 0 students aside, not the " in done.output


def test_a_bell_that_rings_twice(demo: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    ring = portal.ring

    def twice(bell: Any) -> str:
        ring(bell)
        return ring(bell)

    _replace(monkeypatch, "ring", twice)
    done = demo()
    assert done.exit_code == 1
    assert "the bell rang at a time that wasn't planned, or twice" in done.output


def test_a_bell_that_rings_as_the_worker_stops(demo: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    follow = run._follow

    def and_one_more(console: Any, connection: Any, put: workload.Workload) -> None:
        follow(console, connection, put)
        with reading(connection.db()) as other:

            def has_rung() -> bool:
                other.sync()
                fired: int = get_queues(other).schedules["bell"].fired
                return fired > put.bell.fired

            until(has_rung)

    monkeypatch.setattr(run, "_follow", and_one_more)
    done = demo()
    assert done.exit_code == 0, done.output


def test_an_import_that_takes_bad_payments(demo: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    _replace(monkeypatch, "import_payments", lambda students, payments: len(payments))
    done = demo()
    assert done.exit_code == 1
    assert "the import of bad payments is succeeded, not failed" in done.output


def test_a_job_that_fails_and_shouldnt(demo: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(the_portal: portal.Record) -> str:
        raise RuntimeError("the office has closed")

    _replace(monkeypatch, "close_registration", broken)
    done = demo()
    assert done.exit_code == 1
    assert "the late job is failed, not succeeded (RuntimeError: the off" in done.output
    assert "registration is open, not closed" in done.output
    assert "Logged: ERROR zodbjobs: " in done.output


def _replace(monkeypatch: pytest.MonkeyPatch, name: str, function: Any) -> None:
    """Let `function` be called instead of the job function of that name."""
    # Jobs are stored by name, and what a name led to is remembered.
    function.__module__, function.__qualname__ = portal.__name__, name
    monkeypatch.setattr(portal, name, function)
    monkeypatch.setitem(calls._found, f"{portal.__name__}:{name}", function)


def test_logging_is_as_before(demo: Any) -> None:
    handlers, level = list(logging.root.handlers), portal.log.level
    demo()
    assert logging.root.handlers == handlers
    assert portal.log.level == level


def test_a_directory_that_cant_be_made(demo: Any, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    done = demo("--keep", str(tmp_path / "file" / "below"))
    assert done.exit_code == 2
    assert "name another directory" in done.output
