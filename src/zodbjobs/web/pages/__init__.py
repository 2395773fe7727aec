"""The pages, a module and a template each, and the table of all routes.

To add one: write ``pages/x.py`` with a function that takes a `Visit` and returns what
``visit.page("x", ...)`` makes of plain values, and ``templates/x.pt``; then enter it here with the
action that it takes.
"""

from __future__ import annotations

from zodbjobs.web.language import message as _
from zodbjobs.web.pages import about, deeds, job, mine, result, static
from zodbjobs.web.routing import Needs, Route

#: The first one that fits is taken. Those with a title are the navigation, in this order.
ROUTES = (
    Route("GET", "/", mine.home, Needs.A_NAME),
    Route("GET", "/mine", mine.mine, Needs.A_NAME, title=_("My jobs")),
    Route("GET", "/about/{database}/{oid}", about.about, Needs.A_NAME),
    Route("GET", "/jobs/{job}", job.job, "view"),
    Route("GET", "/jobs/{job}.json", job.status, "view"),
    Route("GET", "/jobs/{job}/result", result.result, "download"),
    Route("GET", "/jobs/{job}/files/{file}", result.file, "download"),
    Route("GET", "/jobs/{job}/cancel", deeds.ask_to_cancel, "cancel"),
    Route("POST", "/jobs/{job}/cancel", deeds.cancel, "cancel"),
    Route("GET", "/jobs/{job}/discard", deeds.ask_to_discard, "discard"),
    Route("POST", "/jobs/{job}/discard", deeds.discard, "discard"),
    Route("GET", "/static/{file}", static.static, Needs.A_NAME),
)
