"""Layers of plone.testing for pytest."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from plone.app.testing import FunctionalTesting, PloneSandboxLayer

from zodbjobs.plone.testing import JOBS_FIXTURE


class Layer(PloneSandboxLayer):
    """The views of the tests, and a workflow."""

    defaultBases = (JOBS_FIXTURE,)

    def setUpZope(self, app: Any, configurationContext: Any) -> None:
        self.loadZCML(
            name=str(Path(__file__).with_name("plone_jobs.zcml")), context=configurationContext
        )

    def setUpPloneSite(self, portal: Any) -> None:
        portal.portal_workflow.setDefaultChain("simple_publication_workflow")


FUNCTIONAL = FunctionalTesting(bases=(Layer(),), name="Tests:Functional")


def with_bases(layer: Any) -> list[Any]:
    """A layer after all that it stands on, each once."""
    found: list[Any] = []
    for base in layer.__bases__:
        found += [each for each in with_bases(base) if each not in found]
    return [*found, layer]


@contextlib.contextmanager
def set_up(layer: Any) -> Iterator[Any]:
    """A layer while it is set up."""
    with contextlib.ExitStack() as stack:
        for each in with_bases(layer):
            each.setUp()
            stack.callback(each.tearDown)
        yield layer


@contextlib.contextmanager
def test_of(layer: Any) -> Iterator[Any]:
    """The same for a test."""
    with contextlib.ExitStack() as stack:
        for each in with_bases(layer):
            each.testSetUp()
            stack.callback(each.testTearDown)
        yield layer
