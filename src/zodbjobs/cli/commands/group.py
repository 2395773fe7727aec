"""The group of all commands."""

from __future__ import annotations

import os
import sys
from typing import Any

import click

from zodbjobs.cli.errors import errors_in_one_line


class Group(click.Group):
    """Reports errors in one line, and lists commands in their order."""

    def make_context(self, *args: Any, **kwargs: Any) -> click.Context:
        """Parse the command line."""
        with errors_in_one_line():
            return super().make_context(*args, **kwargs)

    def invoke(self, ctx: click.Context) -> Any:
        """Call the command."""
        # What is in the current directory can be imported, as with ``python -m``.
        sys.path.insert(0, os.getcwd())
        with errors_in_one_line():
            return super().invoke(ctx)

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The names of the commands."""
        return list(self.commands)
