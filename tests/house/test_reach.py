"""What the package says that it works with is what is tested."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import all_pythons
import extras
import yaml

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
JOBS = yaml.safe_load((ROOT / ".github" / "workflows" / "ci.yml").read_text())["jobs"]


def pythons() -> list[str]:
    """Those that the package claims."""
    classifiers = PROJECT["project"]["classifiers"]
    found = (re.fullmatch(r"Programming Language :: Python :: (3\.\d+)", c) for c in classifiers)
    return [match[1] for match in found if match]


def numbers(version: str) -> tuple[int, ...]:
    """A version to be compared, without zeros at its end."""
    return tuple(int(number) for number in re.sub(r"(\.0)+$", "", version).split("."))


def test_the_floors_are_the_oldest_versions_that_are_tested() -> None:
    optional = PROJECT["project"]["optional-dependencies"]
    lists = [PROJECT["project"]["dependencies"]]
    lists += [needed for extra, needed in optional.items() if extra != "test"]
    needed = [each for needs in lists for each in needs if not each.startswith("zodbjobs[")]
    floors = dict(each.split(">=") for each in needed)
    lines = all_pythons.FLOORS.read_text().splitlines()
    pins = dict(line.split("==") for line in lines if "==" in line)
    assert {name: numbers(floor) for name, floor in floors.items()} == {
        name: numbers(pins[name]) for name in floors
    }


def test_the_pythons_are_those_that_are_tested() -> None:
    assert pythons() == all_pythons.VERSIONS
    assert PROJECT["project"]["requires-python"] == f">={pythons()[0]}"


def test_each_extra_is_tried_alone() -> None:
    assert set(extras.IMPORTABLE) == set(extras.extras())


def runs(job: Any) -> list[str]:
    return [step["run"] for step in job["steps"] if "run" in step]


def test_the_workflow_runs_what_the_check_runs() -> None:
    lines = (ROOT / ".ci" / "run").read_text().splitlines()
    others = ["make test-floors FLOORS=--if-there", 'make test-homes HOMES="zope-6 plone-6.2"']
    assert [*runs(JOBS["test"]), *others] == [line for line in lines if line.startswith("make ")]
    assert runs(JOBS["homes"]) == ["make test-homes"]  # all of them, for it has the time
    assert runs(JOBS["floors"]) == ["make test-floors FLOORS=${{ matrix.python }}"]


def test_the_workflow_has_the_pythons_that_are_claimed() -> None:
    tried = "3.14"
    assert JOBS["test"]["strategy"]["matrix"]["python"] == [*pythons(), tried]
    assert JOBS["test"]["continue-on-error"] == f"${{{{ matrix.python == '{tried}' }}}}"
    assert JOBS["floors"]["strategy"]["matrix"]["python"] == all_pythons.FLOOR_VERSIONS
    for job in JOBS.values():
        steps = [step["with"]["python-version"] for step in job["steps"] if "with" in step]
        assert steps == ["${{ matrix.python }}"]


def test_the_sdist_has_all_that_it_names() -> None:
    named = PROJECT["tool"]["hatch"]["build"]["targets"]["sdist"]["include"]
    assert [path for path in named if not (ROOT / path.lstrip("/")).exists()] == []
