"""``python -m portal``: starts the portal."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from portal import pace


def main():
    """Do what the command line says."""
    said = _parser().parse_args()
    if said.pace is not None:
        os.environ[pace.VARIABLE] = said.pace
    from portal import processes  # what it imports reads the environment

    address = processes.parsed(said.zeo_at) if said.zeo_at else None
    folder = Path(said.folder)
    if said.what == "web":
        processes.run_web(folder, said.port, address)
    elif said.what == "worker":
        sys.exit(processes.run_worker(folder, address))
    elif said.what == "setup":
        processes.set_up(folder, address)
    elif said.zeo:
        processes.run_apart(folder, said.port)
    else:
        processes.run_in_one(folder, said.port)


def _parser():
    parser = argparse.ArgumentParser("portal", description=__doc__)
    parser.add_argument(
        "what", nargs="?", choices=["all", "setup", "web", "worker"], default="all",
        help="only that, with the server at --zeo-at; by default everything",
    )  # fmt: skip
    parser.add_argument("--folder", default="var", help="where the database is, or is made")
    parser.add_argument("--port", type=int, default=8080, help="where the web listens")
    parser.add_argument("--zeo", action="store_true", help="with a ZEO server and a worker apart")
    parser.add_argument("--zeo-at", metavar="HOST:PORT", help="use this ZEO server")
    parser.add_argument("--pace", help="seconds that a job takes for a student (0.01)")
    return parser


if __name__ == "__main__":
    main()
