"""A receiver at its least: counts requests and answers 204.

python -m tests.benchmarks.hook_receiver
Prints its port; for each number on stdin it prints a line once so many have come in all.
"""

import asyncio
import sys

_ANSWER = b"HTTP/1.1 204 No Content\r\n\r\n"


class _Server:
    def __init__(self) -> None:
        self.n = 0
        self.more = asyncio.Event()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).lower()
                length = head.partition(b"content-length:")[2].partition(b"\r\n")[0]
                await reader.readexactly(int(length))
                writer.write(_ANSWER)
                self.n += 1
                self.more.set()
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    async def reach(self, wanted: int) -> None:
        while self.n < wanted:
            self.more.clear()
            await self.more.wait()


async def main() -> None:
    """Serve until stdin ends."""
    counting = _Server()
    server = await asyncio.start_server(counting.serve, "127.0.0.1", 0)
    sys.stdout.write(f"{server.sockets[0].getsockname()[1]}\n")
    sys.stdout.flush()
    while line := await asyncio.to_thread(sys.stdin.readline):
        await counting.reach(int(line))
        sys.stdout.write("reached\n")
        sys.stdout.flush()


if __name__ == "__main__":
    asyncio.run(main())
