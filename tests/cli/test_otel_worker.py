"""Spans of a worker that is killed, and of the one that goes on: real processes."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import transaction
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from patience import PATIENCE, until
from storages import file_storage

import zodbjobs
from zodbjobs import otel

_TESTS = Path(__file__).parent.parent

pytestmark = pytest.mark.process


@pytest.fixture
def start_worker(path: Path) -> Iterator[Callable[[str], subprocess.Popen[str]]]:
    """Starts an instrumented worker for the file, which writes its spans into one of that name."""
    with contextlib.ExitStack() as stack:

        def start(spans: str) -> subprocess.Popen[str]:
            process = subprocess.Popen(
                [sys.executable, "-m", "otel_worker", str(path), str(path.parent / spans)],
                env={**os.environ, "PYTHONPATH": f"{_TESTS}{os.pathsep}{path.parent}"},
                text=True,
            )
            stack.enter_context(process)
            stack.callback(process.kill)
            return process

        yield start


def put_traced(path: Path, place: Path) -> tuple[str, Any]:
    """A job that waits for the test, and the span of its put."""
    exporter, provider = InMemorySpanExporter(), TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    otel.instrument(provider)
    try:
        with contextlib.closing(file_storage(path.parent)) as db:
            connection = db.open(transaction.TransactionManager())
            import meeting

            queue = zodbjobs.get_queue(connection)
            job = queue.put(zodbjobs.Job(meeting.meet, str(place)))
            connection.transaction_manager.commit()
            job_id = zodbjobs.get_job_id(job)
            connection.close()
    finally:
        otel.uninstrument()
    (span,) = exporter.get_finished_spans()
    return job_id, span


def written(path: Path, name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (path.parent / name).read_text().splitlines()]


def test_a_worker_is_killed(
    start_worker: Callable[[str], subprocess.Popen[str]],
    path: Path,
    place: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What the killed process ran has no span. The next attempt has one, of the same trace."""
    monkeypatch.syspath_prepend(path.parent)
    job_id, put = put_traced(path, place)
    first = start_worker("first")
    until((place / "here").exists)
    first.kill()
    first.wait(PATIENCE)
    assert written(path, "first") == []

    (place / "here").unlink()
    second = start_worker("second")
    until((place / "here").exists)
    (place / "go").touch()
    until(lambda: (path.parent / "second").read_text().endswith("\n"))
    second.send_signal(signal.SIGTERM)
    assert second.wait(PATIENCE) == 0
    (span,) = written(path, "second")
    assert (span["name"], span["kind"]) == ("run (default)", "SpanKind.CONSUMER")
    said = span["attributes"]
    assert said["messaging.message.id"] == job_id
    assert said["zodbjobs.outcome"] == "succeeded"
    assert said["zodbjobs.interruptions"] == 1
    assert put.context is not None
    assert span["context"]["trace_id"] == f"0x{put.context.trace_id:032x}"
    (link,) = span["links"]
    assert link["context"]["span_id"] == f"0x{put.context.span_id:016x}"
