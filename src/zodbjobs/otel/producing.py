"""Producer spans: one for what a transaction puts into one queue in one place of a trace."""

from __future__ import annotations

from typing import Any

from opentelemetry import propagate, trace
from opentelemetry.context import Context
from opentelemetry.trace import Link, NonRecordingSpan, Span, SpanKind, Tracer

from zodbjobs.events import JobPut
from zodbjobs.otel import words
from zodbjobs.otel.ended import EndedSpans
from zodbjobs.stored.job import Job
from zodbjobs.stored.lifecycle import completion, followers, surroundings, telling

# By which a transaction has the puts that it makes.
_PUTS = object()


class Producer:
    """Makes the span of a put, and lets the jobs remember it."""

    def __init__(self, tracer: Tracer, ended: EndedSpans) -> None:
        self._tracer = tracer
        self._ended = ended

    def put(self, event: JobPut) -> None:
        """Take note of a put, in its transaction."""
        job: Job = event.job
        txn = job._p_jar.transaction_manager.get()
        try:
            puts: dict[Any, _Put] = txn.data(_PUTS)
        except KeyError:
            puts = {}
            txn.set_data(_PUTS, puts)
        here = trace.get_current_span()
        origin: Context | None = None
        place: tuple[str, Any] = (event.queue, here)
        if not here.get_span_context().is_valid:
            origin = self._origin(job)
            place = (event.queue, words.ids(words.span_in(origin)))
        if place not in puts:
            puts[place] = _Put(self._start(event.queue, origin, job), origin)
            telling.after_commit(job._p_jar, puts[place].end, puts[place].holds)
        puts[place].add(job)

    def _origin(self, job: Job) -> Context | None:
        """The context that a job is put in, None: the current one, though there is no span. A
        callback may be put by the thread that commits the end of its parent with others.
        """
        parent: Job | None = followers.source_of(job)
        shard = None if parent is None else completion.shard_of(parent)
        if parent is not None and shard is not None:
            span = self._ended.of(shard.queue.name, parent.id or "")
            if span is not None:
                return trace.set_span_in_context(NonRecordingSpan(span), Context())
        carrier = surroundings.part_of(job, words.TRACE)
        return words.context_of(carrier) if carrier else None

    def _start(self, queue: str, origin: Context | None, job: Job) -> Span:
        attributes = words.of_queue(queue, "put", "send")
        name = f"put {words.destination(queue)}"
        added = words.span_in(words.context_of(surroundings.part_of(job, words.TRACE)))
        links = []
        if added is not None and words.ids(added) != words.ids(words.span_in(origin)):
            links.append(Link(added))  # that of whoever has added a callback
        kind = SpanKind.PRODUCER
        return self._tracer.start_span(name, origin, kind, attributes=attributes, links=links)


class _Put:
    """What a transaction puts into a queue in one place of a trace."""

    def __init__(self, span: Span, origin: Context | None) -> None:
        self._span = span
        self._jobs: list[Job] = []
        self._ids: list[str] = []
        self._number = 0
        self._carrier: dict[str, str] = {}
        propagate.inject(self._carrier, trace.set_span_in_context(span, origin))
        self._last: tuple[surroundings.Parts, surroundings.Parts] | None = None

    def add(self, job: Job) -> None:
        """Let a job remember the span; joins the transaction that puts it."""
        self._jobs.append(job)
        if not self._carrier:  # no tracer
            return
        # The jobs of put_many have theirs in common.
        before = surroundings.given_to(job)
        if self._last is None or self._last[0] is not before:
            self._last = before, surroundings.with_part(before, words.TRACE, self._carrier)
        surroundings.give(job, self._last[1])

    def holds(self) -> bool:
        """Whether something was put, as the transaction is to be committed now."""
        # What is new at a savepoint that is rolled back has no connection any more.
        jobs = [job for job in self._jobs if job._p_jar is not None]
        self._jobs.clear()
        self._number = len(jobs)
        self._ids = [job.id or "" for job in jobs[:1]]
        return bool(jobs)

    def end(self) -> None:
        """The transaction was committed."""
        if self._number == 1:
            self._span.set_attribute(words.MESSAGE_ID, self._ids[0])
        else:
            self._span.set_attribute(words.BATCH_COUNT, self._number)
        self._span.end()
