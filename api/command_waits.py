"""Waiting for commands to end: one Redis subscription for everybody who asks with `wait_s`."""

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Self
from uuid import UUID

import msgspec

from tracking.commands import ENDED, Command
from tracking.feed import Delivery, Lost, Subscriber, events_channel

# How soon an end is seen that Redis did not tell.
_LOOK_EVERY_S = 2.0
_LOOK_EVERY_DEAF_S = 0.5


class _Told(msgspec.Struct):
    command: UUID


class _Head(msgspec.Struct):
    data: _Told


_decoder = msgspec.json.Decoder(_Head)


class CommandWaits:
    """Who waits for which command. An async context manager, entered once."""

    def __init__(self, redis_url: str) -> None:
        self._subscriber = Subscriber(redis_url)
        self._tenants: set[str] = set()
        self._waiting: dict[UUID, set[asyncio.Event]] = defaultdict(set)
        self._listening: asyncio.Task[None] | None = None
        self._deaf = True

    async def __aenter__(self) -> Self:
        self._listening = asyncio.create_task(self._listen(), name="command-waits.listen")
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._listening is not None:
            self._listening.cancel()
            await asyncio.gather(self._listening, return_exceptions=True)

    async def ended(
        self, tenant: str, id_: UUID, look: Callable[[], Awaitable[Command]], wait_s: float
    ) -> Command:
        """The command when it has ended, or as it is after `wait_s`; raises what `look` raises."""
        if not wait_s:
            return await look()
        deadline_s = asyncio.get_running_loop().time() + wait_s
        async with self._woken_by(tenant, id_) as woken:
            while True:
                # Before the look: what is told during it is not missed.
                woken.clear()
                command = await look()
                left_s = deadline_s - asyncio.get_running_loop().time()
                if command.state in ENDED or left_s <= 0:
                    return command
                every_s = _LOOK_EVERY_DEAF_S if self._deaf else _LOOK_EVERY_S
                with suppress(TimeoutError):
                    async with asyncio.timeout(min(left_s, every_s)):
                        await woken.wait()

    @asynccontextmanager
    async def _woken_by(self, tenant: str, id_: UUID) -> AsyncIterator[asyncio.Event]:
        if tenant not in self._tenants:
            self._tenants.add(tenant)
            await self._subscriber.subscribe(events_channel(tenant))
        woken = asyncio.Event()
        self._waiting[id_].add(woken)
        try:
            yield woken
        finally:
            self._waiting[id_].discard(woken)
            if not self._waiting[id_]:
                del self._waiting[id_]

    async def _listen(self) -> None:
        async for received in self._subscriber:
            self._deaf = isinstance(received, Lost)
            # Most events are of no command, and most of the time nobody waits.
            if not self._waiting or not isinstance(received, Delivery):
                continue
            if b'"type":"command.' in received.payload:
                with suppress(msgspec.DecodeError):
                    told = _decoder.decode(received.payload).data.command
                    for woken in self._waiting.get(told, ()):
                        woken.set()
