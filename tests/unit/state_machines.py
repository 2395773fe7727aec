"""Runs a state machine of hypothesis on a storage."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test
from storages import MAKERS


def run(machine: Any, storage: str, examples: int, steps: int) -> None:
    """Try so many examples of so many steps each; `machine` finds the storage's `maker`."""
    made: Any = type(machine.__name__, (machine,), {"maker": staticmethod(MAKERS[storage])})
    quick = settings(
        max_examples=examples,
        stateful_step_count=steps,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
    )
    with _quiet():
        run_state_machine_as_test(made, settings=quick)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """There are many examples; their logs are of no use."""
    log = logging.getLogger("zodbjobs")
    log.setLevel(logging.CRITICAL + 1)
    try:
        yield
    finally:
        log.setLevel(logging.NOTSET)
