"""uvicorn's websocket protocol, made to let go of a client that does not read, and to cost less.

uvicorn writes a close frame only when the client has made room for it, and waits for ever for a
closing connection to drain. Both are exactly what a slow client never grants.

It also frames each message for each client anew, behind three layers of awaiting: 10 us at 1,000
clients, where bytes framed once take 6. What is the same for many is framed once and goes to the
transport as it is; the handshake, pings and the closing stay uvicorn's.
"""

import asyncio
import socket
import struct
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.extensions.permessage_deflate import ServerPerMessageDeflateFactory

from api.feed.messages import DEFLATE_FROM_BYTES, Message, Wire, websocket_deflated, websocket_text
from api.http import HttpProtocol

if TYPE_CHECKING:
    from starlette.types import Scope
    from starlette.websockets import WebSocket
    from uvicorn._types import ASGISendEvent
    from websockets.http11 import Request

# What a closed client gets to read the rest and the close frame: 64 kB of ours, and what the
# kernel holds.
ABORT_AFTER_S = 10.0
_EXTENSION = "waymark.link"


class FeedProtocol(WebSocketsSansIOProtocol):
    """Closes at once, and aborts what is not closed `ABORT_AFTER_S` later.

    Gives the application a `SocketLink`, as an extension of its scope.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401 -- uvicorn's own
        super().__init__(*args, **kwargs)
        self.on_room: Callable[[], object] = lambda: None
        # Each message by itself, so that no client costs memory between two of them.
        self.conn.available_extensions = [
            ServerPerMessageDeflateFactory(
                server_no_context_takeover=True, client_no_context_takeover=True
            )
        ]

    def handle_connect(self, event: "Request") -> None:
        """Shake hands, and add the link before the application first runs."""
        super().handle_connect(event)
        if not self.close_sent:
            extensions: dict[Any, Any] = self.scope["extensions"]
            extensions[_EXTENSION] = SocketLink(self)

    def resume_writing(self) -> None:
        """Let go on what waited for room."""
        super().resume_writing()
        self.on_room()

    async def send(self, message: "ASGISendEvent") -> None:
        """Send, or close without waiting for room in the send buffer."""
        if message["type"] == "websocket.close" and self.handshake_complete:
            self.writable.set()
            self.loop.call_later(ABORT_AFTER_S, self._reset)
        await super().send(message)

    def keepalive_timeout(self) -> None:
        """Give up a peer that answers no pings; it would not read a farewell either."""
        super().keepalive_timeout()
        self._reset()

    def _reset(self) -> None:
        if not self.disconnected:
            _reset(self.transport)


class SocketLink:
    """The way to one websocket's client that bypasses all between the hub and the transport."""

    def __init__(self, protocol: FeedProtocol) -> None:
        self.wire: Wire = websocket_text
        self._protocol = protocol

    def on_room(self, call: Callable[[], object]) -> None:
        """Have something called each time there is room again."""
        self._protocol.on_room = call

    @property
    def has_room(self) -> bool:
        """Whether the client has read all but a little of what it was sent."""
        return self._protocol.writable.is_set()

    def write(self, data: bytes) -> None:
        """Send whole frames; nothing may follow a close frame."""
        protocol = self._protocol
        if not (protocol.close_sent or protocol.disconnected or protocol.transport.is_closing()):
            protocol.transport.write(data)

    async def send(self, message: Message) -> None:
        """Send at the client's pace, compressed if that pays and the client offered it."""
        if len(message.body) >= DEFLATE_FROM_BYTES and self._protocol.conn.extensions:
            data = await asyncio.to_thread(websocket_deflated, message)
        else:
            data = websocket_text(message)
        await self.send_framed(data)

    async def send_framed(self, data: bytes) -> None:
        """As `write`, at the client's pace."""
        await self._protocol.writable.wait()
        self.write(data)


class Exchange(HttpProtocol):
    """The protocol of requests, for answers that do not end by themselves.

    `stopping` is set when the process stops accepting, and `abort` drops a client that does not
    read; both reach the application as an extension of the scope.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401 -- uvicorn's own
        super().__init__(*args, **kwargs)
        self.stopping = asyncio.Event()

    def on_message_begin(self) -> None:
        """Start a scope with the extension in it."""
        super().on_message_begin()
        extensions: dict[Any, Any] = {_EXTENSION: self}
        self.scope["extensions"] = extensions

    def shutdown(self) -> None:
        """Finish, and tell the answers that would go on."""
        super().shutdown()
        self.stopping.set()

    def abort(self) -> None:
        """Drop the connection with all that was not read."""
        _reset(self.transport)


def exchange_of(scope: "Scope") -> Exchange:
    """The connection a request came by."""
    exchange: Exchange = scope["extensions"][_EXTENSION]
    return exchange


def _reset(transport: asyncio.Transport) -> None:
    # Without lingering the kernel drops what it holds too, megabytes for a fast network.
    sock = transport.get_extra_info("socket")
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    transport.abort()


def link_of(websocket: "WebSocket") -> SocketLink:
    """The link that `FeedProtocol` made for this websocket."""
    link: SocketLink = websocket.scope["extensions"][_EXTENSION]
    return link
