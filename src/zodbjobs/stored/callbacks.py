"""The handle of a pair of callbacks, of which the end of a job chooses one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from persistent import Persistent

from zodbjobs.interfaces import COMPLETED, NEW
from zodbjobs.stored.lifecycle import followers

if TYPE_CHECKING:
    from collections.abc import Callable

    from zodbjobs.stored.job import Job


class CallbackHandle(Persistent):
    """A callback for success and one for the other outcomes; either may be missing.

    What `Job.add_callbacks` returns. `success`, `failure`: the jobs, or None.
    """

    _callbacks: tuple[Any, ...] = ()
    _decided = False
    _chosen: Job | None = None

    def __init__(self, parent: Any, success: Job | None, failure: Job | None) -> None:
        self._callback_of = parent
        self.success = success
        self.failure = failure

    @property
    def chosen(self) -> Job | None:
        """The one that the end of the job has chosen; None until then, and if it is missing."""
        return self._chosen

    @property
    def status(self) -> str:
        """NEW until the job ends, then that of the chosen one; COMPLETED if that is missing."""
        if not self._decided:
            return NEW
        return COMPLETED if self._chosen is None else self._chosen.status

    @property
    def result(self) -> Any:
        """That of the chosen one; that of the job if the one to be chosen is missing."""
        if not self._decided:
            return None
        return followers.source_of(self).result if self._chosen is None else self._chosen.result

    @property
    def outcome(self) -> str | None:
        """That of the chosen one; that of the job if the one to be chosen is missing."""
        if not self._decided:
            return None
        return followers.source_of(self).outcome if self._chosen is None else self._chosen.outcome

    @property
    def callbacks(self) -> tuple[Any, ...]:
        """What was chained on it by its own methods."""
        return self._callbacks

    def add_callback(self, callback: Job | Callable[..., Any], **options: Any) -> Job:
        """Chain a callback on whichever is chosen; see `Job.add_callback`.

        If that is missing it gets the result of the job.
        """
        return followers.add_callback(self, callback, **options)

    def add_callbacks(
        self,
        success: Job | Callable[..., Any] | None = None,
        failure: Job | Callable[..., Any] | None = None,
    ) -> CallbackHandle:
        """Chain a pair on whichever is chosen; see `Job.add_callbacks`."""
        return followers.add_callbacks(self, success, failure)

    def undecide(self) -> None:
        """Let another end choose: the transaction of the one that has was aborted."""
        self._decided, self._chosen = False, None

    def decide(self, succeeded: bool) -> Job | None:
        """Choose, at the end of the job; `followers` does."""
        self._decided = True
        self._chosen = self.success if succeeded else self.failure
        return self._chosen
