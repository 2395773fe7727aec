"""Rerun: runs transactional jobs in groups, and a group that can't be committed again in halves.

So the one that is at fault is found, alone in its transaction, and only that one pays: the others'
attempts count once, however often they were run.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable, Sequence
from typing import NamedTuple

from zodbjobs.runtime.context import RunAlone
from zodbjobs.runtime.storage import errors
from zodbjobs.runtime.together import GivenAway, Member, TakenAway, Together
from zodbjobs.stored.lifecycle.claim import Claim

log = logging.getLogger("zodbjobs")


class Fault(NamedTuple):
    """The commit of a job, alone in its group, that failed."""

    error: Exception
    member: Member


class _Part(NamedTuple):
    """Claims that are run again, in this order; each in a transaction of its own if `is_alone`."""

    claims: deque[Claim]
    is_alone: bool
    fault: Fault | None = None


class Groups:
    """Runs the transactional jobs of one thread, whose open group is `together`.

    `attempt` calls a job in the open group's transaction; `run_alone` runs one to its end in
    transactions of its own, or opens a group with it. `recover` is given what a commit raised, and
    returns when the next one has a chance; it raises Stopped.
    """

    def __init__(
        self,
        together: Together,
        attempt: Callable[[Claim], object],
        run_alone: Callable[[Claim, Fault | None], object],
        recover: Callable[[Exception], object],
    ) -> None:
        self._together = together
        self._attempt = attempt
        self._run_alone = run_alone
        self._recover = recover
        self._again: list[_Part] = []  # the last one first
        self._current: Claim | None = None
        self._lock = threading.Lock()  # of what is in the parts

    def run(self, claim: Claim) -> bool:
        """Run a claimed job behind the others of the open group, if it may run there; else that
        is committed, and nothing is run.
        """
        if not self._together.takes(claim):
            self.end()
            return False
        self._run_behind(claim)
        self._run_again()
        return True

    def end(self) -> None:
        """Commit the open group, whatever that takes."""
        self._commit()
        self._run_again()

    def unfinished(self) -> list[Claim]:
        """Drop what isn't committed; the claims of the jobs, in their order."""
        claims = [member.result.claim for member in self._together.give_up()]
        if self._current is not None and self._current not in claims:
            claims.append(self._current)
        claims += self._taken_from_parts()
        self._current = None
        return claims

    def take_away(self) -> list[Claim]:
        """Take the jobs that wait for one that runs, also those that are to be run again, to give
        them to other threads; called in another thread.
        """
        return self._together.take_away() + self._taken_from_parts()

    def _taken_from_parts(self) -> list[Claim]:
        claims: list[Claim] = []
        with self._lock:
            for part in reversed(self._again):
                claims += part.claims
                part.claims.clear()
        return claims

    def _run_behind(self, claim: Claim) -> None:
        self._current = claim
        try:
            self._attempt(claim)
            if self._together.is_open and self._together.is_full:
                self._current = None
                self._commit()
        except RunAlone:
            self._again.append(_Part(deque([claim]), is_alone=True))
            self._current = None
            try:
                self._together.roll_back()
            except Exception as error:
                self._failed(error)
            self._commit()
        except Exception as error:
            self._failed(error)
        self._current = None

    def _commit(self) -> None:
        if self._together.is_open:
            try:
                self._together.commit()
            except Exception as error:
                self._failed(error)

    def _failed(self, error: Exception) -> None:
        """Drop what the open group has done, and note what is to be run again, and how."""
        members = self._together.give_up()
        claims = [member.result.claim for member in members]
        running, self._current = self._current, None
        if isinstance(error, GivenAway):
            return
        if running is not None and running not in claims:
            self._plan([running], is_alone=True)
            self._plan(claims)
        elif errors.is_unavailable(error):  # for which none of them can be blamed
            self._plan(claims)
        elif len(claims) == 1 and not isinstance(error, TakenAway):
            self._again.append(_Part(deque(claims), True, Fault(error, members[0])))
            return  # who runs it sees to the error
        else:
            log.info("%s transactional jobs are run again in halves: %r", len(claims), error)
            half = (len(claims) + 1) // 2
            for each in (claims[half:], claims[:half]):
                self._plan(each, is_alone=len(each) == 1)
        self._recover(error)

    def _plan(self, claims: Sequence[Claim], is_alone: bool = False) -> None:
        if claims:
            self._again.append(_Part(deque(claims), is_alone))

    def _run_again(self) -> None:
        """Run what is to be run again, until all of it is committed."""
        while self._again:
            part = self._again[-1]
            claim = self._first(part)
            if claim is None:
                self._again.pop()
                self._commit()
            elif self._together.is_open:
                if part.is_alone or not self._together.takes(claim):
                    self._commit()
                elif self._taken_from(part, claim):
                    self._run_behind(claim)
            elif self._taken_from(part, claim):
                self._together.is_allowed = not part.is_alone
                try:
                    self._run_alone(claim, part.fault)
                finally:
                    self._together.is_allowed = True
                self._current = None

    def _first(self, part: _Part) -> Claim | None:
        with self._lock:
            return part.claims[0] if part.claims else None

    def _taken_from(self, part: _Part, claim: Claim) -> bool:
        """Take the first claim of a part to run it, unless another thread has taken it."""
        with self._lock:
            is_there = bool(part.claims) and part.claims[0] is claim
            if is_there:
                self._current = part.claims.popleft()
            return is_there
