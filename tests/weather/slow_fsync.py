"""Compiles the library that makes fsync slow, for processes that are started with it."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

#: Milliseconds that each fsync takes longer: a disk that turns, or one on a network.
MILLIS = 20

_SOURCE = Path(__file__).with_suffix(".c")


class NoCompiler(Exception):
    """There is no C compiler."""


def compiled(folder: Path) -> Path:
    """The library, made in `folder`; to be named in LD_PRELOAD.

    Raises NoCompiler, and CalledProcessError if the compiler refuses the source.
    """
    compiler = shutil.which("cc")
    if compiler is None:
        raise NoCompiler("a slow disk needs a C compiler: install one, so that there is `cc`")
    library = folder / "slow_fsync.so"
    options = ["-O2", "-Wall", "-Werror", "-shared", "-fPIC", f"-DFSYNC_MILLIS={MILLIS}"]
    subprocess.run([compiler, *options, "-o", library, _SOURCE, "-ldl"], check=True)
    return library
