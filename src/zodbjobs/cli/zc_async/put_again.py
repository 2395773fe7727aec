"""What it takes to put a job of zc.async into a queue of this package."""

from __future__ import annotations

import keyword
from dataclasses import replace
from typing import Any

from zodbjobs import clock
from zodbjobs.cli.zc_async.here import why_missing
from zodbjobs.cli.zc_async.jobs import Callback, OldJob
from zodbjobs.cli.zc_async.queues import Found, OldQueue
from zodbjobs.cli.zc_async.records import Reference
from zodbjobs.cli.zc_async.values import (
    NotExpressible,
    dotted,
    expression,
    is_global,
    name_of,
    parts,
    text,
)

#: What the lines need; `connection` is an open connection of the new database.
PREAMBLE = ("import datetime", "import zodbjobs", "from ZODB.utils import p64")

# Classes of jobs, and their counterparts.
_KINDS = {
    "zc.async.job:Job": "zodbjobs.Job",
    "zc.async.partial:Partial": "zodbjobs.Job",
    "zc.async.z3:Job": "zodbjobs.Job",
    "plone.app.async.job:Job": "zodbjobs.Job",
    "waeup.kofa.async:ProgressableJob": "zodbjobs.ProgressableJob",
}

# Functions, and their counterparts.
_FUNCTIONS = {"waeup.kofa.async:compute": "zodbjobs.compute"}

# The last step of a composition that was made without one.
_NOTHING = "zc.async.job._transparent"

_POLICIES = {
    "zc.async.job.RetryCommonForever": "zodbjobs.RetryForever",
    "zc.async.job.NeverRetry": "zodbjobs.NeverRetry",
}

# What plone.app.async puts in the place of a call, and the callbacks that send its events.
_PLONE = "plone.app.async.service._executeAsUser"
_PLONE_EVENTS = (
    "plone.app.async.service.job_success_callback",
    "plone.app.async.service.job_failure_callback",
)

_STATES = {
    "expired": "it wasn't begun in time; put it only if it is still wanted",
    "active": "it was running, and nobody ends it; what it had not committed is lost",
    "interrupted": "its worker died; what it did in the database was rolled back",
}


class PutAgain:
    """How to put one job again.

    `line` is Python that puts it, None if none can be given; `needs` says what to do before
    or beside that, or why there is no line.
    """

    def __init__(self, found: Found, queue: OldQueue) -> None:
        self.line: str | None = None
        self.needs: list[str] = list(found.job.problems)
        self._imports: set[str] = set()
        self._names = 0
        job = self._without_plone(found.job)
        reason = _why_not(job, found.state)
        if reason is not None:
            self.needs.insert(0, reason)
            return
        self.needs += _notes(job, found.state)
        try:
            self.line = self._line(job, found.state, queue)
        except NotExpressible as error:
            self.needs.append(str(error))
        if job.problems:  # a call without all its arguments is another call
            self.line = None
        self.needs = list(dict.fromkeys(self.needs))

    def _line(self, job: OldJob, state: str, queue: OldQueue) -> str:
        words = [self._composition(job) or self._job(job)]
        if job.begin_after is not None and job.begin_after > clock.to_datetime(clock.now()):
            words.append(f"begin_after={expression(job.begin_after)}")
        if job.begin_by is not None and state != "expired":
            words.append(f"begin_by={expression(job.begin_by)}")
        if job.quota_names:
            words.append(f"quota_names={expression(job.quota_names)}")
        line = f"{queue_expression(queue.name)}.put({', '.join(words)})"
        added = self._callbacks("job", job.callbacks)
        if added:
            line = "; ".join([f"job = {line}", *added])
        return "; ".join([*sorted(f"import {module}" for module in self._imports), line])

    def _job(self, job: OldJob) -> str:
        bound = bool(job.args) and isinstance(job.args[0], Reference) and job.args[0].id == job.id
        words = [self._callable(job)]
        words += [self._argument(n, arg) for n, arg in enumerate(job.args, 1) if n > bound]
        if all(_is_name(name) for name in job.kwargs):
            words += [f"{n}={self._argument(n, arg)}" for n, arg in job.kwargs.items()]
        else:
            pairs = [f"{n!r}: {self._argument(n, arg)}" for n, arg in job.kwargs.items()]
            words.append(f"**{{{', '.join(pairs)}}}")
        made_by = _KINDS.get(job.kind, "zodbjobs.Job") + ".bind" * bound
        return f"{made_by}({', '.join(words)})"

    def _callable(self, job: OldJob) -> str:
        if is_global(job.root) and job.method is None:
            name = name_of(job.root)
            if name in _FUNCTIONS:
                return _FUNCTIONS[name]
        try:
            self._look_at(job.root)
            written = expression(job.root)
        except NotExpressible as error:
            raise NotExpressible(f"what it calls can't be written: {error}") from None
        if job.method is None:
            return written
        if not _is_name(job.method):
            raise NotExpressible(f"{job.method!r} isn't the name of a method")
        return f"{written}.{job.method}"

    def _argument(self, name: object, value: Any) -> str:
        try:
            self._look_at(value)
            return expression(value)
        except NotExpressible as error:
            raise NotExpressible(f"argument {name} can't be written: {error}") from None

    def _look_at(self, value: Any) -> None:
        """Note the modules to import, and what is missing here."""
        for part in parts(value):
            name = part.name if isinstance(part, Reference) else name_of(part)
            if isinstance(part, Reference) and name in _KINDS:
                raise NotExpressible(f"it has job {part.id} of the old queue in it")
            missing = why_missing(name) if name else None
            if missing:
                self.needs.append(missing)
            if not isinstance(part, Reference):
                self._imports.add(name.partition(":")[0])

    def _composition(self, job: OldJob) -> str | None:
        """A composition of the parts that haven't ended; None for any other job."""
        if job.composition is None:
            return None
        left = [part for part in job.composition.parts if not part.has_ended]
        if len(left) < len(job.composition.parts):
            self.needs.append("some of its parts have ended; the last step doesn't get those")
        words = [self._part(part) for part in left]
        last = job.composition.last
        if last is not None and last.callable != _NOTHING:
            words.append(f"postprocess={self._part(last)}")
        return f"zodbjobs.{job.composition.kind}({', '.join(words)})"

    def _part(self, found: OldJob) -> str:
        part = self._without_plone(found)
        if part.problems:
            raise NotExpressible(f"part {part.id} can't be read: {part.problems[0]}")
        if part.callbacks:
            self.needs.append(f"its part {part.id} has callbacks of its own")
        return self._composition(part) or self._job(part)

    def _callbacks(self, parent: str, callbacks: list[Callback]) -> list[str]:
        """Statements that add callbacks to the job of a name."""
        lines = []
        for callback in callbacks:
            terms = [self._callback(when, job) for when, job in callback.jobs.items()]
            added = f"{parent}.add_callback{'' if 'always' in callback.jobs else 's'}"
            self._names += 1
            name = f"callback_{self._names}"
            inner = self._callbacks(name, callback.later)
            for when, job in callback.jobs.items():
                owner = name if when == "always" else f"{name}.{when}"
                inner += self._callbacks(owner, job.callbacks)
            line = f"{added}({', '.join(terms)})"
            lines += [f"{name} = {line}", *inner] if inner else [line]
        return lines

    def _callback(self, when: str, job: OldJob) -> str:
        if job.problems:
            raise NotExpressible(f"a callback can't be read: {job.problems[0]}")
        if when == "always":
            return self._job(job)
        if when in ("success", "failure"):
            return f"{when}={self._job(job)}"
        raise NotExpressible(
            f"its callback {job.callable} has the condition {when}; ask that in the callback"
        )

    def _without_plone(self, job: OldJob) -> OldJob:
        """The call that plone.app.async has wrapped, with the path of its context."""
        if job.callable != _PLONE or len(job.args) < 5:
            return job
        context, site, _, user, function, *args = job.args
        self.needs.append(
            f"{text(function)} was given the object, not its path; let it look that up in the site"
        )
        path = "/".join(map(str, context)) if isinstance(context, tuple) else context
        callbacks = [
            callback
            for callback in job.callbacks
            if not {called.callable for called in callback.jobs.values()} <= {*_PLONE_EVENTS}
        ]
        unwrapped = {"root": function, "args": [path, *args], "callbacks": callbacks}
        return replace(job, **unwrapped, site=site, user=user)


def queue_expression(name: str) -> str:
    """Python that gives the queue of a name."""
    return (
        f"zodbjobs.get_queue(connection, {name!r})" if name else "zodbjobs.get_queue(connection)"
    )


def lines_for_queue(queue: OldQueue) -> list[str]:
    """Python that makes the queue and its quotas; empty for the default queue without any."""
    lines = [f"zodbjobs.get_queues(connection).create({queue.name!r})"] if queue.name else []
    return lines + [
        f"{queue_expression(queue.name)}.quotas.create({name!r}, size={size})"
        for name, size in queue.quotas.items()
    ]


def _why_not(job: OldJob, state: str) -> str | None:
    """Why a job mustn't be put again."""
    if state in ("completed", "succeeded", "failed"):
        return "it has ended"
    if state == "callbacks":
        called = [found.callable for call in job.callbacks for found in call.jobs.values()]
        return f"its own work is done, not that of its callbacks: {', '.join(called) or 'none'}"
    if job.part_of:
        return f"it is a part of job {job.part_of}, which is put again as a whole"
    if job.returned and job.composition is None:
        return f"its own work is done; it waits for job {job.returned}, which it has returned"
    return None


def _notes(job: OldJob, state: str) -> list[str]:
    """What the line doesn't say."""
    notes = [_STATES[state]] if state in _STATES else []
    if job.kind and job.kind not in _KINDS:
        notes.append(
            f"it is of the class {dotted(job.kind)}; make that a subclass of zodbjobs.Job, and "
            "put one of it"
        )
    if job.returned_by:
        notes.append(f"its result is that of job {job.returned_by} too, which has returned it")
    if job.retry_policy:
        counterpart = _POLICIES.get(job.retry_policy, "one of yours")
        notes.append(f"set job.retry_policy to {counterpart}; it was {job.retry_policy}")
    if job.site is not None or job.user:
        user = job.user or "nobody"
        notes.append(f"put it in the site {text(job.site)} as {user}, for it was put there")
    return notes


def _is_name(name: Any) -> bool:
    return isinstance(name, str) and name.isidentifier() and not keyword.iskeyword(name)
