"""Where the pages of an application are."""

from __future__ import annotations

from typing import Any
from urllib.parse import unquote

from zodbjobs.errors import BadArgument

# Where the registry of an application has the names of the routes of its pages, in their order.
_ROUTES = "zodbjobs.routes"


def add(registry: Any, route: str) -> None:
    """Take note of a route of the pages; `rest` is what follows their mount in it."""
    registry.setdefault(_ROUTES, []).append(route)


def path_of(request: Any) -> str:
    """The path of the pages that were added first, as the browser sees it.

    Raises BadArgument without any, and for those whose path has parts that vary.
    """
    routes = request.registry.get(_ROUTES)
    if not routes:
        raise BadArgument(
            "the application has no pages of jobs; call config.add_jobs_pages('/jobs'), or give "
            "`mount`, the path below which its pages are"
        )
    try:
        path = request.route_path(routes[0], rest="")
    except KeyError as error:
        raise BadArgument(
            f"the path of the pages has {error} in it; give `mount`, the path below which they are"
        ) from error
    return unquote(path).rstrip("/")
