"""Spans of OpenTelemetry for puts and attempts, as its own exporter gets them."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from importlib.metadata import entry_points
from typing import Any

import otel_jobs
import pytest
import sample
import together_jobs
import transaction
from bench import bench
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF
from opentelemetry.trace import SpanContext, SpanKind, StatusCode
from patience import wait_for

import zodbjobs
from zodbjobs import Retry, Secret, defaults, events, otel
from zodbjobs.testing import conflict_once, run_jobs


class Spans:
    """What was exported."""

    def __init__(self, **options: Any) -> None:
        self._exporter = InMemorySpanExporter()
        self.provider = TracerProvider(shutdown_on_exit=False, **options)
        self.provider.add_span_processor(SimpleSpanProcessor(self._exporter))
        self.tracer = self.provider.get_tracer("test")

    @property
    def all(self) -> list[ReadableSpan]:
        return list(self._exporter.get_finished_spans())

    def of(self, kind: SpanKind, job: zodbjobs.Job | None = None) -> list[ReadableSpan]:
        return [
            span
            for span in self.all
            if span.kind is kind and (job is None or attributes(span).get(ID) == job.id)
        ]

    def puts(self, job: zodbjobs.Job | None = None) -> list[ReadableSpan]:
        return self.of(SpanKind.PRODUCER, job)

    def runs(self, job: zodbjobs.Job | None = None) -> list[ReadableSpan]:
        return self.of(SpanKind.CONSUMER, job)


ID = "messaging.message.id"


def attributes(span: ReadableSpan) -> dict[str, Any]:
    return dict(span.attributes or {})


def ids(context: SpanContext | None) -> tuple[int, int]:
    """What a span is known by in another process."""
    assert context is not None
    return context.trace_id, context.span_id


def is_linked(span: ReadableSpan, to: ReadableSpan) -> bool:
    (link,) = span.links
    return ids(link.context) == ids(to.context)


def is_child(span: ReadableSpan, of: ReadableSpan) -> bool:
    return span.parent is not None and ids(span.parent) == ids(of.context)


def told(span: ReadableSpan) -> list[str]:
    return [event.name for event in span.events]


@pytest.fixture
def spans() -> Iterator[Spans]:
    made = Spans()
    otel.instrument(made.provider)
    yield made
    otel.uninstrument()


def run(db: Any, **options: Any) -> int:
    transaction.commit()
    count = run_jobs(db, **options)
    transaction.begin()
    return count


# Puts


def test_a_put_and_its_attempt(any_db: Any, queue: Any, spans: Spans) -> None:
    with spans.tracer.start_as_current_span("request") as request:
        job = queue.put(zodbjobs.Job(otel_jobs.current_span))
        assert spans.all == []
        transaction.commit()
        (put,) = spans.puts()
    run(any_db)
    (attempt,) = spans.runs()
    assert (put.name, attempt.name) == ("put (default)", "run (default)")
    assert attributes(put) == {
        "messaging.system": "zodbjobs",
        "messaging.operation.name": "put",
        "messaging.operation.type": "send",
        "messaging.destination.name": "(default)",
        ID: job.id,
    }
    said = attributes(attempt)
    assert len(said.pop("messaging.client.id")) == 32
    assert said == {
        "messaging.system": "zodbjobs",
        "messaging.operation.name": "run",
        "messaging.operation.type": "process",
        "messaging.destination.name": "(default)",
        ID: job.id,
        "zodbjobs.callable": "otel_jobs:current_span",
        "zodbjobs.attempt": 1,
        "zodbjobs.outcome": "succeeded",
    }
    assert put.parent is not None
    assert put.parent.span_id == request.get_span_context().span_id
    assert is_linked(attempt, to=put)
    assert is_child(attempt, of=put)
    assert job.result == ids(attempt.context)[1]
    assert attempt.status.status_code is StatusCode.UNSET


def test_a_put_ends_after_the_commit(queue: Any, spans: Spans) -> None:
    queue.put(zodbjobs.Job(sample.nothing))
    seen: list[int] = []
    transaction.get().addBeforeCommitHook(lambda: seen.append(len(spans.all)))
    undo = events.subscribe(lambda event: seen.append(len(spans.all)), events.JobPutCommitted)
    transaction.commit()
    undo()
    assert seen[0] == 0
    assert len(spans.puts()) == 1


def test_what_is_aborted_leaves_none_and_what_is_tried_again_one(
    any_db: Any, queue: Any, spans: Spans
) -> None:
    queue.put(zodbjobs.Job(sample.nothing))
    transaction.abort()
    assert spans.all == []
    for _ in range(3):
        transaction.abort()
        job = queue.put(zodbjobs.Job(sample.nothing))
    transaction.commit()
    assert [attributes(span)[ID] for span in spans.puts()] == [job.id]


def test_a_savepoint_that_is_rolled_back(queue: Any, spans: Spans) -> None:
    first = queue.put(zodbjobs.Job(sample.nothing))
    savepoint = transaction.savepoint()
    queue.put_many([zodbjobs.Job(sample.nothing) for _ in range(3)])
    savepoint.rollback()
    transaction.commit()
    (put,) = spans.puts()
    assert attributes(put)[ID] == first.id

    savepoint = transaction.savepoint()
    queue.put(zodbjobs.Job(sample.nothing))
    savepoint.rollback()
    transaction.commit()
    assert len(spans.puts()) == 1


def test_many_are_one_span_for_each_place_and_queue(any_db: Any, queue: Any, spans: Spans) -> None:
    mail = queue.parent.create("mail")
    with spans.tracer.start_as_current_span("first"):
        jobs = queue.put_many([zodbjobs.Job(sample.nothing) for _ in range(30)])
        jobs.append(queue.put(zodbjobs.Job(sample.nothing)))
        letter = mail.put(zodbjobs.Job(sample.nothing))
    with spans.tracer.start_as_current_span("second"):
        jobs.append(queue.put(zodbjobs.Job(sample.nothing)))
    run(any_db)
    puts = {
        (span.name, attributes(span).get("messaging.batch.message_count", 1)): span
        for span in spans.puts()
    }
    assert set(puts) == {("put (default)", 31), ("put mail", 1), ("put (default)", 1)}
    assert ID not in attributes(puts["put (default)", 31])
    assert attributes(puts["put mail", 1])[ID] == letter.id
    for job in jobs[:31]:
        (attempt,) = spans.runs(job)
        assert is_linked(attempt, to=puts["put (default)", 31])
    (attempt,) = spans.runs(jobs[31])
    assert is_linked(attempt, to=puts["put (default)", 1])


def test_a_put_again_is_a_span_of_whoever_does_it(any_db: Any, queue: Any, spans: Spans) -> None:
    job = queue.put(zodbjobs.Job(sample.fail, "no"))
    run(any_db)
    with spans.tracer.start_as_current_span("operator") as operator:
        queue.retry(job)
        transaction.commit()
    run(any_db)
    first, again = spans.puts(job)
    assert again.parent is not None
    assert again.parent.span_id == operator.get_span_context().span_id
    runs = spans.runs(job)
    assert is_linked(runs[0], to=first)
    assert is_linked(runs[1], to=again)


# Attempts


def test_spans_of_the_job_are_children_of_the_attempt(
    any_db: Any, queue: Any, spans: Spans
) -> None:
    queue.put(zodbjobs.Job(otel_jobs.with_child, spans.tracer.start_span("x").name))
    otel_jobs.tracer = spans.tracer
    run(any_db)
    (attempt,) = spans.runs()
    (child,) = [span for span in spans.all if span.name == "child"]
    assert is_child(child, of=attempt)
    assert child.end_time is not None
    assert attempt.end_time is not None
    assert child.end_time <= attempt.end_time


def test_a_coroutine_has_it_too(any_db: Any, queue: Any, spans: Spans) -> None:
    job = queue.put(zodbjobs.Job(otel_jobs.current_span_later))
    run(any_db)
    (attempt,) = spans.runs()
    assert job.result == ids(attempt.context)[1]


def test_a_failure_is_an_event_and_the_status(any_db: Any, queue: Any, spans: Spans) -> None:
    job = queue.put(zodbjobs.Job(otel_jobs.tell, Secret("sesame"), "it says sesame"))
    run(any_db)
    (attempt,) = spans.runs(job)
    said = attributes(attempt)
    assert (said["zodbjobs.outcome"], said["error.type"]) == ("failed", "ValueError")
    assert attempt.status.status_code is StatusCode.ERROR
    assert attempt.status.description == "ValueError: it says ***"
    (event,) = attempt.events
    assert event.name == "exception"
    shown = dict(event.attributes or {})
    assert shown["exception.type"] == "ValueError"
    assert shown["exception.message"] == "it says ***"
    assert "in tell" in str(shown["exception.stacktrace"])
    assert "sesame" not in str(shown)


def test_a_retry_is_an_event_and_each_attempt_a_span(
    any_db: Any, queue: Any, spans: Spans
) -> None:
    job = zodbjobs.Job(sample.fail, "no")
    job.retry_policy = Retry(times=2, delay=0)
    queue.put(job)
    run(any_db)
    (put,) = spans.puts()
    runs = spans.runs(job)
    assert [attributes(span)["zodbjobs.attempt"] for span in runs] == [1, 2, 3]
    assert [attributes(span)["zodbjobs.outcome"] for span in runs] == [
        *("retried", "retried", "failed"),
    ]
    assert [told(span) for span in runs] == [
        *([["exception", "zodbjobs.retried"]] * 2),
        ["exception"],
    ]
    assert all(is_linked(span, to=put) for span in runs)


def test_a_snooze_is_no_error(any_db: Any, queue: Any, spans: Spans) -> None:
    queue.put(zodbjobs.Job(otel_jobs.snooze))
    run(any_db)
    (attempt,) = spans.runs()
    assert told(attempt) == ["zodbjobs.snoozed"]
    assert attempt.status.status_code is StatusCode.UNSET


def test_a_conflict_is_an_event_of_the_same_span(any_db: Any, queue: Any, spans: Spans) -> None:
    seen = any_db.open()
    seen.root()["seen"] = []
    transaction.commit()
    job = queue.put(zodbjobs.Job(otel_jobs.note_span))
    transaction.commit()
    with conflict_once():
        run(any_db)
    (attempt,) = spans.runs(job)
    assert told(attempt) == ["zodbjobs.conflict"]
    assert attempt.events[0].attributes == {"error.type": "ZODB.POSException.ConflictError"}
    assert attributes(attempt)["zodbjobs.conflicts"] == 1
    assert attributes(attempt)["zodbjobs.outcome"] == "succeeded"
    assert otel_jobs.noted[-2:] == [ids(attempt.context)[1]] * 2
    seen.close()


def test_what_was_taken_away_is_dropped(any_db: Any, queue: Any, spans: Spans) -> None:
    job = queue.put(zodbjobs.Job(otel_jobs.cancel_itself_elsewhere))
    otel_jobs.database = any_db
    run(any_db)
    assert job.outcome == "cancelled"
    (attempt,) = spans.runs(job)
    assert attributes(attempt)["zodbjobs.outcome"] == "dropped"


def test_threads_do_not_mix_their_spans(any_db: Any, queue: Any, spans: Spans) -> None:
    otel_jobs.meeting = threading.Barrier(3)
    jobs = queue.put_many([zodbjobs.Job(otel_jobs.meet_and_tell) for _ in range(3)])
    transaction.commit()
    with zodbjobs.Worker(any_db, threads=3):
        wait_for(jobs)
    transaction.begin()
    for job in jobs:
        (attempt,) = spans.runs(job)
        assert job.result == ids(attempt.context)[1]


# What follows


@pytest.mark.parametrize("group_commit", [0, defaults.GROUP_SECONDS])
def test_a_callback_is_put_by_the_attempt_of_its_parent(
    any_db: Any, queue: Any, spans: Spans, group_commit: float
) -> None:
    """Also if its end is committed later, with others, in another thread."""
    with spans.tracer.start_as_current_span("request") as request:
        job = zodbjobs.Job(sample.nothing)
        callback = job.add_callback(sample.add)
        queue.put(job)
        transaction.commit()
    with zodbjobs.Worker(any_db, threads=1, group_commit=group_commit):
        wait_for(job)
    transaction.begin()
    (parent,) = spans.runs(job)
    (put,) = spans.puts(callback)
    (attempt,) = spans.runs(callback)
    assert is_child(put, of=parent)
    assert ids(put.links[0].context) == ids(request.get_span_context())  # who has added it
    assert is_linked(attempt, to=put)


def test_a_job_that_is_returned_is_put_by_the_attempt(
    any_db: Any, queue: Any, spans: Spans
) -> None:
    outer = queue.put(zodbjobs.Job(otel_jobs.return_job))
    run(any_db)
    (attempt,) = spans.runs(outer)
    assert attributes(attempt)["zodbjobs.outcome"] == "waiting"
    (inner,) = [span for span in spans.puts() if attributes(span)[ID] != outer.id]
    assert is_child(inner, of=attempt)
    assert outer.result == "inner"


# Switched on and off


def test_it_is_switched_on_once(any_db: Any, queue: Any, spans: Spans) -> None:
    otel.instrument(spans.provider)
    queue.put(zodbjobs.Job(sample.nothing))
    run(any_db)
    assert len(spans.all) == 2
    otel.uninstrument()
    otel.uninstrument()
    queue.put(zodbjobs.Job(sample.nothing))
    run(any_db)
    assert len(spans.all) == 2


def test_off_nobody_is_told(any_db: Any, queue: Any) -> None:
    assert not any(map(events.wanted, (events.JobPut, events.JobStarted, events.AttemptEnded)))


def test_the_entry_point() -> None:
    (found,) = entry_points(group="opentelemetry_instrumentor", name="zodbjobs")
    made, spans = found.load()(), Spans()
    made.instrument(tracer_provider=spans.provider, meter_provider=None)
    assert events.wanted(events.JobPut)
    made.uninstrument()
    assert not events.wanted(events.JobPut)


def test_what_is_not_sampled_stays_so(any_db: Any, queue: Any) -> None:
    spans = Spans(sampler=ALWAYS_OFF)
    otel.instrument(spans.provider)
    try:
        job = queue.put(zodbjobs.Job(otel_jobs.is_sampled))
        run(any_db)
    finally:
        otel.uninstrument()
    assert spans.all == []
    assert job.result is False


def test_without_an_sdk_the_trace_goes_on(any_db: Any, queue: Any) -> None:
    otel.instrument()
    try:
        plain = queue.put(zodbjobs.Job(otel_jobs.current_trace))
        span = trace.SpanContext(0x1234, 0x5678, True, trace.TraceFlags(1))
        with trace.use_span(trace.NonRecordingSpan(span)):
            traced = queue.put(zodbjobs.Job(otel_jobs.current_trace))
        run(any_db)
    finally:
        otel.uninstrument()
    assert (plain.result, traced.result) == (0, 0x1234)
    assert plain.context == {}


def test_a_worker_that_is_not_instrumented_runs_what_was(
    any_db: Any, queue: Any, spans: Spans
) -> None:
    job = queue.put(zodbjobs.Job(otel_jobs.current_trace))
    transaction.commit()
    otel.uninstrument()
    run(any_db)
    (put,) = spans.all
    assert job.result == ids(put.context)[0]


def test_attempts_that_share_their_commit(any_db: Any, queue: Any, spans: Spans) -> None:
    counters = [together_jobs.Counter() for _ in range(3)]
    queue._p_jar.root()["counters"] = counters
    calls = [together_jobs.count, together_jobs.refuse, together_jobs.count]
    pairs = zip(calls, counters, strict=True)
    jobs = queue.put_many([zodbjobs.Job(call, counter) for call, counter in pairs])
    transaction.commit()
    with bench(any_db) as worker:
        worker.run()
        assert spans.runs() == []
        worker.runner.flush()
    transaction.begin()
    outcomes = [attributes(span)["zodbjobs.outcome"] for job in jobs for span in spans.runs(job)]
    assert outcomes == ["succeeded", "failed", "succeeded"]


@pytest.mark.parametrize("when", ["on_start", "on_end"])
@pytest.mark.parametrize("error", [RuntimeError, SystemExit])
def test_a_processor_that_raises_harms_nobody(
    any_db: Any,
    queue: Any,
    spans: Spans,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    when: str,
    error: type[BaseException],
) -> None:
    """Whoever has committed a put must not think that it failed, and put it again."""

    def refuse(*args: Any, **options: Any) -> None:
        raise error("the exporter is broken")

    processor = SimpleSpanProcessor(InMemorySpanExporter())
    monkeypatch.setattr(processor, when, refuse)
    spans.provider.add_span_processor(processor)
    committed: list[str] = []
    undo = events.subscribe(lambda event: committed.append(event.job_id), events.JobPutCommitted)
    try:
        jobs = [queue.put(zodbjobs.Job(int)) for _ in range(2)]
        transaction.commit()
    finally:
        undo()
    assert sorted(committed) == sorted(str(job.id) for job in jobs)
    run(any_db)
    assert [job.outcome for job in jobs] == ["succeeded", "succeeded"]
    assert "the exporter is broken" in caplog.text
