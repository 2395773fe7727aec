"""The pages, a module and a template each, and the table of all routes.

To add one: write ``pages/x.py`` with a function that takes a `Visit` and returns what
``visit.page("x", ...)`` makes of plain values, and ``templates/x.pt``; then enter it here with the
action that it takes.
"""

from __future__ import annotations

from collections.abc import Iterator

from zodbjobs.web.language import message as _
from zodbjobs.web.pages import (
    about,
    act,
    again,
    audit,
    conflicts,
    deeds,
    job,
    jobs,
    metrics,
    mine,
    overview,
    parked,
    queues,
    result,
    schedules,
    static,
    workers,
)
from zodbjobs.web.routing import Needs, Route
from zodbjobs.web.scrapes import PATH


def _on_several() -> Iterator[Route]:
    """A deed on several jobs; of each the right is asked again, to each of the jobs."""
    for action in act.DEED:
        yield Route("GET", f"/jobs/{action}", act.asks(action), action, in_realm=True)
        yield Route("POST", f"/jobs/{action}", act.does(action), action, in_realm=True)


#: The first one that fits is taken. Those with a title are the navigation, in this order.
ROUTES = (
    Route("GET", "/", overview.home, Needs.A_NAME, title=_("Overview"), listed_for="view"),
    Route("GET", "/jobs", jobs.jobs, "view", in_realm=True, title=_("Jobs")),
    Route("GET", "/parked", parked.parked, "view", in_realm=True, title=_("Parked")),
    Route("GET", "/queues", queues.queues, "view", title=_("Queues")),
    Route("GET", "/schedules", schedules.schedules, "view", title=_("Schedules")),
    Route("GET", "/workers", workers.workers, "view", title=_("Workers")),
    Route("GET", "/conflicts", conflicts.conflicts, "view", title=_("Conflicts")),
    Route("GET", "/audit", audit.audit, "view_audit", in_realm=True, title=_("Audit")),
    Route("GET", PATH, metrics.metrics, "view"),
    Route("GET", "/mine", mine.mine, Needs.A_NAME, title=_("My jobs")),
    Route("GET", "/about/{database}/{oid}", about.about, Needs.A_NAME),
    *_on_several(),
    Route("GET", "/jobs/{job}", job.job, "view"),
    Route("GET", "/jobs/{job}.json", job.status, "view"),
    Route("GET", "/jobs/{job}/result", result.result, "download"),
    Route("GET", "/jobs/{job}/files/{file}", result.file, "download"),
    Route("GET", "/jobs/{job}/cancel", deeds.ask_to_cancel, "cancel"),
    Route("POST", "/jobs/{job}/cancel", deeds.cancel, "cancel"),
    Route("GET", "/jobs/{job}/discard", deeds.ask_to_discard, "discard"),
    Route("POST", "/jobs/{job}/discard", deeds.discard, "discard"),
    Route("GET", "/jobs/{job}/retry", deeds.ask_to_retry, "retry"),
    Route("POST", "/jobs/{job}/retry", deeds.retry, "retry"),
    Route("GET", "/jobs/{job}/remove", deeds.ask_to_remove, "remove"),
    Route("POST", "/jobs/{job}/remove", deeds.remove, "remove"),
    Route("GET", "/jobs/{job}/again", again.ask, "put_again"),
    Route("POST", "/jobs/{job}/again", again.put, "put_again"),
    Route("GET", "/queues/{name}", queues.queue, "view"),
    Route("POST", "/queues/{name}/pause", queues.pause, "pause"),
    Route("POST", "/queues/{name}/resume", queues.resume, "pause"),
    Route("POST", "/queues/{name}/drain", queues.drain, "pause"),
    Route("POST", "/queues/{name}/quota", queues.change_quota, "change_quota"),
    Route("POST", "/queues/{name}/agent", queues.change_agent, "change_agent"),
    Route("POST", "/queues/{name}/agents", queues.add_agent, "change_agent"),
    Route("POST", "/queues/{name}/agent/remove", queues.remove_agent, "change_agent"),
    Route("GET", "/schedules/{name}", schedules.schedule, "view"),
    Route("POST", "/schedules/{name}/pause", schedules.pause, "change_schedule"),
    Route("POST", "/schedules/{name}/resume", schedules.resume, "change_schedule"),
    Route("POST", "/schedules/{name}/run", schedules.run, "change_schedule"),
    Route("POST", "/schedules/{name}/edit", schedules.edit, "change_schedule"),
    Route("POST", "/schedules/{name}/remove", schedules.remove, "change_schedule"),
    Route("GET", "/static/{file}", static.static, Needs.A_NAME),
)
