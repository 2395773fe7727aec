"""My jobs: those of who asks, the newest first."""

from __future__ import annotations

from zodbjobs.stored.lifecycle import listing
from zodbjobs.web.responses import Response
from zodbjobs.web.rows import page_of
from zodbjobs.web.visit import Visit


def mine(visit: Visit) -> Response:
    """The jobs of who asks."""
    principal = visit.rights.principal
    assert principal is not None  # the route needs a name
    shown = page_of(visit, listing.name_of_owner(principal), "mine")
    data = (visit.notice(), shown)
    return visit.page("mine", visit.t("My jobs"), data, live=shown.live)
