"""Who puts where."""

from __future__ import annotations

import subprocess
import sys

import pytest

FORKS = """
import os
from zodbjobs.stored.lifecycle.delivery import _producer

for _ in range(3):
    print(_producer.number, flush=True)
    if os.fork():
        os.wait()
        break
"""


@pytest.mark.process
def test_a_forked_producer_draws_for_itself() -> None:
    command = [sys.executable, "-c", FORKS]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    numbers = done.stdout.split()
    assert len(numbers) == 3
    assert len(set(numbers)) == 3
