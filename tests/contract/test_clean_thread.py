"""A job begins in a clean thread, and leaves one; after tests its caller's is as it was."""

from __future__ import annotations

import asyncio
import decimal
import importlib
import logging
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import sample
import thread_state
import transaction
from AccessControl.SecurityManagement import getSecurityManager
from bench import bench
from patience import until, wait_for
from thread_state import CLEAN, LEFT
from zope.component import hooks
from zope.security.management import queryInteraction

import zodbjobs
from zodbjobs import cleanup, defaults
from zodbjobs.errors import BadArgument
from zodbjobs.runtime.group import Group
from zodbjobs.stored.lifecycle import calls
from zodbjobs.testing import run_jobs


@pytest.fixture(autouse=True)
def _clean_test() -> Iterator[None]:
    """Nothing that these tests leave, register or note is there in others."""
    before = cleanup._cleaners
    token = thread_state.variable.set("default")
    with cleanup.thread_given_back(), decimal.localcontext(decimal.Context()):
        yield
    thread_state.variable.reset(token)
    cleanup._cleaners = before
    vars(thread_state.own).clear()
    for noted in (
        thread_state.found_at_begin,
        thread_state.found_at_end,
        thread_state.threads,
    ):
        noted.clear()


def run_in_one_thread(db: Any, *jobs: zodbjobs.Job) -> None:
    """Commit what was put, and have a worker run it in its only thread."""
    transaction.commit()
    with zodbjobs.Worker(db, threads=1):
        wait_for(jobs)
    transaction.begin()


# What a job leaves

ENDS: dict[str, tuple[Callable[..., Any], str, int]] = {
    "returns": (thread_state.leave, "succeeded", 1),
    "is async": (thread_state.leave_async, "succeeded", 1),
    "fails": (thread_state.leave_and_fail, "failed", 1),
    "exits": (thread_state.leave_and_exit, "failed", 1),
    "conflicts": (thread_state.leave_and_conflict, "succeeded", 3),
    "conflicts at its commit": (thread_state.leave_and_conflict_at_commit, "succeeded", 2),
    "has no result": (thread_state.leave_and_return_what_cannot_be_stored, "failed", 1),
    "cancels itself": (thread_state.leave_and_cancel_itself, "cancelled", 1),
    "is cancelled": (thread_state.leave_and_be_cancelled, "cancelled", 1),
}

#: A coroutine sets context variables in its task, and nowhere else.
IN_ITS_TASK = {name: CLEAN[name] for name in ("variable", "precision")}


@pytest.mark.parametrize("end", ENDS)
def test_the_next_job_finds_nothing_of_one_that(
    any_db: Any, queue: Any, account: Any, end: str
) -> None:
    """And so does the next attempt of the same job. At its own commit, or abort, all is there."""
    function, outcome, attempts = ENDS[end]
    job = queue.put(zodbjobs.Job(function, account))
    next_one = queue.put(thread_state.look)
    run_in_one_thread(any_db, job, next_one)
    assert (job.outcome, next_one.outcome) == (outcome, "succeeded")
    assert len(set(thread_state.threads)) == 1
    assert thread_state.found_at_begin == [CLEAN] * attempts
    assert next_one.result == CLEAN
    at_end = [{**LEFT, **IN_ITS_TASK}] if end == "is async" else [LEFT] * attempts
    assert thread_state.found_at_end[:attempts] == at_end


@pytest.mark.parametrize(
    ("function", "outcome"),
    [(thread_state.leave, "succeeded"), (thread_state.leave_and_conflict_always, "failed")],
)
def test_nothing_waits_with_a_result_for_its_group(
    db: Any, queue: Any, monkeypatch: pytest.MonkeyPatch, function: Any, outcome: str
) -> None:
    """Also not what a retry policy leaves that is asked about a conflict without end."""
    monkeypatch.setattr(defaults, "CONFLICT_ATTEMPTS", 2)
    job = zodbjobs.Job(function)
    job.retry_policy = thread_state.Policy(times=0)
    queue.put(job)
    transaction.commit()
    found = []
    take = Group.take

    def look_and_take(group: Group) -> Any:
        found.append(thread_state.find())
        return take(group)

    monkeypatch.setattr(Group, "take", look_and_take)
    run_jobs(db)
    transaction.begin()
    assert job.outcome == outcome
    assert job.failure is None or job.failure.type.endswith("ConflictError")
    assert found
    assert all(state == CLEAN for state in found)


def test_a_retry_policy_leaves_nothing(db: Any, queue: Any) -> None:
    job = zodbjobs.Job(sample.fail)
    job.retry_policy = thread_state.Policy(times=1)
    queue.put(job)
    next_one = queue.put(thread_state.look)
    run_in_one_thread(db, job, next_one)
    assert (job.outcome, job.attempts) == ("failed", 2)
    assert thread_state.found_at_begin == [CLEAN] * 2
    assert next_one.result == CLEAN


def test_code_that_cannot_be_loaded_leaves_nothing(
    db: Any, queue: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    code = tmp_path / "leaving_module.py"
    code.write_text("def run(): pass")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    job = queue.put(importlib.import_module("leaving_module").run)
    next_one = queue.put(thread_state.look)
    transaction.commit()
    code.write_text("import thread_state; thread_state.leave(); raise ImportError('no more')")
    monkeypatch.delitem(sys.modules, "leaving_module")
    monkeypatch.setattr(calls, "_found", {})
    with zodbjobs.Worker(db, threads=1):
        wait_for(next_one)
        until(lambda: transaction.begin() and job.parked)
    assert "no more" in job.parked
    assert next_one.result == CLEAN


def test_code_that_runs_between_jobs_leaves_nothing(db: Any, queue: Any) -> None:
    """As when jobs are loaded ahead, before the first of them is run."""
    first = queue.put(thread_state.look)
    queue.put(zodbjobs.Job(sample.identity, thread_state.Loaded()))
    transaction.commit()
    with bench(db) as worker:
        claims = worker.claim()
        assert worker.runner.load_ahead(claims) == 2
        assert thread_state.find() == LEFT
        for claim in claims:
            worker.runner.run(claim)
    transaction.begin()
    assert first.result == CLEAN


# What the caller of run_jobs has


def test_run_jobs_hides_what_its_caller_has_and_gives_it_back(
    any_db: Any, queue: Any, account: Any
) -> None:
    job = queue.put(thread_state.look)
    leaving = queue.put(zodbjobs.Job(thread_state.leave, account))
    transaction.commit()
    thread_state.leave()
    mine = hooks.getSite(), queryInteraction(), getSecurityManager()
    assert run_jobs(any_db) == 2
    assert thread_state.find() == LEFT
    assert (hooks.getSite(), queryInteraction(), getSecurityManager()) == mine
    transaction.begin()
    assert job.result == CLEAN
    assert leaving.outcome == "succeeded"
    assert thread_state.found_at_begin[1:] == [CLEAN]


def test_run_jobs_leaves_nothing_to_a_caller_who_has_nothing(db: Any, queue: Any) -> None:
    queue.put(thread_state.leave)
    transaction.commit()
    assert run_jobs(db) == 1
    assert thread_state.find() == CLEAN


def test_run_jobs_gives_it_back_when_it_raises(db: Any, queue: Any, account: Any) -> None:
    queue.put(zodbjobs.Job(sample.deposit_and_raise, account, KeyboardInterrupt))
    transaction.commit()
    thread_state.leave()
    with pytest.raises(KeyboardInterrupt):
        run_jobs(db)
    assert thread_state.find() == LEFT


# Cleaners of applications


def forget_own(module: Any) -> None:
    vars(module.own).clear()


def save_own(module: Any) -> Callable[[], object]:
    values = dict(vars(module.own))
    return lambda: vars(module.own).update(values)


def put_two(queue: Any) -> tuple[zodbjobs.Job, zodbjobs.Job]:
    return queue.put(thread_state.leave_own), queue.put(thread_state.look_for_own)


def test_an_application_registers_a_cleaner_of_its_own(db: Any, queue: Any) -> None:
    cleanup.register("thread_state", forget_own)
    cleaned = put_two(queue)
    run_in_one_thread(db, *cleaned)
    assert cleaned[1].result is None
    cleanup.unregister(forget_own)
    cleanup.unregister(forget_own)
    not_cleaned = put_two(queue)
    run_in_one_thread(db, *not_cleaned)
    assert not_cleaned[1].result == "left value"


@pytest.mark.parametrize(("save", "given_back"), [(None, None), (save_own, "the caller's")])
def test_a_cleaner_that_saves_gives_back(
    db: Any, queue: Any, save: Any, given_back: object
) -> None:
    cleanup.register("thread_state", forget_own, save)
    _, second = put_two(queue)
    transaction.commit()
    thread_state.own.value = "the caller's"
    run_jobs(db)
    assert getattr(thread_state.own, "value", None) == given_back
    transaction.begin()
    assert second.result is None


def test_a_cleaner_is_called_once_and_only_if_its_module_is_there(db: Any, queue: Any) -> None:
    seen: list[Any] = []
    for name in ("thread_state", "thread_state", "no_such_module"):
        cleanup.register(name, seen.append)
    queue.put(sample.nothing)
    transaction.commit()
    run_jobs(db)
    # Before and after the attempt, and once more before the caller's is given back.
    assert seen == [thread_state] * 3
    assert "no_such_module" not in sys.modules


@pytest.mark.parametrize("args", [(thread_state, print), ("thread_state", None), ("a", print, 1)])
def test_what_cannot_be_a_cleaner(args: Any) -> None:
    before = cleanup._cleaners
    with pytest.raises(BadArgument, match="a cleaner needs the name of a module, a function"):
        cleanup.register(*args)
    assert cleanup._cleaners == before


# Cleaners that fail


def broken(module: Any) -> None:
    raise RuntimeError("the cleaner is broken")


def exiting(module: Any) -> None:
    raise SystemExit


def cancelling(module: Any) -> None:
    raise asyncio.CancelledError


@pytest.mark.parametrize("step", ["saving", "giving back"])
def test_what_cannot_be_given_back_is_told(
    db: Any, queue: Any, caplog: pytest.LogCaptureFixture, step: str
) -> None:
    """And the rest is given back."""
    cleanup.register(
        "thread_state", forget_own, broken if step == "saving" else lambda module: lambda: 1 / 0
    )
    cleanup.register("sample", id, lambda module: lambda: sample.noted.append("given back"))
    queue.put(sample.nothing)
    transaction.commit()
    assert run_jobs(db) == 1
    assert sample.noted == ["given back"]
    assert is_told(caplog, "thread_state", "for this thread can't be")


def is_told(caplog: pytest.LogCaptureFixture, *words: str) -> bool:
    errors = [r.message for r in caplog.records if r.levelno == logging.ERROR]
    return any(all(word in line for word in words) for line in errors)


@pytest.mark.parametrize("cleaner", [broken, exiting, cancelling])
def test_after_a_cleaner_failed_the_next_job_is_run_in_a_new_thread(
    db: Any, queue: Any, cleaner: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """That is clean, whatever the cleaner has left. The other cleaners are called."""
    cleanup.register("thread_state", cleaner)
    seen: list[Any] = []
    cleanup.register("thread_state", seen.append)
    first, second = put_two(queue)
    third = queue.put(thread_state.look)
    run_in_one_thread(db, first, second, third)
    assert [job.outcome for job in (first, second, third)] == ["succeeded"] * 3
    assert (second.result, third.result) == (None, CLEAN)
    assert len(set(thread_state.threads)) == 3
    assert len(seen) == 6
    assert is_told(caplog, cleaner.__name__, "thread_state")
