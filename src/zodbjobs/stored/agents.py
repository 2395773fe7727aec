"""An agent: a worker's subscription to a queue."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

from persistent import Persistent
from zope.interface import implementer

from zodbjobs import defaults
from zodbjobs.errors import BadArgument
from zodbjobs.interfaces import IAgent
from zodbjobs.stored.lifecycle import calls

_PATH = re.compile(r"[^\W\d][\w.]*:[^\W\d][\w.]*")


@implementer(IAgent)
class Agent(Persistent):
    """Which jobs of a queue a worker runs, and how many at a time.

    `queue`: its name. `size`: at most so many at a time, a thread for each. `filter`: a function
    of a module, or its name as 'module:function'; it gets a job, and tells whether the agent
    takes it. Each worker stores copies in its record: `insights.stored_agents` gives these, and
    a change of `size` and `filter` is applied within a second of its commit, until the worker
    starts anew. Raises BadArgument for what can't be.

    A filter is asked once for each job, before the claim, in the claim's transaction; so it must
    go by what doesn't change, write nothing, and be quick. A job that it refuses, or raises for,
    is left to other agents until this one has a filter of another name.
    """

    #: The names of its queues; None for all. More than one for the `queues=` of a worker.
    queues: tuple[str, ...] | None = None
    #: The id of the worker, for one that is stored.
    worker: str | None = None
    _filter: str | None = None

    def __init__(
        self,
        queue: str,
        size: int = defaults.AGENT_SIZE,
        filter: Callable[..., Any] | str | None = None,
    ) -> None:
        if not isinstance(queue, str):
            raise BadArgument(f"an agent has the name of a queue, not {queue!r}")
        self.queues = (queue,)
        self.size = size
        if filter is not None:
            self.filter = filter

    @classmethod
    def of_all(cls, queues: Sequence[str] | None, size: int) -> Agent:
        """What the `queues` and `threads` of a worker stand for: None for all queues."""
        made = cls("", size)
        made.queues = None if queues is None else tuple(queues)
        return made

    def copy_for(self, worker: str) -> Agent:
        """A copy for the record of a worker."""
        made = type(self).of_all(self.queues, self.size)
        made.worker = worker
        if self._filter is not None:
            made._filter = self._filter
        return made

    @property
    def queue(self) -> str | None:
        """The name of its queue; None for more than one."""
        return self.queues[0] if self.queues is not None and len(self.queues) == 1 else None

    @property
    def size(self) -> int:
        """How many jobs it runs at a time; settable, from 1."""
        return self._size

    @size.setter
    def size(self, value: int) -> None:
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            raise BadArgument(f"the size of an agent is an int from 1, not {value!r}")
        self._size = int(value)

    @property
    def filter(self) -> str | None:
        """The name of its filter, 'module:function', or None; settable, also to the function."""
        return self._filter

    @filter.setter
    def filter(self, value: Callable[..., Any] | str | None) -> None:
        path: Any = value
        if value is not None and not isinstance(value, str):
            try:
                path = calls.to_stored(value)
            except TypeError as error:
                raise BadArgument(f"a filter is a function, not {value!r}") from error
        if path is not None and not (isinstance(path, str) and _PATH.fullmatch(path)):
            raise BadArgument(
                f"a filter is a function of a module, or its name as 'module:function', not "
                f"{value!r}"
            )
        self._filter = path

    def accepts(self, job: Any) -> bool:
        """Whether it takes the job; calls the filter, and raises what that raises, or MissingCode.

        Not whether the job is of its queue.
        """
        return self._filter is None or bool(calls.from_stored(self._filter)(job))

    def __repr__(self) -> str:
        names = "all queues" if self.queues is None else ", ".join(map(repr, self.queues))
        chosen = "" if self._filter is None else f", filter={self._filter}"
        return f"<{type(self).__module__}.Agent of {names}, size={self.size}{chosen}>"
