"""One virtual environment for each peer, made with pip on first use."""

from __future__ import annotations

import glob
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / ".venvs" / "peers"

_VERSION = "import sys; print(*sys.version_info[:3])"
_VERSIONS = (
    "import json, importlib.metadata as m; "
    "print(json.dumps({d.name: d.version for d in m.distributions()}))"
)


def newest_python() -> str:
    """The newest CPython on this machine; all peers run on the same one.

    Looks on the PATH and where pyenv keeps its own. Oban needs 3.12 or newer.
    """
    found = {version(path): path for path in _candidates()}
    found.pop((), None)
    return found[max(found)] if found else sys.executable


def _candidates() -> Iterator[str]:
    for minor in range(11, 15):
        on_path = shutil.which(f"python3.{minor}")
        if on_path:
            yield on_path
    pyenv = os.environ.get("PYENV_ROOT") or os.path.expanduser("~/.pyenv")
    yield from glob.glob(f"{pyenv}/versions/3.1[1-4].*/bin/python3")
    yield sys.executable


def version(python: str) -> tuple[int, ...]:
    """Of an interpreter; empty if it can't be run."""
    done = subprocess.run([python, "-c", _VERSION], capture_output=True, text=True, check=False)
    return tuple(map(int, done.stdout.split())) if done.returncode == 0 else ()


def make(name: str, packages: Sequence[str], base: str) -> str:
    """The python of the environment `name`; made, or made anew, if it isn't as asked for."""
    folder = FOLDER / name
    stamp = folder / "made.json"
    wanted = {"python": base, "packages": list(packages)}
    python = str(folder / "bin" / "python")
    if stamp.exists() and json.loads(stamp.read_text()) == wanted:
        return python
    print(f"setting up {folder.relative_to(ROOT)} ...", flush=True)
    shutil.rmtree(folder, ignore_errors=True)
    subprocess.run([base, "-m", "venv", str(folder)], check=True)
    pip = [python, "-m", "pip", "--disable-pip-version-check", "-qq", "install"]
    subprocess.run([*pip, *packages], check=True)
    stamp.write_text(json.dumps(wanted))
    return python


def versions(python: str) -> dict[str, str]:
    """What is installed beside `python`, by name."""
    done = subprocess.run([python, "-c", _VERSIONS], capture_output=True, text=True, check=True)
    found: dict[str, str] = json.loads(done.stdout)
    return found
