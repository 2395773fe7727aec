"""What may be shown of a job's arguments, and what shows its texts."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Iterator

from zodbjobs.insights.infos import MOST_ARGUMENT, show
from zodbjobs.redaction import Redactor
from zodbjobs.stored.job import Job
from zodbjobs.stored.lifecycle import calls


def redactor_of(job: Job) -> Redactor:
    """What shows the values and texts of a job without secrets.

    It looks for those in the job's arguments once it has a text to show.
    """
    return Redactor(_arguments(job))


def _arguments(job: Job) -> Iterator[object]:
    yield from itertools.chain(job.args, job.kwargs.values())


def shown_arguments(job: Job, hidden: Redactor) -> tuple[str, ...]:
    """The arguments of a job as text, one by one, shortened.

    Those without a name have that of the parameter, if the code that is called can be loaded.
    """
    names = _parameters(job) if job.args else iter(())
    shown = [show(value, MOST_ARGUMENT, hidden, next(names, None)) for value in job.args]
    shown += [f"{name}={show(v, MOST_ARGUMENT, hidden, name)}" for name, v in job.kwargs.items()]
    return tuple(shown)


def _parameters(job: Job) -> Iterator[str]:
    """The names of the parameters of what a job calls; the last one for all others."""
    with contextlib.suppress(Exception, SystemExit):  # it is loaded for this, and may be missing
        yield from calls.parameters_of(job.callable)
