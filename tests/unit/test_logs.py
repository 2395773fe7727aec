"""What a job logs is kept with it, and the application's logging works as without a worker."""

from __future__ import annotations

import contextlib
import io
import logging
import logging.config
from collections.abc import Iterator
from typing import Any

import pytest
import sample
import transaction

import zodbjobs
from zodbjobs.runtime.context import logs_are_kept
from zodbjobs.testing import run_jobs, wait_for


@contextlib.contextmanager
def unconfigured() -> Iterator[None]:
    """Give the root logger the state that it has in a fresh process, and its own one back."""
    root = logging.root
    handlers, level = root.handlers[:], root.level
    root.handlers[:] = []
    root.setLevel(logging.WARNING)
    try:
        yield
    finally:
        root.handlers[:] = handlers
        root.setLevel(level)


def kept(db: Any, function: Any, *args: Any) -> list[str]:
    """What is kept of what a job logs; without the times."""
    with db.transaction() as connection:
        job = zodbjobs.get_queue(connection).put(zodbjobs.Job(function, *args))
    run_jobs(db)
    with db.transaction() as connection:
        (job,) = [j for j in zodbjobs.get_queue(connection).finished() if j.id == job.id]
        assert job.outcome == "succeeded", job.failure
        return [line.split(" ", 2)[2] for line in job.log_lines]


def warn() -> None:
    logging.getLogger("application").warning("be warned")
    logging.getLogger("application").info("not so bad")


def test_an_application_configures_logging_after_the_start(db: Any, queue: Any) -> None:
    written = io.StringIO()
    with unconfigured(), zodbjobs.Worker(db, threads=1):
        job = queue.put(sample.nothing)
        transaction.commit()
        wait_for(job)  # the worker is at work
        assert not logging.root.hasHandlers()
        logging.basicConfig(stream=written, level=logging.INFO, format="%(message)s")
        job = queue.put(zodbjobs.Job(warn))
        transaction.commit()
        wait_for(job)
    assert "be warned\nnot so bad\n" in written.getvalue()
    assert [line.split(": ")[-1] for line in job.log_lines] == ["be warned", "not so bad"]


def configure_anew() -> None:
    logging.config.dictConfig(
        {"version": 1, "disable_existing_loggers": False, "root": {"handlers": []}}
    )
    logging.basicConfig(handlers=[logging.NullHandler()], force=True)
    warn()


def test_lines_are_kept_after_logging_was_configured_anew(
    db: Any,
) -> None:
    with unconfigured():
        assert kept(db, configure_anew) == ["WARNING application: be warned"]


def test_the_level_of_the_logger_says_what_is_kept(
    db: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.ERROR, logger="application")
    assert kept(db, warn) == []
    caplog.set_level(logging.INFO, logger="application")
    lines = ["WARNING application: be warned", "INFO application: not so bad"]
    assert kept(db, warn) == lines
    assert [f"{r.levelname} {r.name}: {r.message}" for r in caplog.records[-2:]] == lines
    monkeypatch.setattr(logging.getLogger("application"), "propagate", False)
    assert kept(db, warn) == []


def test_without_handlers_a_warning_goes_to_the_last_resort_once(
    db: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    written = io.StringIO()
    monkeypatch.setattr(logging, "lastResort", logging.StreamHandler(written))
    with unconfigured():
        assert kept(db, warn) == ["WARNING application: be warned"]
    assert written.getvalue() == "be warned\n"


def test_logging_is_as_before_when_the_last_worker_has_stopped() -> None:
    before = logging.Logger.callHandlers
    with logs_are_kept():
        with logs_are_kept():
            pass
        assert logging.Logger.callHandlers is not before
    assert logging.Logger.callHandlers is before


def test_another_one_that_wraps_it_meanwhile(db: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    with logs_are_kept():
        ours = logging.Logger.callHandlers

        def wrapper(logger: logging.Logger, record: logging.LogRecord) -> None:
            seen.append(record.name)
            ours(logger, record)

        monkeypatch.setattr(logging.Logger, "callHandlers", wrapper)
    assert kept(db, warn) == ["WARNING application: be warned"]
    assert logging.Logger.callHandlers is wrapper
    assert "application" in seen
    monkeypatch.undo()  # the other one goes, ours is on top again
    with logs_are_kept():
        pass
    assert logging.Logger.callHandlers is not ours
