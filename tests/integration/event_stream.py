"""An independent client of server-sent events, as the standard has them."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx

from tests.integration.api_site import Site
from tests.services import TIMEOUT_FACTOR

Frame = dict[str, Any]


class EventStreamClient:
    """One stream: the messages it dispatched, and the id to come back with."""

    def __init__(self, answer: httpx.Response) -> None:
        self.answer = answer
        self.last_id = ""
        self.retry_ms: int | None = None
        self.comments: list[str] = []
        self.frames: list[Frame] = []
        self._lines = answer.aiter_lines()

    async def next(self, type_: str, timeout_s: float = 10) -> Frame:
        """The next message of a type; what comes before it is kept in `frames`.

        Raises:
            StopAsyncIteration: the stream ended.
        """
        async with asyncio.timeout(timeout_s * TIMEOUT_FACTOR):
            while True:
                frame = await self.receive()
                if frame["type"] == type_:
                    return frame

    async def events(self, n: int) -> list[int]:
        """The cursors of the next `n` events."""
        return [(await self.next("event"))["cursor"] for _ in range(n)]

    async def comment(self) -> None:
        """Read until one more comment came; what else comes meanwhile is lost to `next`."""
        seen = len(self.comments)
        async with asyncio.timeout(10 * TIMEOUT_FACTOR):
            while len(self.comments) == seen:
                await self._block()

    def of(self, type_: str) -> list[Frame]:
        return [frame for frame in self.frames if frame["type"] == type_]

    async def receive_or_none(self) -> Frame | None:
        """The next message, None where the stream ended."""
        try:
            return await self.receive()
        except StopAsyncIteration:
            return None

    async def receive(self) -> Frame:
        """The next message of any type.

        Raises:
            StopAsyncIteration: the stream ended.
        """
        while (block := await self._block()) is None:
            pass
        return block

    async def _block(self) -> Frame | None:
        """What the lines up to an empty one mean; None where they carry no data."""
        data, name, given = list[str](), "message", self.last_id
        while line := await anext(self._lines):
            field, _, value = line.partition(":")
            value = value.removeprefix(" ")
            match field:
                case "":
                    self.comments.append(value)
                case "data":
                    data.append(value)
                case "event":
                    name = value
                case "id":
                    given = value
                case "retry":
                    self.retry_ms = int(value)
        self.last_id = given
        if not data:
            return None
        frame: Frame = json.loads("\n".join(data))
        assert frame["type"] == name
        self.frames.append(frame)
        return frame


@asynccontextmanager
async def event_stream(
    site: Site, *, last_id: str | None = None, **params: str | int | list[str]
) -> AsyncIterator[EventStreamClient]:
    """Open a stream with the site's key."""
    headers = {} if last_id is None else {"Last-Event-ID": last_id}
    async with site.client.stream("GET", "/v1/feed/sse", params=params, headers=headers) as answer:
        assert answer.status_code == 200, await answer.aread()
        yield EventStreamClient(answer)
