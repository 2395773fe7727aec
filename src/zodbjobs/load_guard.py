"""Load guard: refuses new jobs while the machine, or their owner, has enough to do.

It needs the extra `load`, unless it only counts the jobs of owners.
"""

from __future__ import annotations

import itertools
import logging
import os
from typing import Any

from zope.interface import implementer

from zodbjobs import defaults
from zodbjobs.errors import BadArgument, Overloaded
from zodbjobs.interfaces import ILoadGuard
from zodbjobs.lists import jobs_of
from zodbjobs.stored.job import Job
from zodbjobs.stored.lifecycle import completion

log = logging.getLogger("zodbjobs")


@implementer(ILoadGuard)
class LoadGuard:
    """Lets a job be put unless a bound that is given is reached; without any it refuses none.

    `cpu`: the load of the machine over the last minute, in percent of its processors. `memory`:
    percent that is in use. `disk`: percent that is in use where `path` is. `running_per_owner`:
    how many jobs of one owner may wait or run; jobs without an owner aren't counted.

    Raises BadArgument for a bound that is none, ImportError without psutil, OSError for a `path`
    that isn't there. `system`: what psutil has, for tests.
    """

    def __init__(
        self,
        *,
        cpu: float | None = None,
        memory: float | None = None,
        disk: float | None = None,
        path: str | os.PathLike[str] = ".",
        running_per_owner: int | None = None,
        system: Any = None,
    ) -> None:
        self._bounds = {
            name: _checked(name, bound)
            for name, bound in (("cpu", cpu), ("memory", memory), ("disk", disk))
            if bound is not None
        }
        if running_per_owner is not None:
            _checked("running_per_owner", running_per_owner)
        self._per_owner = running_per_owner
        self._path = os.fspath(path)
        self._system = system
        if self._bounds and system is None:
            self._system = _psutil()
        for name in self._bounds:
            self._measure(name)

    def __call__(self, job: Job) -> bool:
        """Whether `job` may be put now."""
        try:
            self.check(job)
        except Overloaded:
            return False
        return True

    def check(self, job: Job, place: Any = None) -> None:
        """Raise Overloaded, which tells why and when to try again, unless `job` may be put now.

        `place`: a connection or a stored object of the database with the jobs of its owner, by
        default the current site.
        """
        for name, bound in self._bounds.items():
            try:
                measured = self._measure(name)
            except Exception:
                # No reason to refuse work.
                log.error("the load guard can't measure %s", name, exc_info=True)
                continue
            if measured >= bound:
                raise Overloaded(_TEXTS[name].format(measured, bound), _AGAIN[name], name)
        if self._per_owner is not None and job.owner is not None:
            self._check_owner(job.owner, self._per_owner, place)

    def _measure(self, name: str) -> float:
        """Percent that is in use."""
        if name == "cpu":
            return float(100 * self._system.getloadavg()[0] / (self._system.cpu_count() or 1))
        if name == "memory":
            return float(self._system.virtual_memory().percent)
        return float(self._system.disk_usage(self._path).percent)

    def _check_owner(self, owner: str, most: int, place: Any) -> None:
        newest = itertools.islice(jobs_of(owner, place), max(defaults.OWNER_LOOKS, most))
        # What can't be loaded here waits for somebody, and is no work of the machine's.
        running = (job for job in newest if isinstance(job, Job) and not _has_ended(job))
        if sum(1 for _ in itertools.islice(running, most)) >= most:
            text = f"{owner!r} has {most:,} jobs that wait or run, and may have no more"
            raise Overloaded(text, defaults.OWNER_RETRY_SECONDS, "owner")


_TEXTS = {
    "cpu": "the load of the machine is {:.0f} % of its processors; no new jobs from {:g} % on",
    "memory": "{:.0f} % of the machine's memory are in use; no new jobs from {:g} % on",
    "disk": "{:.0f} % of the disk are in use; no new jobs from {:g} % on",
}
_AGAIN = {
    "cpu": defaults.LOAD_RETRY_SECONDS,
    "memory": defaults.LOAD_RETRY_SECONDS,
    "disk": defaults.DISK_RETRY_SECONDS,
}


def _has_ended(job: Job) -> bool:
    return completion.completion_of(job) is not None


def _checked(name: str, bound: Any) -> float:
    is_number = isinstance(bound, int | float) and not isinstance(bound, bool)
    if not is_number or not bound > 0:
        raise BadArgument(f"the bound {name} of a load guard is a number above 0, not {bound!r}")
    return float(bound)


def _psutil() -> Any:
    try:
        import psutil
    except ImportError as error:
        raise ImportError(
            "a load guard measures the machine with psutil; install it: pip install zodbjobs[load]"
        ) from error
    return psutil
