"""``python -m otel_worker FILE SPANS``: a worker that writes its spans, one a line."""

from __future__ import annotations

import sys

from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import ConsoleSpanExporter, SimpleSpanProcessor
from ZODB.DB import DB
from ZODB.FileStorage import FileStorage

import zodbjobs
from zodbjobs import otel


def main() -> None:
    path, spans = sys.argv[1:]
    with open(spans, "w") as out:
        exporter = ConsoleSpanExporter(
            out=out, formatter=lambda span: span.to_json(indent=None) + "\n"
        )
        provider = TracerProvider()
        provider.add_span_processor(SimpleSpanProcessor(exporter))
        trace.set_tracer_provider(provider)
        otel.instrument()
        db = DB(FileStorage(path, blob_dir=f"{path}.blobs"))
        zodbjobs.Worker(db, threads=2).run()
        db.close()


if __name__ == "__main__":
    main()
