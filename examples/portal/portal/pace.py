"""How long a job takes for one student: so long that people see the bar move."""

from __future__ import annotations

import os
import time
from pathlib import Path

from zodbjobs import local

#: The environment variable with the seconds, or with the name of a file that has them, which may
#: be changed while a job runs.
VARIABLE = "PORTAL_PACE"

_DEFAULT = "0.01"

# Seconds between two looks at the file.
_LOOK = 0.05


def take_time():
    """Wait so long; a job that was cancelled meanwhile ends here."""
    begun = time.monotonic()
    while (left := begun + _seconds() - time.monotonic()) > 0:
        time.sleep(min(_LOOK, left))
        local.check()


def _seconds():
    said = os.environ.get(VARIABLE) or _DEFAULT
    return float(Path(said).read_text() if os.sep in said else said)
