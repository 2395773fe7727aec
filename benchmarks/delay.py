"""A far-away server: delay.py PORT MILLISECONDS passes on to that port of this machine, each way
half of that later. Says on which port it listens; ends with its input.
"""

from __future__ import annotations

import asyncio
import sys


async def main(port: int, seconds: float) -> None:
    """Serve until the input ends."""
    loop = asyncio.get_running_loop()

    async def pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(1 << 20):
            loop.call_later(seconds, writer.write, data)  # the same for all, so in order
        loop.call_later(seconds, writer.close)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", port)
        await asyncio.gather(pass_on(reader, far_writer), pass_on(far_reader, writer))

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await loop.run_in_executor(None, sys.stdin.read)


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), float(sys.argv[2]) / 2_000))
