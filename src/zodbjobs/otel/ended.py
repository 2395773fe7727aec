"""Which span an attempt had that is over, for what its end puts is put in another thread."""

from __future__ import annotations

import threading

from opentelemetry.trace import SpanContext

# Spans that are kept: more than wait to be committed together.
_MOST = 5_000


class EndedSpans:
    """The spans of the last attempts of this process, by queue and id of the job."""

    def __init__(self) -> None:
        self._found: dict[tuple[str, str], SpanContext] = {}
        self._lock = threading.Lock()

    def note(self, queue: str, job_id: str, span: SpanContext) -> None:
        """Keep the span of an attempt that is over; the oldest goes for it."""
        with self._lock:
            self._found.pop((queue, job_id), None)
            self._found[queue, job_id] = span
            if len(self._found) > _MOST:
                del self._found[next(iter(self._found))]

    def of(self, queue: str, job_id: str) -> SpanContext | None:
        """That of a job, if it is still known."""
        return self._found.get((queue, job_id))
