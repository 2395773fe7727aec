"""What ``config.include("zodbjobs.pyramid")`` does."""

from __future__ import annotations

from typing import Any

from pyramid.events import ApplicationCreated
from pyramid.exceptions import ConfigurationError
from pyramid.interfaces import IRequestExtensions

from zodbjobs.installer import install
from zodbjobs.pyramid import applications, run_context
from zodbjobs.pyramid.jobs import Jobs
from zodbjobs.pyramid.pages import add_jobs_pages
from zodbjobs.pyramid.run_context import set_jobs_login

# After all that others configure, in whichever order it was included.
_LATE = 100

# The database that the queues are in, in an application that has one of that name.
_APART = "async"


def includeme(config: Any) -> None:
    """Give requests their `jobs`, and the configurator what else there is.

    When the application is made, its database gets queues if it has none: in the database
    ``zodbconn.uri.async``, if there is one. Raises ConfigurationError, at the commit of the
    configuration, without pyramid_zodbconn or pyramid_tm.
    """
    registry = config.registry
    applications.add(registry)
    run_context.register()
    config.add_request_method(Jobs, "jobs", reify=True)
    config.add_directive("add_jobs_pages", add_jobs_pages)
    config.add_directive("set_jobs_login", set_jobs_login)
    config.add_subscriber(_install, ApplicationCreated)
    config.action("zodbjobs.pyramid", lambda: _check(registry), order=_LATE)


def _check(registry: Any) -> None:
    applications.set_database(registry)
    extensions = registry.queryUtility(IRequestExtensions)
    if extensions is None or "tm" not in extensions.descriptors:
        raise ConfigurationError(
            "zodbjobs.pyramid needs something that commits; include pyramid_tm as well"
        )


def _install(event: Any) -> None:
    db = event.app.registry[applications.DB]
    if not db.storage.isReadOnly():
        install(db, _APART if _APART in db.databases else None)
