"""The feed as server-sent events: the same session on the answer to one request."""

import asyncio
import logging
from collections.abc import Callable
from typing import TYPE_CHECKING

from starlette.responses import Response

from api.feed.messages import Message, Wire, closing_message, server_sent
from api.feed.session import GOING_AWAY, TRY_AGAIN_LATER, Closing, Session, first_of
from api.feed.socket import exchange_of
from api.identity.credentials import Grant
from api.services import Services
from tracking.errors import ProviderUnavailable, StoreUnavailable
from tracking.interest import Interest

if TYPE_CHECKING:
    from starlette.types import Receive, Scope, Send

logger = logging.getLogger(__name__)

MEDIA_TYPE = "text/event-stream"
# How long a client waits before it comes again; a browser's own idea is 3 to 5 seconds.
_RETRY_MS = 2_000
_FAREWELL_WITHIN_S = 5.0


class StreamLink:
    """The way to the client of one answer: what is written, `pump` sends."""

    def __init__(self) -> None:
        self.wire: Wire = server_sent
        self._waiting: list[bytes] = []
        self._written = asyncio.Event()
        self._room = asyncio.Event()
        self._room.set()
        self._call: Callable[[], object] = lambda: None

    def on_room(self, call: Callable[[], object]) -> None:
        """Have something called each time there is room again."""
        self._call = call

    @property
    def has_room(self) -> bool:
        """Whether nothing waits for the client to read."""
        return self._room.is_set()

    def write(self, data: bytes) -> None:
        """Hand events to `pump`."""
        self._waiting.append(data)
        self._room.clear()
        self._written.set()

    async def send(self, message: Message) -> None:
        """Send at the client's pace."""
        await self.send_framed(self.wire(message))

    async def send_framed(self, data: bytes) -> None:
        """As `write`, at the client's pace."""
        await self._room.wait()
        self.write(data)

    async def pump(self, send: "Send") -> None:
        """Send what is written, for ever; `send` waits while the client does not read."""
        while True:
            await self._written.wait()
            self._written.clear()
            data, self._waiting = b"".join(self._waiting), []
            await send({"type": "http.response.body", "body": data, "more_body": True})
            if not self._waiting:
                self._room.set()
                self._call()


class EventStream(Response):
    """The answer that is a feed; it ends when the client leaves or has to come again."""

    media_type = MEDIA_TYPE

    def __init__(
        self, services: Services, grant: Grant, interest: Interest, since: int | None
    ) -> None:
        # Proxies that collect answers before they pass them on would hold it for ever.
        super().__init__(headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"})
        del self.headers["content-length"]
        self._services = services
        self._grant = grant
        self._interest = interest
        self._since = since

    async def __call__(self, scope: "Scope", receive: "Receive", send: "Send") -> None:
        """Stream until either side ends it."""
        exchange = exchange_of(scope)
        ending: Closing | None = None
        await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
        retry = b"retry: %d\n\n" % _RETRY_MS
        await send({"type": "http.response.body", "body": retry, "more_body": True})
        try:
            await self._stream(receive, send, exchange.stopping)
        except* Closing as group:
            ending = first_of(group)
        except* (StoreUnavailable, ProviderUnavailable) as group:
            logger.warning("a feed client is sent away: %s", first_of(group))
            ending = Closing(TRY_AGAIN_LATER, "what the api needs is away, come back later")
        except* _GoneError:
            pass
        if ending is not None:
            last = server_sent(closing_message(ending.code, ending.reason))
            try:
                async with asyncio.timeout(_FAREWELL_WITHIN_S):
                    await send({"type": "http.response.body", "body": last})
            except TimeoutError:
                # Whoever does not read would keep the connection open for ever.
                exchange.abort()

    async def _stream(self, receive: "Receive", send: "Send", stopping: asyncio.Event) -> None:
        link = StreamLink()
        session = Session(self._services, self._grant, link)

        async def talk(session: Session) -> None:
            session.subscribe(None, self._interest, self._since)
            await stopping.wait()
            raise Closing(GOING_AWAY, "the api restarts")

        async with asyncio.TaskGroup() as group:
            group.create_task(link.pump(send), name="feed.pump")
            group.create_task(_until_gone(receive), name="feed.gone")
            await session.run(talk)


class _GoneError(Exception):
    """The client left."""


async def _until_gone(receive: "Receive") -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    raise _GoneError
