"""uvicorn's websocket protocol, made to let go of a client that does not read.

uvicorn writes a close frame only when the client has made room for it, and waits for ever for a
closing connection to drain. Both are exactly what a slow client never grants.
"""

import socket
import struct
from typing import TYPE_CHECKING

from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

if TYPE_CHECKING:
    from uvicorn._types import ASGISendEvent

# What a closed client gets to read the rest and the close frame: 64 kB of ours, and what the
# kernel holds.
ABORT_AFTER_S = 10.0


class FeedProtocol(WebSocketsSansIOProtocol):
    """Closes at once, and aborts what is not closed `ABORT_AFTER_S` later."""

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
        if self.disconnected:
            return
        # Without lingering the kernel drops what it holds too, megabytes for a fast network.
        sock = self.transport.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.transport.abort()
