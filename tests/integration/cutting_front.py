"""A front before an api that cuts connections, each after so many bytes of what it answers."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from urllib.parse import urlsplit


class CuttingFront:
    """Passes bytes on; the n-th connection is cut behind the n-th allowance, None: never.

    What an answer has beyond its allowance is swallowed: it was given, and nobody got it.
    """

    def __init__(self, url: str, allowances: Iterator[int | None]) -> None:
        self._port = urlsplit(url).port
        self._allowances = allowances
        self._tasks: set[asyncio.Task[None]] = set()
        self._writers: set[asyncio.StreamWriter] = set()
        self.url = ""
        self.cuts = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Pass one connection on until either side, or the front, ends it."""
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        answers, ahead = await asyncio.open_connection("127.0.0.1", self._port)
        self._writers |= {writer, ahead}
        asking = asyncio.create_task(_pass_on(reader, ahead))
        await self._answer(answers, writer, next(self._allowances))
        for end in (writer, ahead):
            end.transport.abort()
        self._writers -= {writer, ahead}
        await asking

    async def _answer(
        self, answers: asyncio.StreamReader, writer: asyncio.StreamWriter, left: int | None
    ) -> None:
        with contextlib.suppress(OSError):
            while data := await answers.read(65_536):
                writer.write(data if left is None else data[:left])
                await writer.drain()
                if left is not None:
                    left -= len(data)
                    if left < 0:
                        self.cuts += 1
                        return

    async def end(self) -> None:
        """Cut every connection."""
        for writer in self._writers:
            writer.transport.abort()
        await asyncio.gather(*self._tasks)


async def _pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(65_536):
            writer.write(data)
            await writer.drain()
    writer.close()


@asynccontextmanager
async def cutting_front(url: str, allowances: Iterator[int | None]) -> AsyncIterator[CuttingFront]:
    """A front before the api at `url`, at an address of its own."""
    front = CuttingFront(url, allowances)
    server = await asyncio.start_server(front.serve, "127.0.0.1", 0)
    front.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield front
    finally:
        server.close()
        await front.end()
