"""An independent client of the websocket feed."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from websockets.asyncio.client import ClientConnection, connect

from tests.integration.api_site import Site
from tests.services import TIMEOUT_FACTOR

Frame = dict[str, Any]


class FeedClient:
    """One websocket; every frame it ever received is in `frames`."""

    def __init__(self, socket: ClientConnection) -> None:
        self.socket = socket
        self.frames: list[Frame] = []

    async def send(self, **message: object) -> None:
        await self.socket.send(json.dumps(message))

    async def subscribe(self, name: str = "s", **message: object) -> None:
        """Subscribe and read the snapshot."""
        await self.send(op="subscribe", id=name, **message)
        while (await self.next("snapshot"))["more"]:
            pass

    async def receive(self, timeout_s: float = 10) -> Frame:
        async with asyncio.timeout(timeout_s * TIMEOUT_FACTOR):
            frame: Frame = json.loads(await self.socket.recv())
        self.frames.append(frame)
        return frame

    async def next(self, type_: str, timeout_s: float = 10) -> Frame:
        """The next frame of a type; what comes before it is kept in `frames`."""
        async with asyncio.timeout(timeout_s * TIMEOUT_FACTOR):
            while True:
                frame = await self.receive(timeout_s)
                if frame["type"] == type_:
                    return frame

    async def events(self, n: int) -> list[int]:
        """The cursors of the next `n` events."""
        return [(await self.next("event"))["cursor"] for _ in range(n)]

    async def settle(self) -> None:
        """Wait until everything sent to us before now is in `frames`.

        A pong goes through the same mailbox as events; positions wait for a tick at most.
        """
        await asyncio.sleep(0.25)
        await self.send(op="ping")
        await self.next("pong")

    def of(self, type_: str) -> list[Frame]:
        return [frame for frame in self.frames if frame["type"] == type_]


@asynccontextmanager
async def feed_client(
    site: Site, *, header: bool = True, token: str | None = None
) -> AsyncIterator[FeedClient]:
    """Connect with the key in the header, or else in the first message."""
    async with connect(
        site.feed_url,
        additional_headers=site.headers if header else {},
        max_size=None,
        # With a bound, a client that leaves with unread frames hangs in its own closing handshake.
        max_queue=None,
        proxy=None,
        open_timeout=10 * TIMEOUT_FACTOR,
    ) as socket:
        client = FeedClient(socket)
        if not header:
            await client.send(op="auth", token=token or site.key)
        yield client
