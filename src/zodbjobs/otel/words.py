"""The attributes of OpenTelemetry's conventions for messaging, and the names of queues."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from opentelemetry import propagate, trace
from opentelemetry.context import Context
from opentelemetry.trace import SpanContext

SYSTEM = "messaging.system"
OPERATION = "messaging.operation.name"
OPERATION_TYPE = "messaging.operation.type"
DESTINATION = "messaging.destination.name"
MESSAGE_ID = "messaging.message.id"
BATCH_COUNT = "messaging.batch.message_count"
CLIENT_ID = "messaging.client.id"
ERROR_TYPE = "error.type"

#: The name of the part of a job's run context that has its trace.
TRACE = "trace"


def of_queue(queue: str, operation: str, operation_type: str) -> dict[str, Any]:
    """The attributes that the spans of a queue have in common."""
    return {
        SYSTEM: "zodbjobs",
        OPERATION: operation,
        OPERATION_TYPE: operation_type,
        DESTINATION: destination(queue),
    }


def destination(queue: str) -> str:
    """The name of a queue; the default one has none."""
    return queue or "(default)"


def context_of(carrier: Mapping[str, str] | None) -> Context:
    """The context that a job's run context has; an empty one for None."""
    return propagate.extract(carrier, Context()) if carrier else Context()


def span_in(context: Context | None) -> SpanContext | None:
    """What is known of the current span of a context, None: of the current one; None if it has
    none.
    """
    found = trace.get_current_span(context).get_span_context()
    return found if found.is_valid else None


def ids(span: SpanContext | None) -> tuple[int, int] | None:
    """What a span is known by wherever it came from; None for none."""
    return None if span is None else (span.trace_id, span.span_id)
