"""Every error of the package; each names the job, the queue and the cure."""

from __future__ import annotations


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


class NotStored(ZodbjobsError, LookupError):
    """The object isn't stored in a database, so it leads to no queue."""


class MissingCode(ZodbjobsError, LookupError):
    """The code that a job calls isn't there in this process."""


class NoCurrentJob(ZodbjobsError, ValueError):
    """A function of ``zodbjobs.local`` was called outside a running job."""


class WaitTimeout(ZodbjobsError, TimeoutError):
    """What was waited for didn't happen in time."""


class Aborted(ZodbjobsError):
    """The job was given up: the worker died too often while it ran."""


class Cancelled(ZodbjobsError):
    """The job was cancelled."""


class Skipped(ZodbjobsError):
    """A job that it was put after ended without success."""


class Expired(ZodbjobsError, TimeoutError):
    """The job wasn't begun within its begin_by."""
