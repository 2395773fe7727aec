"""The entry point. Loads click, rich and the rest only when they are there."""

from __future__ import annotations

import importlib.util
import logging
import sys

_NEEDED = ("click", "rich", "zodburi")


def main() -> None:
    """Run the command line; ends the process with its status."""
    if any(importlib.util.find_spec(name) is None for name in _NEEDED):
        sys.stderr.write(
            "zodbjobs: the command line needs click, rich and zodburi: "
            'pip install "zodbjobs[cli]"\n'
        )
        sys.exit(2)
    for stream in (sys.stdout, sys.stderr):
        # A terminal without Unicode shows the rest all the same.
        stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    # What the ZODB warns of while a file is opened isn't for people; `worker` logs more.
    logging.basicConfig(level=logging.ERROR, format="zodbjobs: %(message)s")
    from zodbjobs.cli.commands import cli

    cli(prog_name="zodbjobs")


if __name__ == "__main__":
    main()
