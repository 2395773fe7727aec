"""How errors, logs and notes speak of a queue; the default one has an empty name."""

from __future__ import annotations


def spoken(name: str) -> str:
    """A queue by its name: "queue 'mail'", or "the default queue"."""
    return f"queue {name!r}" if name else "the default queue"
