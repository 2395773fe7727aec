"""The house: what an import costs, what is public, what is in the package, how files look."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
import tokenize
import tomllib
from pathlib import Path
from typing import Any

import pytest

import zodbjobs

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "src" / "zodbjobs"
HEAVY = {"click", "rich", "ZEO", "grok", "zope.app", "relstorage", "asyncio", "zodburi"}

PUBLIC = {
    "Agent",
    *("Failure", "Job", "JobContainer", "JobContainerInstaller", "JobManager", "ProgressableJob"),
    *(
        "NeverRetry",
        "QueueInstaller",
        "Retry",
        "RetryForever",
        "Schedule",
        "Secret",
        "Snooze",
        "Sweep",
        "Worker",
        "cleanup",
        "compute",
        "context",
        "get_job_id",
        "get_queue",
        "get_queues",
        "install",
        "local",
    ),
    *("job_container_installer", "multidb_job_container_installer", "multidb_queue_installer"),
    *(
        "queue_installer",
        "redaction",
        "references",
        "sweep",
        "testing",
        "transactional",
        "errors",
        "events",
        "insights",
        "interfaces",
    ),
    *("parallel", "result_of", "serial"),
    *("jobs_about", "jobs_in", "jobs_of"),
}


def python(code: str) -> str:
    """What a fresh interpreter prints."""
    command = [sys.executable, "-W", "error", "-c", code]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def loaded_by(code: str) -> set[str]:
    modules = python(f"{code}\nimport sys, json; print(json.dumps(list(sys.modules)))")
    return set(json.loads(modules))


@pytest.mark.process
def test_the_import_is_light() -> None:
    assert not loaded_by("import zodbjobs") & HEAVY


@pytest.mark.process
def test_a_stored_job_loads_nothing_heavy() -> None:
    loaded = loaded_by(
        "import zodbjobs; from zodbjobs.stored import job, queue, shard, workers, container"
    )
    assert not loaded & HEAVY


@pytest.mark.process
@pytest.mark.parametrize(
    "name", ["cleanup", "errors", "insights", "interfaces", "local", "testing"]
)
def test_modules_are_there_once_the_package_is(name: str) -> None:
    assert name not in python("import zodbjobs; print(list(vars(zodbjobs)))").split("'")
    python(f"import zodbjobs; assert zodbjobs.{name}.__doc__")


def test_the_public_names() -> None:
    assert set(zodbjobs.__all__) == PUBLIC
    for name in zodbjobs.__all__:
        assert getattr(zodbjobs, name) is not None
        assert getattr(zodbjobs, name).__doc__
    assert set(zodbjobs.__all__) <= set(dir(zodbjobs))
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        zodbjobs.nonsense  # noqa: B018


def test_the_version() -> None:
    assert zodbjobs.__version__ == "0.1.0"


def test_classes_do_what_the_interfaces_say() -> None:
    from zope.interface.verify import verifyClass

    from zodbjobs import interfaces, manager
    from zodbjobs.stored import job, queue, queues, retry

    pairs = [
        (interfaces.IQueue, queue.Queue),
        (interfaces.IQueues, queues.Queues),
        (interfaces.IJobManager, manager.JobManager),
        (interfaces.IJobContainer, zodbjobs.JobContainer),
        (interfaces.IRetryPolicy, retry.Retry),
        (interfaces.IRetryPolicy, retry.RetryForever),
        (interfaces.IRetryPolicy, retry.NeverRetry),
        (interfaces.IInstaller, zodbjobs.JobContainerInstaller),
        (interfaces.IQueueInstaller, zodbjobs.QueueInstaller),
    ]
    for interface, kind in pairs:
        assert verifyClass(interface, kind)
    names = set(interfaces.IJob.names(all=True)) - {"__parent__", "__name__"}
    assert {name for name in names if not hasattr(job.Job, name)} == set()
    assert hasattr(job.ProgressableJob, "percent")


def test_nothing_is_public_that_the_interfaces_do_not_name() -> None:
    from persistent import Persistent

    from zodbjobs import interfaces
    from zodbjobs.stored import queue, queues

    for interface, kind in [
        (interfaces.IJob, zodbjobs.Job),
        (interfaces.IQueue, queue.Queue),
        (interfaces.IQueues, queues.Queues),
        (interfaces.ISweep, zodbjobs.Sweep),
        (interfaces.IJobManager, zodbjobs.JobManager),
        (interfaces.IJobContainer, zodbjobs.JobContainer),
    ]:
        public = {name for name in dir(kind) if not name.startswith("_")}
        assert public - set(dir(Persistent)) <= set(interface.names(all=True))


@pytest.mark.parametrize(
    "path", sorted(SOURCE.rglob("*.py")), ids=lambda path: str(path.relative_to(SOURCE))
)
def test_files_are_short_and_say_what_they_are_for(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    tree = ast.parse(text)
    assert ast.get_docstring(tree)
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef):
            lines = (node.end_lineno or 0) - node.lineno
            assert lines <= 60, f"{node.name} doesn't fit a screen"


def test_every_room_is_in_a_layer() -> None:
    """Then `lint-imports` watches what a new one imports, and who imports it."""
    (layers,) = (c["layers"] for c in linted() if c["type"] == "layers")
    named = [name.strip() for layer in layers for name in layer.split("|")]
    there = {path.stem for path in SOURCE.iterdir() if path.suffix == ".py" or path.is_dir()}
    assert sorted(named) == sorted(there - {"__init__", "__pycache__"})


def linted() -> list[dict[str, Any]]:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    contracts: list[dict[str, Any]] = settings["tool"]["importlinter"]["contracts"]
    return contracts


def test_a_test_without_the_mark_starts_no_process() -> None:
    """So `make quick`, which leaves out what has the mark, starts none."""
    with pytest.raises(AssertionError, match="a test that starts a process is marked"):
        subprocess.run([sys.executable, "-c", ""], check=True)


def test_no_module_is_named_utils() -> None:
    assert not list(SOURCE.rglob("util*"))


def test_time_comes_from_the_clock() -> None:
    """Only the clock, and what measures the machine, may ask the machine for the time."""
    asking = set()
    for path in SOURCE.rglob("*.py"):
        with path.open("rb") as file:
            words = [token.string for token in tokenize.tokenize(file.readline)]
        for first, dot, second in zip(words, words[1:], words[2:], strict=False):
            if (first, dot) == ("time", ".") and second in ("time", "time_ns"):
                asking.add(path.name)
    assert asking == {"clock.py"}
