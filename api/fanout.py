"""The hub's shell: one Redis subscriber for all tenants with clients, and the database behind it.

Owns three kinds of tasks: `fanout.listen` reads Redis, `fanout.tick` hands out
positions ten times a second, and `fanout.follow:<tenant>`, one per tenant with clients, reads
events from the database when the live ones have a hole, when Redis is away, and now and then in
case a publisher was cut off while we were not. Leaving the context ends them all.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing, asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Self

import msgspec

from api.hub import EventLine, Outbox, PositionLine, Subscription, event_frame, status_frame
from api.metrics import Metrics
from tracking.access import Principal
from tracking.errors import StoreUnavailable
from tracking.feed import (
    Delivery,
    LiveEvent,
    Lost,
    Subscribed,
    Subscriber,
    encode_event,
    encode_position,
    events_channel,
    live_event,
    live_position,
    positions_channel,
    split_positions,
)
from tracking.store.acting import Mandate, act
from tracking.store.devices import latest_heard_since
from tracking.store.events import events_after, feed_cursor
from tracking.store.pool import ReadPool

logger = logging.getLogger(__name__)

# People see no difference below a tenth of a second; a tick joins what ten batches brought.
_TICK_S = 0.1
# With Redis away: events by cursor cost an index look-up, positions a scan of the tenant's states.
_POLL_EVENTS_S = 1.0
_POLL_POSITIONS = timedelta(seconds=2)
# With Redis there: a publisher that lost Redis while we kept it would else go unnoticed.
_RECHECK_S = 5.0
# Clocks of workers differ, and a batch commits some time after it was received.
_POLL_OVERLAP = timedelta(seconds=10)
_PAGE = 1_000


class Mailbox:
    """What fan-out sees of a client: its subscriptions and where its events go.

    `wake` is called when there is something to fetch, `overflow` when the bound is passed.
    """

    def __init__(self, wake: Callable[[], None], overflow: Callable[[], None]) -> None:
        self.subscriptions: dict[str, Subscription] = {}
        self.outbox = Outbox()
        self.wake = wake
        self._overflow = overflow
        self._full = False

    def put(self, frame: str) -> None:
        """Queue a message that may not be lost; past the bound the client is given up."""
        if self._full:
            return
        if self.outbox.put(frame):
            self.wake()
        else:
            self._full = True
            self._overflow()


class TenantFeed:
    """One tenant's line of events and positions to its clients."""

    def __init__(self, tenant_id: int, tenant: str) -> None:
        self.tenant_id = tenant_id
        self.tenant = tenant
        self.events = EventLine()
        self.positions = PositionLine()
        self.mailboxes: set[Mailbox] = set()
        # Set when the database must be read; cleared by the task that does.
        self.kick = asyncio.Event()
        self.kick.set()
        # Set once the head of `events` is known.
        self.ready = asyncio.Event()
        self.positions_due = True
        self.polled_at = datetime.now(UTC)
        self.follower: asyncio.Task[None] | None = None

    def deliver(self, event: LiveEvent) -> None:
        """Give an event to every live subscription that wants it."""
        for mailbox in self.mailboxes:
            for subscription in mailbox.subscriptions.values():
                if subscription.wants_live(event):
                    mailbox.put(event_frame(subscription, event))

    def tick(self) -> None:
        """Hand out the positions since the last tick."""
        batch = self.positions.take()
        if batch is None:
            return
        for mailbox in self.mailboxes:
            wanted = [s.offer_positions(batch) for s in mailbox.subscriptions.values()]
            if any(wanted):
                mailbox.wake()


class Fanout:
    """Connects the tenants that have clients with Redis and the database.

    An async context manager, entered once; `live` tells whether Redis is heard.
    """

    def __init__(self, redis_url: str, pool: ReadPool, metrics: Metrics) -> None:
        self._pool = pool
        self._metrics = metrics
        self._subscriber = Subscriber(redis_url)
        self._feeds: dict[str, TenantFeed] = {}
        self._tasks: list[asyncio.Task[None]] = []
        self.live = False

    async def __aenter__(self) -> Self:
        self._tasks = [
            asyncio.create_task(_supervised(self._listen), name="fanout.listen"),
            asyncio.create_task(_supervised(self._tick), name="fanout.tick"),
        ]
        return self

    async def __aexit__(self, *_: object) -> None:
        tasks = [*self._tasks, *(f.follower for f in self._feeds.values() if f.follower)]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    @asynccontextmanager
    async def join(self, principal: Principal, mailbox: Mailbox) -> AsyncIterator[TenantFeed]:
        """Be one of a tenant's clients for the time of the context."""
        feed = self._feeds.get(principal.tenant)
        if feed is None:
            feed = TenantFeed(principal.tenant_id, principal.tenant)
            self._feeds[feed.tenant] = feed
        feed.mailboxes.add(mailbox)
        try:
            if feed.follower is None:
                feed.follower = asyncio.create_task(
                    _supervised(partial(self._follow, feed)), name=f"fanout.follow:{feed.tenant}"
                )
                await self._subscriber.subscribe(*_channels(feed.tenant))
            yield feed
        finally:
            feed.mailboxes.discard(mailbox)
            if not feed.mailboxes and self._feeds.get(feed.tenant) is feed:
                del self._feeds[feed.tenant]
                if feed.follower is not None:
                    feed.follower.cancel()
                await self._subscriber.unsubscribe(*_channels(feed.tenant))

    async def _listen(self) -> None:
        async with aclosing(aiter(self._subscriber)) as stream:
            async for received in stream:
                match received:
                    case Delivery(channel, payload):
                        self._take(channel, payload)
                    case Subscribed(channel):
                        self._set_live(live=True)
                        self._resync(channel)
                    case Lost():
                        self._set_live(live=False)

    def _take(self, channel: str, payload: bytes) -> None:
        _, tenant, kind = channel.split(":")
        feed = self._feeds.get(tenant)
        if feed is None:
            return
        try:
            if kind == "positions":
                feed.positions.offer(split_positions(payload))
                return
            event = live_event(payload)
        except msgspec.DecodeError as exc:
            self._metrics.malformed.inc()
            logger.warning("not understood on %s: %s", channel, exc)
            return
        if feed.events.offer(event.cursor):
            self._metrics.events.labels("redis").inc()
            feed.deliver(event)
        elif feed.events.behind:
            feed.kick.set()

    def _resync(self, channel: str) -> None:
        feed = self._feeds.get(channel.split(":")[1])
        if feed is not None:
            feed.positions_due = True
            feed.kick.set()

    def _set_live(self, *, live: bool) -> None:
        self._metrics.redis_up.set(live)
        if live == self.live:
            return
        self.live = live
        for feed in self._feeds.values():
            feed.kick.set()
            for mailbox in feed.mailboxes:
                mailbox.put(status_frame(live=live))

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(_TICK_S)
            for feed in self._feeds.values():
                feed.tick()

    async def _follow(self, feed: TenantFeed) -> None:
        # For the tenant, not for the client that happened to be the first.
        act(Mandate.reader(feed.tenant_id))
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(_RECHECK_S if self.live else _POLL_EVENTS_S):
                    await feed.kick.wait()
            feed.kick.clear()
            try:
                await self._read_events(feed)
                await self._read_positions(feed)
            except StoreUnavailable as exc:
                logger.warning("events of %s wait for the database: %s", feed.tenant, exc)
                await asyncio.sleep(_POLL_EVENTS_S)
                feed.kick.set()

    async def _read_events(self, feed: TenantFeed) -> None:
        line = feed.events
        line.reading = True
        try:
            if line.head is None:
                line.head = await self._pool.run(feed_cursor, feed.tenant_id)
                feed.ready.set()
            while True:
                page = await self._pool.run(events_after, feed.tenant_id, line.head, limit=_PAGE)
                # From here to `advance` nothing may wait: a client that compares itself with the
                # head must find it true.
                for record in page.events:
                    feed.deliver(live_event(encode_event(record)))
                self._metrics.events.labels("database").inc(len(page.events))
                moved = line.advance(page.covered)
                if not moved or not (line.behind or len(page.events) == _PAGE):
                    return
        finally:
            line.reading = False

    async def _read_positions(self, feed: TenantFeed) -> None:
        now = datetime.now(UTC)
        stale = not self.live and now - feed.polled_at >= _POLL_POSITIONS
        if not (feed.positions_due or stale):
            return
        updates = await self._pool.run(
            latest_heard_since, feed.tenant_id, feed.polled_at - _POLL_OVERLAP
        )
        feed.positions.offer(live_position(encode_position(update)) for update in updates)
        feed.polled_at = now
        feed.positions_due = False


def _channels(tenant: str) -> tuple[str, str]:
    return positions_channel(tenant), events_channel(tenant)


async def _supervised(work: Callable[[], Awaitable[None]]) -> None:
    """Run an endless task again if a defect ends it: one bad message may not stop the feed."""
    while True:
        try:
            await work()
        except Exception:
            logger.exception("the feed met a defect and goes on")
            await asyncio.sleep(1)
