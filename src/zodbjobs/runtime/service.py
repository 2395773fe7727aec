"""What a service manager is told of a worker: that it works, that it goes on, that it stops.

systemd's protocol is lines of text in datagrams to the socket of the variable NOTIFY_SOCKET. The
supervisor of several workers speaks it with each of them, over a pipe, and for them with systemd.
"""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Callable
from typing import TypeVar

from zodbjobs.runtime.periodic import Interval
from zodbjobs.runtime.storage import errors

READY = "READY=1"
STOPPING = "STOPPING=1"
ALIVE = "WATCHDOG=1"

_Result = TypeVar("_Result")


class Service:
    """Tells a service manager of one worker, in lines that `send` takes.

    `watchdog_seconds`: the manager takes it for stuck if it isn't told for so long that the
    worker goes on; None if it doesn't ask for that. Called in the dispatcher's thread, but for
    `stopping`.
    """

    def __init__(self, send: Callable[[str], object], watchdog_seconds: float | None) -> None:
        self._send = send
        self.watchdog_seconds = watchdog_seconds
        self._is_waiting = False
        self._status = ""
        # Twice in the time that it has, as systemd advises.
        self._next = Interval(watchdog_seconds / 2, at_once=True) if watchdog_seconds else None

    def works(self, status: str) -> None:
        """The worker is registered and claims; `status` is a sentence for people."""
        self._status = status
        self._is_waiting = False
        self._send(f"{READY}\nSTATUS={status}")

    def tell(self, status: str) -> None:
        """Another sentence for people."""
        self._status = status
        self._send(f"STATUS={status}")

    def goes_on(self) -> None:
        """The dispatcher has made a step, or has seen that there is nothing to do."""
        if self._is_waiting:
            self._is_waiting = False
            self._send(f"STATUS={self._status}")
        self._alive()

    def waits(self, error: BaseException) -> None:
        """The storage is unavailable, and is waited for. That is no reason to end the process:
        what runs may go on, and another process would wait as well.
        """
        if not self._is_waiting:
            self._is_waiting = True
            self._send(f"STATUS=waits for the storage: {' '.join(str(error).split())}")
        self._alive()

    def stops(self) -> None:
        """The worker claims nothing more, and lets what runs end."""
        self._send(f"{STOPPING}\nSTATUS=stops as soon as the running jobs have ended")

    def watch(self, step: Callable[[], _Result]) -> Callable[[], _Result]:
        """`step` as it is, but what comes of it is told. What it raises for any other reason than
        an unavailable storage is no sign of life, however often it is tried again.
        """

        def watched() -> _Result:
            try:
                result = step()
            except Exception as error:
                if errors.is_unavailable(error):
                    self.waits(error)
                raise
            self.goes_on()
            return result

        return watched

    def _alive(self) -> None:
        if self._next is not None and self._next.is_due():
            self._next.done()
            self._send(ALIVE)


def of_systemd() -> Service | None:
    """systemd, or what speaks its protocol, if it has started this process and wants to know."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if address[:1] not in ("/", "@"):
        return None
    return Service(Datagrams(address).send, _watchdog_seconds())


def _watchdog_seconds() -> float | None:
    """How often this process is asked for a sign of life; None if it isn't."""
    if os.environ.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid()):
        return None
    text = os.environ.get("WATCHDOG_USEC", "")
    return int(text) / 1_000_000 if text.isdecimal() and int(text) else None


class Datagrams:
    """Sends texts to a socket of systemd: a path, or a name in the abstract namespace after @."""

    def __init__(self, address: str) -> None:
        self._address = f"\0{address[1:]}" if address.startswith("@") else address

    def send(self, text: str) -> None:
        """Send a datagram; one that can't be sent is lost, for the jobs come first."""
        with (
            contextlib.suppress(OSError),
            socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender,
        ):
            sender.setblocking(False)
            sender.sendto(_encoded(text), self._address)


class Lines:
    """Writes texts, each in lines, into a pipe; what doesn't fit, as nobody reads it, is lost."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        os.set_inheritable(descriptor, False)
        os.set_blocking(descriptor, False)

    def send(self, text: str) -> None:
        """Write the lines at once."""
        with contextlib.suppress(OSError):
            os.write(self._descriptor, _encoded(f"{text}\n"))


def _encoded(text: str) -> bytes:
    """As UTF-8, whatever it is: the name of a file in an error needn't be Unicode."""
    return text.encode(errors="replace")
