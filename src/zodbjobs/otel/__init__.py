"""Spans of OpenTelemetry for puts and attempts: ``from zodbjobs import otel``. Extra ``otel``.

A put is a span of the kind PRODUCER, `put QUEUE`: one for what a transaction puts into one queue
in one place of a trace, however many jobs that are. It ends after the commit; of a transaction
that is aborted there is none, and of one that is tried again one. Its context is stored with the
jobs, in place of that of whoever puts them.

An attempt is a span of the kind CONSUMER, `run QUEUE`, which is linked to the put, and its child.
It is the current one while the job runs, so that spans of the job's code are its children. An
attempt that conflicts is made again in the same span. It ends when what the job did is committed,
or dropped; what only waits to be committed with others isn't waited for.

Attributes are those of the conventions for messaging, with `zodbjobs` as the system, and some
that begin with `zodbjobs.`. Failures, retries and conflicts are events. Texts of exceptions are
shown as they are on pages, without secrets.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from importlib import metadata
from typing import Any

from opentelemetry import trace

from zodbjobs import events
from zodbjobs.otel.consuming import Consumer
from zodbjobs.otel.ended import EndedSpans
from zodbjobs.otel.producing import Producer

_lock = threading.Lock()
_undo: list[Callable[[], None]] = []


def instrument(tracer_provider: Any = None) -> None:
    """Make spans in this process, of what it puts and of what its workers run, from now on.

    `tracer_provider` is where they go, the global one by default. Done once, however often it is
    called. A process that isn't instrumented passes the trace of who puts a job on to the job all
    the same.
    """
    with _lock:
        if _undo:
            return
        version = metadata.version("zodbjobs")
        tracer = trace.get_tracer("zodbjobs", version, tracer_provider)
        ended = EndedSpans()
        producer, consumer = Producer(tracer, ended), Consumer(tracer, ended)
        _undo.extend(
            (
                events.subscribe(producer.put, events.JobPut),
                events.subscribe(consumer.started, events.JobStarted),
                events.subscribe(consumer.conflicted, events.AttemptConflicted),
                events.subscribe(consumer.ended, events.AttemptEnded),
            )
        )


def uninstrument() -> None:
    """Make no more spans; those that have begun end. It needn't be instrumented."""
    with _lock:
        while _undo:
            _undo.pop()()


class Instrumentor:
    """What the command `opentelemetry-instrument` finds by the entry point of this package."""

    def instrument(self, **options: Any) -> None:
        """See `instrument`; of `options` only `tracer_provider` is looked at."""
        instrument(options.get("tracer_provider"))

    def uninstrument(self, **options: Any) -> None:
        """See `uninstrument`."""
        uninstrument()


__all__ = ["Instrumentor", "instrument", "uninstrument"]
