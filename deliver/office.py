"""The delivery process: takes targets, has them worked, writes down how far they got.

Any number may run. A target belongs to one of them at a time, by a lease (`store.dispatch`); who
is killed is replaced when its leases run out, and what it had sent but not written down is sent
again, under the same id. Redis only wakes: without it the log is looked at four times a second.
"""

import asyncio
import logging
import time
from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from typing import Protocol
from uuid import uuid4

from deliver.endpoint import Endpoint
from deliver.line import DOWN_AFTER, Outcome
from deliver.logs import Log, Stores
from deliver.metrics import Metrics
from tracking.errors import StoreError
from tracking.feed import (
    NOTICES,
    Delivery,
    EventRecord,
    Publisher,
    Subscribed,
    Subscriber,
    encode_event,
    events_channel,
)
from tracking.seal import Seal
from tracking.store.dispatch import (
    LEASE_S,
    Progress,
    Taken,
    followed_tenants,
    prune_deliveries,
    release,
    renew,
    take,
    write_progress,
)
from tracking.webhooks import Letter, Secrets, Webhook, unsealed

logger = logging.getLogger(__name__)

# Targets worked at once; the memory of each is its window, a few hundred KiB at most.
_TARGETS = 1_000
_RENEW_EVERY_S = 1.5
# Within this of losing its leases a process that could not renew them starts nothing.
_MARGIN_S = 2.0
_LOOK_EVERY_S = 1.0
_LOOK_EVERY_DEAF_S = 0.25
# Outcomes come by the hundred; waiting this long after the first writes them together.
_GATHER_S = 0.05
# A target with nothing to do is let go after this; where others wait, so is one with much to do.
_IDLE_S = 30.0
_TURN_S = 30.0
# What is under way at the end gets this long; what is not done then is sent again by the next.
_DRAIN_S = 8.0
_CLOSE_S = 12.0
_PRUNE_EVERY_S = 3_600.0
_CONNECTIONS = 4


class Senders(Protocol):
    """Whatever sends a letter to one kind of target."""

    async def send(self, webhook: Webhook, secrets: Secrets, letter: Letter) -> Outcome:
        """Send once; never raises for what the other side does."""


class Office:
    """One delivery process. `run` is its main task, ended by cancelling it after `close`."""

    def __init__(
        self,
        database_url: str,
        redis_url: str,
        senders: dict[str, Senders],
        seal: Seal,
        *,
        keep_days: int,
        metrics: Metrics,
    ) -> None:
        self._stores = Stores(database_url, _CONNECTIONS)
        self._publisher = Publisher(redis_url)
        self._subscriber = Subscriber(redis_url, [NOTICES])
        self._senders = senders
        self._seal = seal
        self._keep_days = keep_days
        self._metrics = metrics
        self._lease = uuid4()
        self._ours_until_s = 0.0
        self._endpoints: dict[int, Endpoint] = {}
        self._running: dict[int, asyncio.Task[None]] = {}
        self._logs: dict[int, Log] = {}
        self._following: dict[int, asyncio.Task[None]] = {}
        # The tenant of each channel we listen to.
        self._channels: dict[str, int] = {}
        self._writing = asyncio.Lock()
        self._dirty = asyncio.Event()
        self._noticed = asyncio.Event()
        self._look = asyncio.Event()
        self._hearing = False
        self._closing = False

    async def run(self, stopping: asyncio.Event) -> None:
        """Deliver until `stopping` is set, then finish what is under way."""
        async with self._stores, self._publisher, asyncio.TaskGroup() as tasks:
            self._tasks = tasks
            working = [
                tasks.create_task(work(), name=f"deliver.{work.__name__.strip('_')}")
                for work in (self._listen, self._take_on, self._keep, self._clerk, self._prune)
            ]
            await stopping.wait()
            with suppress(TimeoutError):
                # With the database away there is nobody to tell; the leases run out.
                async with asyncio.timeout(_CLOSE_S):
                    await self._close()
            for task in (*working, *self._following.values()):
                task.cancel()

    def _may_send(self) -> bool:
        return time.monotonic() < self._ours_until_s

    async def _take_on(self) -> None:
        """Find targets with something to do, whenever something happens, for ever."""
        while True:
            self._look.clear()
            await self._follow_tenants()
            for log in self._logs.values():
                log.kick()
            room = _TARGETS - len(self._endpoints)
            if room > 0 and not self._closing:
                taken = await self._stores.insist(
                    partial(take, lease=self._lease, limit=room, down_after=DOWN_AFTER)
                )
                for one in taken:
                    self._open(one)
            # A busy log must not have targets looked for all the time.
            await asyncio.sleep(_LOOK_EVERY_DEAF_S)
            with suppress(TimeoutError):
                async with asyncio.timeout(_LOOK_EVERY_S if self._hearing else 0):
                    await self._look.wait()

    async def _follow_tenants(self) -> None:
        followed = await self._stores.insist(followed_tenants)
        channels = {events_channel(name): tenant_id for tenant_id, name in followed.items()}
        new = channels.keys() - self._channels.keys()
        self._channels.update(channels)
        if new:
            await self._subscriber.subscribe(*new)

    def _open(self, taken: Taken) -> None:
        log = self._logs.get(taken.tenant_id)
        if log is None:
            log = self._logs[taken.tenant_id] = Log(taken.tenant_id, self._stores)
            self._following[taken.tenant_id] = self._tasks.create_task(
                log.follow(), name=f"deliver.log:{taken.tenant}"
            )
        secrets = unsealed(self._seal, taken.tenant_id, taken.webhook.id, taken.sealed)
        endpoint = Endpoint(
            taken,
            secrets or Secrets(),
            log,
            self._send if secrets is not None else _unreadable,
            changed=self._dirty.set,
            may_send=self._may_send,
        )
        self._endpoints[taken.number] = endpoint
        self._running[taken.number] = self._tasks.create_task(
            self._work(endpoint), name=f"deliver.to:{taken.tenant}/{taken.webhook.id}"
        )

    async def _send(self, webhook: Webhook, secrets: Secrets, letter: Letter) -> Outcome:
        sender = self._senders.get(webhook.kind)
        if sender is None:
            return _failed("channels are off here: WAYMARK_CHANNELS")
        with self._metrics.in_flight.track_inprogress():
            try:
                outcome = await sender.send(webhook, secrets, letter)
            except Exception:  # what one target brings about is not the others' to suffer
                logger.exception("sending to %s failed in an unknown way", webhook.id)
                outcome = _failed("this is our fault; the log has more")
        self._metrics.count(webhook.kind, outcome)
        return outcome

    async def _work(self, endpoint: Endpoint) -> None:
        """Work a target until it ends; then write the rest down and let go of it."""
        number = endpoint.taken.number
        try:
            await endpoint.run()
            await self._write([endpoint], always=True)
            await self._stores.insist(lambda conn: release(conn, self._lease, [number]))
            self._look.set()
        finally:
            if self._endpoints.get(number) is endpoint:
                del self._endpoints[number], self._running[number]

    async def _clerk(self) -> None:
        """Write down what came of letters, for ever."""
        while True:
            await self._dirty.wait()
            await asyncio.sleep(_GATHER_S)
            self._dirty.clear()
            await self._write(list(self._endpoints.values()))

    async def _write(self, endpoints: Sequence[Endpoint], *, always: bool = False) -> None:
        # One at a time: of two writes of a target the later one must come last.
        async with self._writing:
            progress = [one for endpoint in endpoints if (one := endpoint.progress(always=always))]
            if not progress:
                return
            ours, events = await self._stores.insist(
                lambda conn: write_progress(conn, self._lease, progress)
            )
        self._drop_lost(progress, ours)
        if events:
            await self._publisher.publish(_announced(events))

    def _drop_lost(self, progress: Sequence[Progress], ours: set[int]) -> None:
        for one in progress:
            endpoint = self._endpoints.get(one.taken.number)
            if one.taken.number not in ours and endpoint and endpoint.taken is one.taken:
                endpoint.stop()

    async def _keep(self) -> None:
        """Renew the leases, and notice what is not ours any more or wanted anew, for ever."""
        while True:
            self._noticed.clear()
            asked_s = time.monotonic()
            before = dict(self._endpoints)
            full = len(before) >= _TARGETS
            # Not beside a write: both lock many rows, each in an order of its own.
            async with self._writing:
                held = await self._stores.insist(lambda conn: renew(conn, self._lease))
            self._ours_until_s = asked_s + LEASE_S - _MARGIN_S
            for number, endpoint in before.items():
                taken = endpoint.taken
                # Else somebody else's by now, deleted, disabled, or wanted anew.
                as_it_was = held.get(number) == (taken.epoch, taken.nudge)
                over = endpoint.idle_s > _IDLE_S or (full and endpoint.held_s > _TURN_S)
                if as_it_was and not over:
                    endpoint.wake()
                else:
                    endpoint.stop()
            self._forget_logs()
            self._metrics.targets.set(len(self._endpoints))
            with suppress(TimeoutError):
                async with asyncio.timeout(_RENEW_EVERY_S):
                    await self._noticed.wait()

    def _forget_logs(self) -> None:
        used = {endpoint.taken.tenant_id for endpoint in self._endpoints.values()}
        for tenant_id in self._logs.keys() - used:
            del self._logs[tenant_id]
            self._following.pop(tenant_id).cancel()

    async def _listen(self) -> None:
        async for received in self._subscriber:
            self._hearing = isinstance(received, Delivery | Subscribed)
            if isinstance(received, Delivery) and received.channel == NOTICES:
                self._noticed.set()
            logs = self._logs
            if isinstance(received, Delivery):
                heard = self._channels.get(received.channel)
                logs = {heard: logs[heard]} if heard in logs else {}
            for log in logs.values():
                log.kick()
            self._look.set()

    async def _prune(self) -> None:
        while True:
            with suppress(StoreError):
                await self._stores.insist(lambda conn: prune_deliveries(conn, self._keep_days))
            await asyncio.sleep(_PRUNE_EVERY_S)

    async def _close(self) -> None:
        self._closing = True
        for endpoint in self._endpoints.values():
            endpoint.stop()
        if self._running:
            await asyncio.wait(self._running.values(), timeout=_DRAIN_S)
        left = dict(self._endpoints)
        for task in (running := [self._running[number] for number in left]):
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
        await self._write(list(left.values()), always=True)
        await self._stores.insist(lambda conn: release(conn, self._lease, left))


async def _unreadable(webhook: Webhook, secrets: Secrets, letter: Letter) -> Outcome:
    del webhook, secrets, letter
    return _failed("its secrets cannot be read with this WAYMARK_SECRET_KEY: set them again")


def _failed(error: str) -> Outcome:
    return Outcome(time.time_ns() // 1_000, ok=False, latency_ms=0, error=error)


def _announced(events: Sequence[EventRecord]) -> list[tuple[str, bytes]]:
    return [(events_channel(event.tenant), encode_event(event)) for event in events]
