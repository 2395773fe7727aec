"""The wheel, in an empty environment."""

from __future__ import annotations

import os
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest

pytestmark = pytest.mark.process

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    # The build back end is among what the tests install, so nothing is fetched for it.
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", folder]
    subprocess.run([*map(str, command), str(ROOT)], check=True, capture_output=True)
    (made,) = folder.glob("*.whl")
    return made


def test_what_is_in_it(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    for name in ("py.typed", "configure.zcml", "single.zcml", "multidb.zcml", "worker.zcml"):
        assert f"zodbjobs/{name}" in names
    assert "zodbjobs/grok/configure.zcml" in names
    metadata = zipfile.ZipFile(wheel).read("zodbjobs-0.1.0.dist-info/METADATA").decode()
    assert "License-Expression: ZPL-2.1" in metadata
    assert "zodbjobs-0.1.0.dist-info/licenses/LICENSE.txt" in names
    kinds = (".py", ".pt", ".css", ".js", ".svg", ".mo", ".po")
    sources = {
        str(path.relative_to(ROOT / "src"))
        for path in (ROOT / "src").rglob("*.*")
        if path.suffix in kinds
    }
    assert sources <= names
    assert not [name for name in names if name.startswith(("tests", "stubs", "benchmarks"))]


@pytest.mark.timeout(300)
def test_it_works_in_an_empty_environment(wheel: Path, tmp_path: Path) -> None:
    venv.create(tmp_path / "env")
    python = str(tmp_path / "env" / "bin" / "python")

    def run(*command: str) -> subprocess.CompletedProcess[str]:
        clean = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
        return subprocess.run(
            [python, *command], capture_output=True, text=True, cwd=tmp_path, env=clean
        )

    # By the pip of here, and what isn't imported need not be compiled: that takes seconds.
    pip = [sys.executable, "-m", "pip", "--python", python, "--disable-pip-version-check"]
    installed = subprocess.run(
        [*pip, "install", "--quiet", "--no-compile", str(wheel)], capture_output=True, text=True
    )
    assert installed.returncode == 0, installed.stderr
    (tmp_path / "app.py").write_text(
        "import ZODB, transaction, zodbjobs\n"
        "db = ZODB.DB(None)\n"
        "zodbjobs.install(db)\n"
        "queue = zodbjobs.get_queue(db.open())\n"
        "job = queue.put(zodbjobs.Job(max, 1, 2))\n"
        "transaction.commit()\n"
        "with zodbjobs.Worker(db, threads=4):\n"
        "    zodbjobs.testing.wait_for(job, timeout=10)\n"
        "print(job.outcome, job.result)\n"
    )
    assert run("app.py").stdout == "succeeded 2\n"
    without_extra = run("-m", "zodbjobs.cli.main", "jobs", "x")
    assert without_extra.returncode == 2
    assert without_extra.stderr.count("\n") == 1
    assert 'pip install "zodbjobs[cli]"' in without_extra.stderr
