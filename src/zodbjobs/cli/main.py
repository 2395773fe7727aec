"""The entry point. Loads click, rich and the rest only when they are there."""

from __future__ import annotations

import importlib.util
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
    from zodbjobs.cli.commands import cli

    cli(prog_name="zodbjobs")


if __name__ == "__main__":
    main()
