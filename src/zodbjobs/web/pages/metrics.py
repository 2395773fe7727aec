"""What Prometheus reads, for those who may see all jobs; it has no template."""

from __future__ import annotations

from zodbjobs.web.responses import Response
from zodbjobs.web.visit import Visit


def metrics(visit: Visit) -> Response:
    """The metrics as text."""
    return visit.settings.scrapes.answer(visit.request, visit.connection)
