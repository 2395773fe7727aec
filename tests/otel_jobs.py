"""What jobs do that are traced."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

from opentelemetry import trace

import zodbjobs
from zodbjobs import Snooze, local

#: What a test gives its jobs.
tracer: Any = None
database: Any = None
meeting: Any = None

#: The spans of `note_span`, in order.
noted: list[int] = []


def current_span() -> int:
    return trace.get_current_span().get_span_context().span_id


async def current_span_later() -> int:
    await asyncio.sleep(0)
    return current_span()


def current_trace() -> int:
    return trace.get_current_span().get_span_context().trace_id


def is_sampled() -> bool:
    return trace.get_current_span().get_span_context().trace_flags.sampled


def with_child(name: str) -> None:
    with tracer.start_as_current_span("child"):
        pass


def tell(secret: Any, message: str) -> None:
    raise ValueError(message)


def snooze() -> None:
    raise Snooze(timedelta(hours=1))


def note_span() -> None:
    noted.append(current_span())


def meet_and_tell() -> int:
    meeting.wait(60)
    return current_span()


def return_job() -> zodbjobs.Job:
    return zodbjobs.Job(inner)


def inner() -> str:
    return "inner"


def cancel_itself_elsewhere() -> None:
    """Be cancelled by somebody else, and write something that can't be committed then."""
    job = local.get_job()
    with database.transaction() as connection:
        connection.get(job._p_oid).cancel()
    job._p_jar.root()["written"] = True


def be_paused_at_a_checkpoint() -> str:
    if local.cursor() is None:
        with database.transaction() as connection:
            zodbjobs.get_queue(connection).pause("the release", "otel_jobs:be_paused*")
        local.checkpoint(1)
    return "gone on"
