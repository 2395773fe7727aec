"""The plugin for pytest: its fixture is there wherever zodbjobs is installed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest


@pytest.fixture
def zodbjobs_db() -> Iterator[Any]:
    """An open ZODB.DB in memory with queues and job container; what this thread puts is noted, for
    `zodbjobs.testing.assert_put`.

    A project that wants another database overrides it: it installs, and yields within
    `zodbjobs.testing.recorded_puts()`.
    """
    import ZODB  # here, for pytest loads this module in each run

    import zodbjobs

    db = ZODB.DB(None)
    zodbjobs.install(db)
    with zodbjobs.testing.recorded_puts():
        yield db
    db.close()
