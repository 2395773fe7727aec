"""Layers of plone.testing without zope.testrunner: set up, bases first, and torn down."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any


def in_order(layer: Any) -> list[Any]:
    """A layer after all that it stands on, each once."""
    found: list[Any] = []
    for base in layer.__bases__:
        found += [each for each in in_order(base) if each not in found]
    return [*found, layer]


@contextlib.contextmanager
def set_up(layer: Any) -> Iterator[Any]:
    """The layer, and what it stands on, is set up meanwhile."""
    with contextlib.ExitStack() as stack:
        for each in in_order(layer):
            each.setUp()
            stack.callback(each.tearDown)
        yield layer


@contextlib.contextmanager
def for_a_test(layer: Any) -> Iterator[Any]:
    """The layer is ready for one test meanwhile."""
    with contextlib.ExitStack() as stack:
        for each in in_order(layer):
            each.testSetUp()
            stack.callback(each.testTearDown)
        yield layer
