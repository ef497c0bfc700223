"""Answers that are sent while they are made."""

from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack

from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send


class Streamed(StreamingResponse):
    """An answer in pieces; what it stands on is given back when it ends, however it does."""

    def __init__(
        self,
        pieces: AsyncIterator[bytes],
        stack: AsyncExitStack,
        *,
        media_type: str,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(pieces, media_type=media_type, headers=headers)
        self._stack = stack
        # Proxies must not gather what is sent piece by piece.
        self.headers["X-Accel-Buffering"] = "no"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it; a client that leaves cancels what is being made."""
        async with self._stack:
            await super().__call__(scope, receive, send)
