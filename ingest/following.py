"""Following the event logs of tenants: work until nothing waits, then wait until there is news."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import TypeVar

from tracking.feed import Delivery, Publisher, Subscribed, Subscriber, events_channel
from tracking.store.connection import Connection
from tracking.store.persistence import Store

T = TypeVar("T")

# Without Redis, events are found this late; deadlines are, in any case.
_LOOK_EVERY_S = 1.0
_LOOK_EVERY_DEAF_S = 0.25
# Events come in bursts; waiting this long after the first makes one turn of them.
_GATHER_S = 0.01


class Following:
    """A follower as a task of the monitor, ended by cancelling it."""

    def __init__(self, database_url: str, redis_url: str, publisher: Publisher, name: str) -> None:
        self._database_url = database_url
        self._publisher = publisher
        self._subscriber = Subscriber(redis_url)
        self._name = name
        self._followed: set[str] = set()
        self._heard = asyncio.Event()
        self._hearing = False

    async def follow(
        self,
        turn: Callable[[Connection], Awaitable[T | None]],
        announced: Callable[[T], list[tuple[str, bytes]]],
        tenants: Callable[[Connection], Awaitable[Sequence[str]]],
    ) -> None:
        """Take turns for ever, and publish what is announced of each after its commit.

        A turn tells None when nothing waits. `tenants` are those whose events are news.
        """
        async with (
            Store(self._database_url, f"waymark-{self._name}") as store,
            asyncio.TaskGroup() as all_,
        ):
            all_.create_task(self._listen(), name=f"{self._name}.listen")
            while True:
                self._heard.clear()
                while (done := await store.insist(turn)) is not None:
                    await self._publisher.publish(announced(done))
                await self._subscribe(await store.insist(tenants))
                with suppress(TimeoutError):
                    async with asyncio.timeout(
                        _LOOK_EVERY_S if self._hearing else _LOOK_EVERY_DEAF_S
                    ):
                        await self._heard.wait()
                        await asyncio.sleep(_GATHER_S)

    async def _subscribe(self, tenants: Sequence[str]) -> None:
        new = [tenant for tenant in tenants if tenant not in self._followed]
        self._followed.update(new)
        if new:
            await self._subscriber.subscribe(*map(events_channel, new))

    async def _listen(self) -> None:
        async for received in self._subscriber:
            self._hearing = isinstance(received, Delivery | Subscribed)
            if self._hearing:
                self._heard.set()
