"""Which errors of a storage are waited out."""

from __future__ import annotations

import errno

import pytest
from ZEO.Exceptions import ServerException

from zodbjobs.runtime.storage import errors


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EFBIG, errno.EDQUOT])
def test_no_room_is_waited_out(number: int) -> None:
    assert errors.is_unavailable(OSError(number, "no room"))
    # What a ZEO client raises when its server has raised that.
    assert errors.is_unavailable(ServerException("builtins.OSError", (number, "no room")))


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.EACCES, "no right"),
        ServerException("builtins.OSError", (errno.EACCES, "no right")),
        ServerException("builtins.OSError", ()),
        ServerException("builtins.ValueError", (errno.ENOSPC,)),
    ],
)
def test_other_errors_are_not(error: Exception) -> None:
    assert not errors.is_unavailable(error)
