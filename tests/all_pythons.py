"""Runs the suite on other Pythons: ``make test-all``, or with the oldest dependencies allowed:
``make test-floors``.

Each has a virtual environment of its own in .venvs.
"""

from __future__ import annotations

import argparse
import itertools
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[1]
VERSIONS = ["3.11", "3.12", "3.13"]


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


def floors() -> str:
    """Constraints with the oldest version of each dependency that pyproject.toml allows.

    Not of the tools that only the tests need.
    """
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    needed = itertools.chain(
        project["dependencies"], *(extras[name] for name in extras if name != "test")
    )
    found = (re.fullmatch(r"([A-Za-z0-9._-]+)>=([0-9.]+)", one) for one in needed)
    return "".join(f"{match[1]}=={match[2]}\n" for match in found if match)


def run(python: str, name: str, constraints: str = "") -> bool:
    """Install and run the tests; whether they passed."""
    place = ROOT / ".venvs" / name
    own = str(place / "bin" / "python")
    if not (place / "bin" / "python").exists():
        subprocess.run([python, "-m", "venv", str(place)], check=True)
    limits = place / "constraints.txt"
    limits.write_text(constraints)
    install = [own, "-m", "pip", "--disable-pip-version-check", "--quiet", "install"]
    subprocess.run([*install, "-c", str(limits), "--editable", ".[test]"], cwd=ROOT, check=True)
    done = subprocess.run([own, "-m", "pytest", "-n", "2", "-q"], cwd=ROOT)
    return done.returncode == 0


def main() -> int:
    """Run what is asked for; the status is 1 if something failed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--floors", action="store_true", help="with the oldest dependencies")
    parser.add_argument("versions", nargs="*", default=VERSIONS)
    options = parser.parse_args()
    results: dict[str, str] = {}
    if options.floors:
        results["floors"] = "passed" if run(sys.executable, "floors", floors()) else "FAILED"
    else:
        for version in options.versions:
            python = find(version)
            if python is None:
                results[version] = "not installed"
            else:
                results[version] = "passed" if run(python, f"test-{version}") else "FAILED"
    for name, result in results.items():
        print(f"{name:>8}  {result}")
    return 1 if "FAILED" in results.values() else 0


if __name__ == "__main__":
    sys.exit(main())
