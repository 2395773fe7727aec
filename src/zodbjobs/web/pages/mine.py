"""My jobs: those of who asks, the newest first."""

from __future__ import annotations

import zodbjobs
from zodbjobs.web.responses import Response
from zodbjobs.web.rows import page_of
from zodbjobs.web.visit import Visit

# Jobs that one page looks at; of one's own there are few that one may not view, which are those of
# other realms.
_MOST_LOOKED_AT = 500


def mine(visit: Visit) -> Response:
    """The jobs of who asks."""
    principal = visit.rights.principal
    assert principal is not None  # the route needs a name
    jobs = zodbjobs.jobs_of(principal, visit.connection)
    shown = page_of(visit, jobs, _MOST_LOOKED_AT, "mine")
    data = (visit.notice(), shown)
    return visit.page("mine", visit.t("My jobs"), data, live=shown.live)
