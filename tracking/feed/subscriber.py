"""The receiving end, used by the api's hub and by caches that follow notices."""

import asyncio
import logging
from collections.abc import AsyncGenerator, Iterable
from contextlib import aclosing
from typing import TYPE_CHECKING, Any, NamedTuple

from tracking.feed.link import LINK_ERRORS, TIMEOUT_S, backoff_s, connector

if TYPE_CHECKING:
    from redis.asyncio.connection import AbstractConnection

logger = logging.getLogger(__name__)

# A silent link is asked for a sign of life this often; without one by the next time it is lost.
_HEARTBEAT_S = 5.0


class Delivery(NamedTuple):
    """One published message."""

    channel: str
    payload: bytes


class Subscribed(NamedTuple):
    """From here on every message of `channel` arrives; whatever came before may be missing.

    Yielded once for each channel and again after each lost connection: the moment to read the
    database from the last cursor.
    """

    channel: str


class Lost(NamedTuple):
    """The connection is gone, or could not be made; messages are being missed. Yielded once."""

    reason: str


Received = Delivery | Subscribed | Lost


class Subscriber:
    """An endless stream of what the chosen channels carry, over one connection.

    Iterate it in one task only; `subscribe` and `unsubscribe` may be called from others at any
    time, with Redis up or away. The stream ends by cancelling its task, which closes the link.
    """

    def __init__(self, redis_url: str, channels: Iterable[str] = ()) -> None:
        self._connect = connector(redis_url)
        self._channels = set(channels)
        self._connection: AbstractConnection | None = None
        self._wanted = asyncio.Event()
        if self._channels:
            self._wanted.set()

    async def subscribe(self, *channels: str) -> None:
        """Add channels; a `Subscribed` follows for each in the stream. Never raises for Redis."""
        self._channels.update(channels)
        self._wanted.set()
        await self._command("SUBSCRIBE", channels)

    async def unsubscribe(self, *channels: str) -> None:
        """Drop channels; messages already on their way still arrive."""
        self._channels.difference_update(channels)
        await self._command("UNSUBSCRIBE", channels)

    async def __aiter__(self) -> AsyncGenerator[Received, None]:
        """Yield what happens, in order, for ever."""
        up = True
        delays_s = backoff_s()
        while True:
            # Without a channel there is nothing to listen to, and a link would only idle.
            await self._wanted.wait()
            try:
                async with aclosing(self._listen()) as stream:
                    async for received in stream:
                        if isinstance(received, Subscribed):
                            up, delays_s = True, backoff_s()
                        yield received
            except LINK_ERRORS as exc:
                if up:
                    logger.warning("redis is away, reading the database instead: %s", exc)
                    up = False
                    yield Lost(str(exc))
            await asyncio.sleep(next(delays_s))

    async def _listen(self) -> AsyncGenerator[Received, None]:
        connection = self._connect()
        try:
            async with asyncio.timeout(TIMEOUT_S):
                await connection.connect()  # type: ignore[no-untyped-call]
                # Both on one line: a channel added between them would be asked for by nobody.
                self._connection, channels = connection, tuple(self._channels)
                await self._command("SUBSCRIBE", channels)
            waiting_for_pong = False
            while True:
                reply = await connection.read_response(timeout=_HEARTBEAT_S)
                if reply is not None:
                    waiting_for_pong = False
                    received = _parse(reply)
                    if received is not None:
                        yield received
                elif waiting_for_pong:
                    raise TimeoutError(f"no answer from redis for {2 * _HEARTBEAT_S:.0f} s")
                else:
                    waiting_for_pong = True
                    await connection.send_command("PING")
        finally:
            self._connection = None
            await connection.disconnect(nowait=True)

    async def _command(self, verb: str, channels: tuple[str, ...]) -> None:
        connection = self._connection
        if connection is None or not channels:
            return
        try:
            async with asyncio.timeout(TIMEOUT_S):
                await connection.send_command(verb, *channels)
        except LINK_ERRORS as exc:
            # The reading task meets the same broken link and starts over with every channel.
            logger.debug("%s failed: %s", verb, exc)


def _parse(reply: Any) -> Received | None:  # noqa: ANN401 -- whatever the server sent
    match reply:
        case [b"message", bytes(channel), bytes(payload)]:
            return Delivery(channel.decode(), payload)
        case [b"subscribe", bytes(channel), _]:
            return Subscribed(channel.decode())
        case _:
            return None
