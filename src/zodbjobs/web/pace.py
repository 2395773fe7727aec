"""How often a page that is open is asked for again, by what it costs."""

from __future__ import annotations

from zodbjobs.web import sentences

# A page that takes so many seconds is asked for again after so many times as long: an open page
# takes 5 % of a core at most.
_COST = 20

# The longest of the steps, so that the same page mostly has the same pace.
_STEPS = (sentences.RUNNING, sentences.WAITING, sentences.RESTING, 60)


def paced(wanted: int, cost: float) -> int:
    """Seconds until the next look: `wanted`, or more if the page has taken `cost` seconds."""
    least = max(wanted, cost * _COST)
    return next((step for step in _STEPS if step >= least), _STEPS[-1])
