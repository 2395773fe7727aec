"""Play the scenarios in their full form: run.py [SCENARIO...]; exits 1 if anything is wrong."""

from __future__ import annotations

import logging
import shutil
import sys
import tempfile
import warnings
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from chaos.plays import PLAYS, Play
from chaos.table import Row, show_head


def play(one: Play) -> Row:
    """Play one, and show what came of it."""
    folder = Path(tempfile.mkdtemp(prefix="chaos-"))
    row = one.play(folder, one.full)
    row.show()
    if row.faults:
        print(f"    logs: {folder}", flush=True)
    else:
        shutil.rmtree(folder)
    return row


def main(names: list[str]) -> int:
    """Play all, or those that are named."""
    known = {one.scenario for one in PLAYS}
    if set(names) - known:
        print(f"there are: {', '.join(sorted(known))}")
        return 2
    warnings.simplefilter("ignore")
    logging.disable()  # the onlooker's; those of the workers are in files
    show_head()
    rows = [play(one) for one in PLAYS if not names or one.scenario in names]
    wrong = sum(1 for row in rows if row.faults)
    print(f"\n{len(rows)} played, {wrong} wrong")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
