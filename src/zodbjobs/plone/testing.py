"""For the tests of add-ons: layers on plone.app.testing in which jobs are run for real.

A fixture of your own takes `JOBS_FIXTURE` as its base, and a test layer `FunctionalTesting` of
plone.app.testing, for jobs see only what is committed.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import transaction
from plone.app.testing import (
    PLONE_FIXTURE,
    FunctionalTesting,
    PloneSandboxLayer,
    applyProfile,
)

import zodbjobs
from zodbjobs import events
from zodbjobs import testing as kit
from zodbjobs.zope import load, unload


class JobsLayer(PloneSandboxLayer):
    """A Plone site in which the add-on is installed, and queues."""

    defaultBases = (PLONE_FIXTURE,)

    def setUp(self) -> None:
        """Set it up, and make the queues in the database of the layer."""
        super().setUp()
        zodbjobs.install(self["zodbDB"])

    def setUpZope(self, app: Any, configurationContext: Any) -> None:
        """Load the ZCML, and what is loaded as a Zope starts."""
        import zodbjobs.plone

        self.loadZCML(package=zodbjobs.plone, context=configurationContext)
        load()

    def tearDownZope(self, app: Any) -> None:
        """Put and run jobs as without Zope again."""
        unload()

    def setUpPloneSite(self, portal: Any) -> None:
        """Install the add-on."""
        applyProfile(portal, "zodbjobs.plone:default")


#: The base of a fixture of your own.
JOBS_FIXTURE = JobsLayer()

#: For tests that need nothing else.
JOBS_FUNCTIONAL_TESTING = FunctionalTesting(bases=(JOBS_FIXTURE,), name="Jobs:Functional")


def run_jobs(portal: Any, may_fail: bool = False) -> int:
    """Commit what the test has done, as a request ends, and run the jobs that are due, and those
    that they put; how many runs there were.

    Each runs as in a worker: in a connection and a transaction of its own, in the run context that
    it was put in, and without what the test has in its thread. Raises AssertionError if a job
    failed or was parked, with its traceback or the reason, unless they `may_fail`.
    """
    transaction.commit()
    with _told() as told:
        count = kit.run_jobs(portal._p_jar.db())
    transaction.begin()
    if told and not may_fail:
        raise AssertionError("\n\n".join(told))
    return count


@contextlib.contextmanager
def _told() -> Iterator[list[str]]:
    """What is to be said of jobs that failed, or were parked, meanwhile."""
    told: list[str] = []

    def listen(event: Any) -> None:
        if isinstance(event, events.JobParked):
            told.append(f"job {event.job_id} is parked: {event.reason}")
        elif isinstance(event, events.JobEnded) and event.failure is not None:
            told.append(f"job {event.job_id} {event.outcome}: {event.failure.traceback}")

    undo = events.subscribe(listen, events.JobParked, events.JobEnded)
    try:
        yield told
    finally:
        undo()
