"""The sending end, used by ingest after each commit."""

import asyncio
import logging
from typing import Self

from tracking.feed.link import LINK_ERRORS, TIMEOUT_S, backoff_s, connector

logger = logging.getLogger(__name__)

# From so many messages on they are sent unanswered: 0.8 us each, where reading a reply and packing
# a command take 6. What Redis has against a message it says of the few.
_MANY = 32
_REPLY_OFF = b"*3\r\n$6\r\nCLIENT\r\n$5\r\nREPLY\r\n$3\r\nOFF\r\n"
_REPLY_ON = b"*3\r\n$6\r\nCLIENT\r\n$5\r\nREPLY\r\n$2\r\nON\r\n"


def _packed(message: tuple[str, bytes]) -> bytes:
    """One PUBLISH command as Redis reads it."""
    channel, payload = message[0].encode(), message[1]
    return b"*3\r\n$7\r\nPUBLISH\r\n$%d\r\n%b\r\n$%d\r\n%b\r\n" % (
        len(channel), channel, len(payload), payload,
    )  # fmt: skip


class Publisher:
    """Publishes to Redis, or not: a Redis that is away costs its caller nothing.

    `dropped` counts the messages nobody will hear; subscribers find them in the database. One
    instance per process; tasks may share it. Opens its connection by itself; `aclose` ends it.
    """

    def __init__(self, redis_url: str) -> None:
        self.published = 0
        self.dropped = 0
        self._connection = connector(redis_url)()
        self._lock = asyncio.Lock()
        # Runs from the first failure until Redis answers again; while it runs nothing is sent.
        self._reconnecting: asyncio.Task[None] | None = None

    async def publish(self, messages: list[tuple[str, bytes]]) -> bool:
        """Send (channel, payload) pairs in order, in one round trip of at most 1 s.

        Never raises because of Redis: returns False when the messages were dropped, at once
        while Redis is known to be away.
        """
        if not messages:
            return True
        async with self._lock:
            if self._reconnecting is None:
                try:
                    async with asyncio.timeout(TIMEOUT_S):
                        await self._send(messages)
                except LINK_ERRORS as exc:
                    await self._lose(exc)
                else:
                    self.published += len(messages)
                    return True
        self.dropped += len(messages)
        return False

    @property
    def up(self) -> bool:
        """Whether the last thing known of Redis is that it answered."""
        return self._reconnecting is None

    async def aclose(self) -> None:
        """Close the connection; the publisher is of no further use."""
        if self._reconnecting is not None:
            self._reconnecting.cancel()
            await asyncio.gather(self._reconnecting, return_exceptions=True)
        await self._connection.disconnect(nowait=True)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def _send(self, messages: list[tuple[str, bytes]]) -> None:
        if len(messages) > _MANY:
            # The last command is the only one that is answered: it has seen all before it.
            await self._connection.send_packed_command(
                [_REPLY_OFF, *map(_packed, messages), _REPLY_ON]
            )
            await self._connection.read_response()
            return
        commands = [("PUBLISH", channel, payload) for channel, payload in messages]
        await self._connection.send_packed_command(self._connection.pack_commands(commands))
        for _ in messages:
            await self._connection.read_response()

    async def _lose(self, exc: BaseException) -> None:
        logger.warning("redis is away, live updates are skipped: %s", exc)
        # A reply still on its way belongs to messages counted as dropped.
        await self._connection.disconnect(nowait=True)
        self._reconnecting = asyncio.create_task(self._reconnect(), name="feed.reconnect")

    async def _reconnect(self) -> None:
        for delay_s in backoff_s():
            await asyncio.sleep(delay_s)
            try:
                async with asyncio.timeout(TIMEOUT_S):
                    await self._connection.send_command("PING")
                    await self._connection.read_response()
            except LINK_ERRORS as exc:
                logger.debug("redis is still away: %s", exc)
                await self._connection.disconnect(nowait=True)
            else:
                logger.info("redis is back, %d message(s) were skipped", self.dropped)
                self._reconnecting = None
                return
