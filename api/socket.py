"""uvicorn's websocket protocol, made to let go of a client that does not read.

uvicorn writes a close frame only when the client has made room for it, and waits for ever for a
closing connection to drain. Both are exactly what a slow client never grants.
"""

from typing import TYPE_CHECKING

from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

if TYPE_CHECKING:
    from uvicorn._types import ASGISendEvent


class FeedProtocol(WebSocketsSansIOProtocol):
    """Closes at once, and aborts what is still open `close_timeout` seconds later."""

    async def send(self, message: "ASGISendEvent") -> None:
        """Send, or close without waiting for room in the send buffer."""
        if message["type"] == "websocket.close" and self.handshake_complete:
            self.writable.set()
            self.loop.call_later(self.close_timeout + 1, self.transport.abort)
        await super().send(message)

    def keepalive_timeout(self) -> None:
        """Give up a peer that answers no pings; it would not read a farewell either."""
        super().keepalive_timeout()
        self.transport.abort()
