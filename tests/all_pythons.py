"""Runs the suite on other Pythons: ``make test-all``, or with the oldest dependencies allowed:
``make test-floors``, which installs each extra alone too.

Each has a virtual environment of its own in .venvs.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import extras

ROOT = Path(__file__).parents[1]
ENVIRONMENTS = ROOT / ".venvs"
VERSIONS = ["3.11", "3.12", "3.13"]

#: The versions of the oldest dependencies, and the Pythons that these work with.
FLOORS = ROOT / "constraints" / "plone-6.0.txt"
FLOOR_VERSIONS = ["3.11", "3.12"]


def find(version: str) -> str | None:
    """The path of a Python of that version, or None."""
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    candidates = [shutil.which(f"python{version}"), *sorted(pyenv.glob(f"{version}.*/bin/python"))]
    for candidate in candidates:
        if candidate is None:
            continue
        code = "import sys; print('%d.%d' % sys.version_info[:2])"
        done = subprocess.run([candidate, "-c", code], capture_output=True, text=True)
        if done.stdout.strip() == version:
            return str(candidate)
    return None


def run(python: str, place: Path, constraints: Path | None = None) -> bool:
    """Install and run the tests; whether they passed."""
    own = str(place / "bin" / "python")
    if not (place / "bin" / "python").exists():
        subprocess.run([python, "-m", "venv", str(place)], check=True)
    install = [own, "-m", "pip", "--disable-pip-version-check", "--quiet", "install"]
    limits = [] if constraints is None else ["--constraint", str(constraints)]
    subprocess.run([*install, *limits, "--editable", ".[test]"], cwd=ROOT, check=True)
    done = subprocess.run([own, "-m", "pytest", "-n", "2", "-q"], cwd=ROOT)
    return done.returncode == 0


def run_on_each(versions: Sequence[str]) -> dict[str, str]:
    """The suite on each of these Pythons that is installed, with the newest dependencies."""
    results: dict[str, str] = {}
    for version in versions:
        python = find(version)
        if python is None:
            results[version] = "not installed"
        else:
            results[version] = _word(run(python, ENVIRONMENTS / f"test-{version}"))
    return results


def run_floors(versions: Sequence[str], if_there: bool) -> dict[str, str]:
    """Each extra and the suite on the first of these Pythons that is installed, with the
    oldest dependencies. `if_there`: it is no failure if none is.
    """
    found = ((version, find(version)) for version in versions)
    version, python = next(((v, p) for v, p in found if p is not None), ("", ""))
    if not python:
        word = "not run" if if_there else "FAILED"
        return {"floors": f"{word}: needs Python {' or '.join(versions)}"}
    results: dict[str, str] = {}
    for extra in extras.extras():
        place = ENVIRONMENTS / f"extra-{extra or 'none'}"
        results[f"[{extra}]"] = _word(extras.installs(python, place, extra, FLOORS))
    results[f"floors on {version}"] = _word(
        run(python, ENVIRONMENTS / f"floors-{version}", FLOORS)
    )
    return results


def _word(passed: bool) -> str:
    return "passed" if passed else "FAILED"


def main() -> int:
    """Run what is asked for; the status is 1 if something failed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--floors", action="store_true", help="with the oldest dependencies")
    parser.add_argument("--if-there", action="store_true", help="skip it without such a Python")
    parser.add_argument("versions", nargs="*")
    options = parser.parse_args()
    if options.floors:
        results = run_floors(options.versions or FLOOR_VERSIONS, options.if_there)
    else:
        results = run_on_each(options.versions or VERSIONS)
    for name, result in results.items():
        print(f"{name:>15}  {result}")
    return 1 if any(result.startswith("FAILED") for result in results.values()) else 0


if __name__ == "__main__":
    sys.exit(main())
