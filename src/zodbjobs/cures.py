"""Cures: what to do where a worker lacks what a job was put with, by the home that put it."""

from __future__ import annotations

_OF_MISSING = {
    "zope": "it needs a worker started with --zope-conf",
    "pyramid": "it needs a worker started with --paste",
}


def of_missing(name: str) -> str:
    """What a job needs for which a run context or a kind of reference is missing."""
    return _OF_MISSING.get(name, "import in the worker what registers it")
