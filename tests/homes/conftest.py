"""Tests in the applications that zodbjobs is at home in: `make test-homes`.

Each home has an environment of its own, and so the suite leaves this folder out.
"""

from __future__ import annotations

import os

#: The environment variable with the name of the home, that of its pins.
HOME_VARIABLE = "ZODBJOBS_HOME"

if not os.environ.get(HOME_VARIABLE):
    collect_ignore_glob = ["*"]
