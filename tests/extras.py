"""Installs the package with each extra alone, and imports what the extra is for.

Of ``make test-floors``, not of the suite: it needs the package index, and minutes.
"""

from __future__ import annotations

import subprocess
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[1]

#: What can be imported with an extra, packages with all that is in them; "" is none.
IMPORTABLE = {
    "": [
        *("zodbjobs.stored", "zodbjobs.runtime", "zodbjobs.insights"),
        *("zodbjobs.testing", "zodbjobs.web_worker"),
    ],
    "cli": ["zodbjobs.cli"],
    "grok": ["zodbjobs.grok"],
    "load": ["psutil", "zodbjobs.load_guard"],
    "metrics": ["zodbjobs.metrics"],
    "otel": ["zodbjobs.otel"],
    "plone": ["zodbjobs.cli", "zodbjobs.web"],  # zodbjobs.plone is tried in tests/homes
    "portal": ["zodbjobs.grok", "reportlab.platypus"],
    "web": ["zodbjobs.web"],
    "zope": ["Zope2", "zodbjobs.cli.zope_conf", "zodbjobs.zope"],
    "pyramid": ["zodbjobs.pyramid", "plaster_pastedeploy"],
    "postgresql": ["psycopg2", "relstorage.storage", "relstorage.adapters.postgresql"],
}

_IMPORT = """
import importlib, pkgutil, sys
for name in sys.argv[1:]:
    path = getattr(importlib.import_module(name), "__path__", ())
    if name.startswith("zodbjobs"):
        for found in pkgutil.walk_packages(path, name + "."):
            importlib.import_module(found.name)
"""


def extras() -> list[str]:
    """Those of pyproject.toml that aren't for the tests, and "" for none."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    return ["", *(name for name in project["optional-dependencies"] if name != "test")]


def installs(python: str, place: Path, extra: str, constraints: Path) -> bool:
    """Install into a new environment at `place`, import; whether that went well.

    Nothing may be installed that the constraints don't name.
    """
    subprocess.run([python, "-m", "venv", "--clear", str(place)], check=True)
    own = str(place / "bin" / "python")
    pip = [own, "-m", "pip", "--disable-pip-version-check", "--quiet"]
    wanted = f"{ROOT}[{extra}]" if extra else str(ROOT)
    steps = [
        [*pip, "install", "--constraint", str(constraints), wanted],
        [*pip, "check"],
        [own, "-c", _IMPORT, *IMPORTABLE[extra]],
    ]
    return all(subprocess.run(step, cwd=place).returncode == 0 for step in steps) and (
        _all_named(pip, constraints)
    )


def _all_named(pip: list[str], constraints: Path) -> bool:
    freeze = [*pip, "freeze", "--exclude", "zodbjobs"]
    installed = subprocess.run(freeze, check=True, capture_output=True, text=True).stdout
    missing = {_plain(line) for line in installed.splitlines()} - {
        _plain(line) for line in constraints.read_text().splitlines() if line[:1] != "#"
    }
    if missing:
        print(f"add to {constraints.name}: {', '.join(sorted(missing))}")
    return not missing


def _plain(line: str) -> str:
    """A pin with the name as package indexes write it."""
    name, _, version = line.partition("==")
    return f"{name.lower().replace('_', '-').replace('.', '-')}=={version}"
