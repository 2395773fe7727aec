"""What the code of a worker declares, as ``--schedules declared:SCHEDULES``."""

from __future__ import annotations

import sample

from zodbjobs import Schedule

SCHEDULES = [Schedule("nightly", "30 2 * * *", sample.nothing, zone="Europe/Berlin")]
