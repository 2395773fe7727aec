"""Runs the Python blocks of a page in order: ``python run_page.py PAGE``.

They share a namespace and the current directory. A block that begins with ``# name.py`` or
``<!-- name.zcml -->`` is that file; tests in one are run. A block with prompts is a session,
whose output has to be what the page shows.
"""

from __future__ import annotations

import doctest
import os
import re
import sys
from pathlib import Path
from typing import Any

import pytest

_BLOCK = re.compile(r"^```(?:python|xml)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_FILE = re.compile(r"(?:# |<!-- )(\w+\.(?:py|zcml))(?: -->)?\n")
_FLAGS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE | doctest.FAIL_FAST


def run(page: Path) -> None:
    """Run all blocks; raises what they raise."""
    text = page.read_text(encoding="utf-8")
    namespace: dict[str, Any] = {"__name__": "page"}
    for block in _BLOCK.finditer(text):
        line = text.count("\n", 0, block.start(1))
        name = _FILE.match(block[1])
        if name:
            Path(name[1]).write_text(block[1], encoding="utf-8")
            if name[1].startswith("test_") and pytest.main(["-q", name[1]]):
                sys.exit(1)
        elif block[1].startswith(">>> "):
            _run_session(block[1], namespace, page, line)
        else:
            # Line ends make up for the text before, so that tracebacks show the right line.
            exec(compile("\n" * line + block[1], str(page), "exec"), namespace)


def _run_session(source: str, namespace: dict[str, Any], page: Path, line: int) -> None:
    session = doctest.DocTestParser().get_doctest(source, {}, page.name, str(page), line)
    session.globs = namespace
    if doctest.DocTestRunner(optionflags=_FLAGS).run(session, clear_globs=False).failed:
        sys.exit(1)


if __name__ == "__main__":
    sys.path.insert(0, os.getcwd())
    run(Path(sys.argv[1]))
