"""Runs the tests of each home in an environment of its own: ``make test-homes``.

A home is a file of frozen pins, NAME.txt, beside this one. The tests of the home `zope-6` are
those of test_zope*.py, and so on. Environments are in .venvs; they are made anew if the pins
have changed. Homes are tested side by side, as their tests mostly wait for servers; what the tests
of one have said is shown when they have ended.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import IO

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
sys.path.insert(0, str(HERE.parent))

from all_pythons import ENVIRONMENTS, find  # noqa: E402

#: The Pythons that the pins are for, the first that is installed is taken.
VERSIONS = ["3.11", "3.12"]

#: Seconds after which the tests of a home are taken to hang.
SECONDS = 900.0

#: How many homes are tested at a time, if nothing else is said.
AT_ONCE = 2


def homes() -> list[str]:
    """The names of all homes."""
    return sorted(path.stem for path in HERE.glob("*.txt"))


def environment(python: str, name: str) -> Path:
    """The Python of the home's environment, which is made if it isn't there."""
    place = ENVIRONMENTS / f"home-{name}"
    own = place / "bin" / "python"
    pins = (HERE / f"{name}.txt").read_text()
    made = place / "pins.txt"
    if made.is_file() and made.read_text() == pins:
        return own
    subprocess.run([python, "-m", "venv", "--clear", str(place)], check=True)
    pip = [str(own), "-m", "pip", "--disable-pip-version-check", "--quiet", "install"]
    # Everything is named there, so nothing is left to choose.
    subprocess.run([*pip, "--no-deps", "--requirement", str(HERE / f"{name}.txt")], check=True)
    subprocess.run([*pip, "--no-deps", "--editable", str(ROOT)], check=True)
    made.write_text(pins)
    return own


def run(own: Path, name: str) -> tuple[str, str]:
    """Run the tests of a home; returns "passed", or what went wrong, and what they have said."""
    tests = sorted(map(str, HERE.glob(f"test_{name.partition('-')[0]}*.py")))
    if not tests:
        return "FAILED: there are no tests", ""
    # A file, as a pipe would be kept open by a server that outlives the tests.
    with tempfile.TemporaryFile("w+") as said:
        result = _pytest([str(own), "-m", "pytest", *tests], name, said)
        said.seek(0)
        return result, said.read()


def _pytest(command: list[str], name: str, said: IO[str]) -> str:
    # A group of its own, so that no server of a test outlives what took too long.
    with subprocess.Popen(
        command,
        cwd=ROOT,
        env={**os.environ, "ZODBJOBS_HOME": name},
        stdout=said,
        stderr=subprocess.STDOUT,
        process_group=0,
    ) as pytest:
        try:
            return "FAILED" if pytest.wait(SECONDS) else "passed"
        except subprocess.TimeoutExpired:
            return f"FAILED: it took more than {SECONDS:.0f} s"
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(pytest.pid, signal.SIGKILL)


def run_one(own: Path | None, name: str) -> str:
    """How it went in a home; tells what its tests have said."""
    if own is None:
        return "FAILED: there is no environment; see above what pip said"
    started = time.monotonic()
    result, said = run(own, name)
    result += f" in {time.monotonic() - started:.0f} s"
    print(f"== {name} {result}\n{said}", flush=True)
    return result


def environments(python: str, names: Sequence[str]) -> list[Path | None]:
    """The Pythons of homes; None of one that can't be made."""
    made: list[Path | None] = []
    for name in names:
        try:
            made.append(environment(python, name))
        except subprocess.CalledProcessError as error:
            print(f"{name}: {' '.join(error.cmd[:4])} ... failed", file=sys.stderr)
            made.append(None)
    return made


def run_each(names: Sequence[str], at_once: int) -> dict[str, str]:
    """How it went in each home."""
    python = next((found for found in map(find, VERSIONS) if found), None)
    if python is None:
        return {"homes": f"not run: needs Python {' or '.join(VERSIONS)}"}
    pythons = environments(python, names)
    with ThreadPoolExecutor(at_once) as threads:
        return dict(zip(names, threads.map(run_one, pythons, names), strict=True))


def main() -> int:
    """Run what is asked for; the status is 1 if something failed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help="these homes alone")
    parser.add_argument("--at-once", type=int, default=AT_ONCE, help="how many homes at a time")
    options = parser.parse_args()
    names = options.names
    if unknown := set(names) - set(homes()):
        parser.error(f"there are no pins of {', '.join(unknown)}; there are {', '.join(homes())}")
    if names:
        os.environ["ZODBJOBS_HOME_IN_FULL"] = "yes"  # no home spares time for the others
    results = run_each(names or homes(), options.at_once)
    for name, result in results.items():
        print(f"{name:>15}  {result}")
    return 1 if any(result.startswith("FAILED") for result in results.values()) else 0


if __name__ == "__main__":
    sys.exit(main())
