"""A TCP proxy between workers and their server that can be a bad network."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable, Coroutine
from typing import Any


class Proxy:
    """Listens on a port of this machine, and passes on to the unix socket `target()`."""

    def __init__(self, target: Callable[[], str]) -> None:
        self._target = target
        self._loop = asyncio.new_event_loop()
        self._writers: set[asyncio.StreamWriter] = set()
        self._may_ask = asyncio.Event()
        self._may_answer = asyncio.Event()
        self._may_ask.set()
        self._may_answer.set()
        self._thread = threading.Thread(target=self._loop.run_forever, name="proxy", daemon=True)
        self._thread.start()
        self._server = self._do(asyncio.start_server(self._serve, "127.0.0.1", 0))
        self.port: int = self._server.sockets[0].getsockname()[1]

    def cut(self) -> None:
        """Drop all connections, and what is on its way in them."""
        self._do(self._cut())

    def hold(self) -> None:
        """Pass on nothing, and tell nobody, until `let_go`."""
        self._loop.call_soon_threadsafe(self._may_ask.clear)
        self.hold_answers()

    def hold_answers(self) -> None:
        """Pass on requests only."""
        self._loop.call_soon_threadsafe(self._may_answer.clear)

    def let_go(self) -> None:
        """Pass on again."""
        self._loop.call_soon_threadsafe(self._may_ask.set)
        self._loop.call_soon_threadsafe(self._may_answer.set)

    def close(self) -> None:
        """Stop listening and drop all."""
        self._do(self._close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _do(self, work: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(30)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        try:
            far_reader, far_writer = await asyncio.open_unix_connection(self._target())
        except OSError:
            self._drop(writer)
            return
        self._writers.add(far_writer)
        await asyncio.gather(
            self._pass_on(reader, far_writer, self._may_ask),
            self._pass_on(far_reader, writer, self._may_answer),
        )
        self._drop(writer)
        self._drop(far_writer)

    async def _pass_on(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, may: asyncio.Event
    ) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(1 << 16):
                await may.wait()
                writer.write(data)
                await writer.drain()
        self._drop(writer)

    def _drop(self, writer: asyncio.StreamWriter) -> None:
        if writer in self._writers:
            self._writers.discard(writer)
            writer.transport.abort()

    async def _cut(self) -> None:
        for writer in list(self._writers):
            self._drop(writer)

    async def _close(self) -> None:
        self._server.close()
        self._may_ask.set()
        self._may_answer.set()
        await self._cut()
        for task in asyncio.all_tasks() - {asyncio.current_task()}:
            await asyncio.wait([task], timeout=5)
