"""The style, the script and the icon that all pages share, with a version in their URLs."""

from __future__ import annotations

import functools
import hashlib
from pathlib import Path
from typing import NamedTuple

_FOLDER = Path(__file__).parent / "static"

_KINDS = {".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}


class StaticFile(NamedTuple):
    """A file, its content type, and a text that changes with it."""

    body: bytes
    kind: str
    version: str


@functools.cache
def static_files() -> dict[str, StaticFile]:
    """All of them by name; read once."""
    found = {}
    for path in sorted(_FOLDER.iterdir()):
        if path.suffix in _KINDS:
            body = path.read_bytes()
            version = hashlib.sha256(body).hexdigest()[:12]
            found[path.name] = StaticFile(body, _KINDS[path.suffix], version)
    return found


@functools.cache
def version() -> str:
    """A text that changes with all that pages are made of, beside what they show."""
    made_of = hashlib.sha256()
    for folder in ("static", "templates", "locales"):
        for path in sorted((_FOLDER.parent / folder).rglob("*.*")):
            made_of.update(path.read_bytes())
    return made_of.hexdigest()
