"""The retry policy of jobs that bring none: a queue's, or that of all queues of a database."""

from __future__ import annotations

from typing import Any

from persistent import Persistent

from zodbjobs.errors import BadArgument
from zodbjobs.stored.lifecycle.storable import missing_class
from zodbjobs.stored.retry import checked_policy


class DefaultPolicy(Persistent):
    """A policy in a record of its own: a process that lacks its class can still load the queue."""

    def __init__(self, policy: Any) -> None:
        self.policy = policy


class GivesPolicy:
    """What has a `retry_policy` for jobs that are put into it and bring none."""

    _default_policy: DefaultPolicy | None = None

    @property
    def retry_policy(self) -> Any:
        """The IRetryPolicy of jobs that are put from now on and have none; None for no other
        than the next one: the database's, then the built-in one.

        Settable, also to a class that takes no arguments; joins the transaction. To change an
        attribute of the policy does nothing: set another one. Raises BadArgument for what
        answers no question, or can't be stored.
        """
        return None if self._default_policy is None else self._default_policy.policy

    @retry_policy.setter
    def retry_policy(self, value: Any) -> None:
        policy = checked_policy(value)
        self._default_policy = None if policy is None else DefaultPolicy(policy)


def default_policy(*places: GivesPolicy) -> Any:
    """The first policy of `places`, for a job that is put; None if there is none.

    Raises BadArgument if its class is missing in this process.
    """
    for place in places:
        if place._default_policy is not None:
            policy = place._default_policy.policy
            missing = missing_class(policy)
            if missing is not None:
                raise BadArgument(
                    f"nothing can be put here: the class {missing} of the default retry policy of "
                    f"{place!r} is missing in this process; install the code that defines it, or "
                    "set another `retry_policy` of the queue or of all queues"
                )
            return policy
    return None
