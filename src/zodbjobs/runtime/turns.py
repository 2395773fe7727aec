"""Turns: an attempt begins in the turn that it has by the rates of its job's quotas, or takes
another one.
"""

from __future__ import annotations

from zodbjobs import clock
from zodbjobs.runtime import transactions
from zodbjobs.runtime.thread_session import ThreadSession
from zodbjobs.stored.lifecycle.claim import Claim
from zodbjobs.stored.lifecycle.rates import Turn

#: In which an attempt has begun: the next one takes another turn.
USED = Turn(-1, -1)


def is_over(turn: Turn) -> bool:
    """Whether nothing may begin in `turn` any more."""
    return clock.now() > turn.until


def usable(thread_session: ThreadSession, claim: Claim, turn: Turn) -> Turn | None:
    """A turn in which the job may begin now: `turn`, or another one in place of it; None if it has
    to wait for that. Commits what it takes.

    A turn that was missed is moved. Others that wait have no harm of that, and a job that is
    always late would never begin otherwise.
    """
    quotas = thread_session.session.queue_of(claim).quotas

    def take() -> Turn | None:
        if turn == USED:
            return quotas.another_turn(claim.names)
        return quotas.move_turn(claim.names, turn.at)

    found: Turn | None = turn
    while found is not None and is_over(found):
        thread_session.begin()  # what is left of the last one isn't used on
        found = transactions.run(thread_session.manager, take)
    return found
