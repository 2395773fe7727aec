"""Consumer spans: one for each attempt, which is the current one while the job runs."""

from __future__ import annotations

import threading
from typing import Any

from opentelemetry import context, trace
from opentelemetry.context import Context
from opentelemetry.trace import Link, Span, SpanKind, Status, StatusCode, Tracer

from zodbjobs.events import AttemptConflicted, AttemptEnded, JobStarted
from zodbjobs.otel import words
from zodbjobs.otel.ended import EndedSpans
from zodbjobs.redaction import Redactor
from zodbjobs.stored.job import Job
from zodbjobs.stored.lifecycle import surroundings

Event = JobStarted | AttemptConflicted | AttemptEnded


class _Attempt:
    """An attempt that runs in a thread: its span, and in which context the job runs by that."""

    def __init__(self, event: JobStarted, span: Span, origin: Context) -> None:
        job: Job = event.job
        self.span = span
        self.context = trace.set_span_in_context(span, origin)
        # Its arguments as they are now: they are gone when there is an exception to be shown.
        self.redactor = Redactor((*job.args, *job.kwargs.values()))


def _name(event: Event) -> tuple[str, str, str, int]:
    return event.worker, event.queue, event.job_id, event.attempt


class Consumer:
    """Makes the span of an attempt, in the thread that runs it."""

    def __init__(self, tracer: Tracer, ended: EndedSpans) -> None:
        self._tracer = tracer
        self._ended = ended
        self._local = threading.local()

    def _running(self, event: Event) -> _Attempt | None:
        """The attempt of this thread that is told of."""
        return self._attempts.get(_name(event))

    @property
    def _attempts(self) -> dict[tuple[str, str, str, int], _Attempt]:
        """Those of this thread that haven't ended: several, if they share their commit."""
        found: dict[tuple[str, str, str, int], _Attempt]
        found = self._local.__dict__.setdefault("attempts", {})
        return found

    def started(self, event: JobStarted) -> None:
        """An attempt begins, or begins again: the job's context variables have its span."""
        attempt = self._running(event)
        if attempt is None:
            attempt = self._attempts[_name(event)] = self._begin(event)
        context.attach(attempt.context)  # of the attempt alone, so it needn't be detached

    def _begin(self, event: JobStarted) -> _Attempt:
        job: Job = event.job
        origin = words.context_of(surroundings.part_of(job, words.TRACE))
        put = words.span_in(origin)
        attributes: dict[str, Any] = {
            **words.of_queue(event.queue, "run", "process"),
            words.MESSAGE_ID: event.job_id,
            words.CLIENT_ID: event.worker,
            "zodbjobs.callable": job.description,
            "zodbjobs.attempt": event.attempt,
        }
        if job.interruptions:
            attributes["zodbjobs.interruptions"] = job.interruptions
        span = self._tracer.start_span(
            f"run {words.destination(event.queue)}",
            origin,
            SpanKind.CONSUMER,
            attributes=attributes,
            links=[] if put is None else [Link(put)],
        )
        return _Attempt(event, span, origin)

    def conflicted(self, event: AttemptConflicted) -> None:
        """The attempt is made again, in the same span."""
        attempt = self._running(event)
        if attempt is not None:
            kind = type(event.error)
            said = {words.ERROR_TYPE: f"{kind.__module__}.{kind.__qualname__}"}
            attempt.span.add_event("zodbjobs.conflict", said)

    def ended(self, event: AttemptEnded) -> None:
        """The attempt is over."""
        attempt = self._attempts.pop(_name(event), None)
        if attempt is None:
            return
        span = attempt.span
        span.set_attribute("zodbjobs.outcome", event.outcome)
        if event.conflicts:
            span.set_attribute("zodbjobs.conflicts", event.conflicts)
        if event.failure is not None:
            _show_failure(span, event.failure, attempt.redactor)
        if event.outcome in ("retried", "snoozed"):
            due = "now" if event.due is None else event.due.isoformat()
            span.add_event(f"zodbjobs.{event.outcome}", {"zodbjobs.due": due})
        self._ended.note(event.queue, event.job_id, span.get_span_context())
        span.end()


def _show_failure(span: Span, failure: Any, redactor: Redactor) -> None:
    """Let the span have an exception as others have theirs, without secrets."""
    message = redactor.text(failure.message, "failure")
    said = {
        "exception.type": failure.type,
        "exception.message": message,
        "exception.stacktrace": redactor.text(failure.render(), "traceback"),
    }
    span.add_event("exception", said)
    span.set_attribute(words.ERROR_TYPE, failure.type)
    span.set_status(Status(StatusCode.ERROR, f"{failure.type}: {message}"))
