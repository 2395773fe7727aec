"""Every error of the package; each names the job, the queue and the cure."""

from __future__ import annotations

from datetime import datetime, timedelta


class ZodbjobsError(Exception):
    """Base of all errors that this package raises."""


class BadStatus(ZodbjobsError, ValueError):
    """The job's status doesn't allow what was asked for."""


class BadArgument(ZodbjobsError, ValueError):
    """A value can't be used: not storable, naive, negative or out of range."""


class NotInstalled(ZodbjobsError, LookupError):
    """The database has no queues; ``zodbjobs.install(db)`` makes them."""


class UnknownQueue(ZodbjobsError, KeyError):
    """There is no queue of that name."""

    def __str__(self) -> str:
        # KeyError shows the repr of its argument, which hides line ends and quotes.
        return str(self.args[0]) if self.args else ""


class UnknownSchedule(ZodbjobsError, KeyError):
    """There is no schedule of that name."""

    def __str__(self) -> str:
        return str(self.args[0]) if self.args else ""  # as that of UnknownQueue


class UnknownQuota(BadArgument):
    """The queue has no quota for a name that a job has."""


class NotStored(ZodbjobsError, LookupError):
    """The object isn't stored in a database, so it leads to no queue."""


class NoBlobs(ZodbjobsError):
    """The database has no place for files, so a job can't attach any."""


class AttachmentLost(ZodbjobsError, LookupError):
    """The data of a file that a job has left isn't in the database any more."""


class Overloaded(ZodbjobsError):
    """A load guard takes no new job now; the text says why.

    `retry_after`: seconds after which to try again. `reason`: one word: cpu, memory, disk, owner,
    or `guard` for one that doesn't say.
    """

    def __init__(self, text: str, retry_after: float, reason: str = "guard") -> None:
        super().__init__(text, retry_after, reason)
        self.retry_after = retry_after
        self.reason = reason

    def __str__(self) -> str:
        return f"{self.args[0]}; try again in {self.retry_after:.0f} seconds"


class MissingCode(ZodbjobsError, LookupError):
    """The code that a job calls, or the zone of a schedule, isn't there in this process."""


class Draining(ZodbjobsError):
    """The queue takes no new jobs until it is resumed."""


class ContextGone(ZodbjobsError, LookupError):
    """What a job was put in isn't there any more, such as its principal; the job fails with this,
    whatever its retry policy says. Also for the functions of `zodbjobs.context`.
    """


class UserGone(ContextGone):
    """The user as whom a job was to run isn't there any more."""


class SiteGone(ContextGone):
    """The site in which a job was put isn't there any more; at its path may be another one."""


class ObjectGone(ContextGone):
    """An object that was given to a job isn't there any more, or isn't where it can be found."""


class ViewFailed(ZodbjobsError):
    """A view that was called in a job answered with a status of an error."""


class Snooze(ZodbjobsError):
    """Raised by a job that wants to be run again later: ``raise zodbjobs.Snooze(when)``.

    `when` is a timedelta from now or an aware datetime; what is past means now. What the job
    did is rolled back; it is no failure, not counted in `attempts`, and `begin_by` applies no
    more. Raises BadArgument for anything else. More than a year is a failure.
    """

    def __init__(self, when: timedelta | datetime) -> None:
        is_time = isinstance(when, timedelta | datetime)
        if not is_time or (isinstance(when, datetime) and when.utcoffset() is None):
            raise BadArgument(
                f"a job snoozes for a timedelta, or until an aware datetime, not {when!r}"
            )
        super().__init__(when)
        self.when = when

    def __str__(self) -> str:
        between = "for" if isinstance(self.when, timedelta) else "until"
        return f"the job snoozes {between} {self.when}"


class NoCurrentJob(ZodbjobsError, ValueError):
    """A function of ``zodbjobs.local`` was called outside a running job."""


class WaitTimeout(ZodbjobsError, TimeoutError):
    """What was waited for didn't happen in time."""


class Aborted(ZodbjobsError):
    """The job was given up: the worker died too often while it ran."""


class BadPolicy(ZodbjobsError):
    """A job's retry policy raised, or gave an answer that means nothing; the job has ended."""


class TimedOut(ZodbjobsError, TimeoutError):
    """The job wasn't done in time: an attempt took longer than its timeout, for one."""


class Cancelled(ZodbjobsError):
    """The job was cancelled."""


class GivenBack(ZodbjobsError):
    """The job ends at a checkpoint, as its worker stops, its agent was removed or it is paused,
    and goes on from its cursor later; raised by ``local.checkpoint``, which a job lets pass.
    """


class SweepFailed(ZodbjobsError):
    """A Sweep has set aside as many items as it may, or one of its parts hasn't succeeded."""


class Skipped(ZodbjobsError):
    """A job that it was put after ended without success."""


class Expired(ZodbjobsError, TimeoutError):
    """The job wasn't begun within its begin_by."""
