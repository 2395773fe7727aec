"""Tells whether a module could be imported in this process, and imports none."""

from __future__ import annotations

import keyword
import sys
from collections.abc import Iterable
from importlib.machinery import ModuleSpec, PathFinder


def why_missing(name: str) -> str | None:
    """Why the module of ``"module:name"`` can't be imported here; None if it can.

    `importlib.util.find_spec` would import the packages that it is in.
    """
    module = name.partition(":")[0]
    for word in module.split("."):
        if keyword.iskeyword(word):
            return f"no module {module} can be imported, as {word} is a keyword; rename it"
    if _is_here(module.split(".")):
        return None
    return f"the module {module} isn't here; install it, or take the one that replaces it"


def _is_here(words: list[str]) -> bool:
    specs = [spec for finder in sys.meta_path if (spec := finder.find_spec(words[0], None))]
    specs += _found(words[0], sys.path)
    for word in words[1:]:
        # All of them, for a namespace may be spread over several folders.
        specs = _found(word, (path for spec in specs for path in _paths(spec)))
    return any(spec.loader is not None for spec in specs)


def _found(word: str, paths: Iterable[str]) -> list[ModuleSpec]:
    return [spec for path in paths if (spec := PathFinder.find_spec(word, [path]))]


def _paths(spec: ModuleSpec) -> list[str]:
    return list(spec.submodule_search_locations or ())
