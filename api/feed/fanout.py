"""The hub's shell: one Redis subscriber for all tenants with clients, and the database behind it.

Owns four kinds of tasks: `fanout.listen` reads Redis, `fanout.tick` hands out positions ten times a
second, `fanout.heartbeat` tells clients that they are up to date, and `fanout.follow:<tenant>`, one
per tenant with clients, reads events from the database when the live ones have a hole, when Redis
is away, and now and then in case a publisher was cut off while we were not. Leaving the context
ends them all.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing, asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Concatenate, ParamSpec, Self, TypeVar

import msgspec

from api.feed.audience import Audience, InterestIndex
from api.feed.hub import Batch, EventLine, Mailbox, PositionLine, Subscription
from api.feed.messages import Wire, event_message, heartbeat_message, status_message
from api.metrics import Metrics
from tracking.access import Principal
from tracking.errors import StoreUnavailable
from tracking.feed import (
    NOTICES,
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
from tracking.store.connection import Connection
from tracking.store.custody import devices_of_shipments
from tracking.store.devices import latest_heard_since
from tracking.store.events import events_after, feed_cursor
from tracking.store.pool import ReadPool

logger = logging.getLogger(__name__)

P = ParamSpec("P")
T = TypeVar("T")

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
# Proxies commonly cut what is silent for a minute, and a browser sees no pings.
_HEARTBEAT_S = 15.0
# When a process starts, a thousand clients come at once; the other connections answer requests.
_READERS = 4


class _Notice(msgspec.Struct):
    tenant: str = ""
    attachments: int | None = None


_notices = msgspec.json.Decoder(_Notice)


class TenantFeed:
    """One tenant's line of events and positions to its clients."""

    def __init__(self, tenant_id: int, tenant: str, metrics: Metrics) -> None:
        self.tenant_id = tenant_id
        self.tenant = tenant
        self.events = EventLine()
        self.positions = PositionLine()
        self.mailboxes: set[Mailbox] = set()
        self.index = InterestIndex[Subscription]()
        self._metrics = metrics
        # Mailboxes with something new, to be flushed together.
        self._touched: dict[Mailbox, None] = {}
        # Set when the database must be read; cleared by the task that does.
        self.kick = asyncio.Event()
        self.kick.set()
        # Set once the head of `events` is known.
        self.ready = asyncio.Event()
        self.positions_due = True
        self.carriers_due = True
        self.polled_at = datetime.now(UTC)
        self.follower: asyncio.Task[None] | None = None

    def deliver(self, event: LiveEvent) -> None:
        """Give an event to every live subscription that wants it, in this turn of the loop."""
        frames: dict[tuple[bytes, Wire], bytes] = {}
        for audience in self.index.audiences_of(event):
            for subscription in audience.members:
                if subscription.is_live_for(event):
                    head, mailbox = subscription.head, subscription.mailbox
                    frame = frames.get((head, mailbox.wire))
                    if frame is None:
                        frame = mailbox.wire(event_message(head, event))
                        frames[head, mailbox.wire] = frame
                    mailbox.put(frame)
                    self._touch(mailbox)

    def tick(self) -> None:
        """Hand out the positions since the last tick."""
        batch = self.positions.take()
        if batch is None:
            return
        for audience in self.index.whole:
            self._offer(audience, batch)
        for audience, positions in self.index.choose(batch.positions).items():
            self._offer(audience, Batch(positions))
        self._flush()

    def heartbeat(self) -> None:
        """Tell every client with nothing on its way to it how far it is."""
        for mailbox in self.mailboxes:
            if not mailbox.idle:
                continue
            live = [s for s in mailbox.subscriptions.values() if s.live_after is not None]
            for subscription in live:
                cursor = max(subscription.live_after or 0, self.events.head or 0)
                mailbox.put(mailbox.wire(heartbeat_message(subscription.head, cursor)))
            if not live:
                mailbox.put(mailbox.wire(heartbeat_message(b"{", None)))
            self._touched[mailbox] = None
        self._flush()

    def _offer(self, audience: Audience[Subscription], batch: Batch) -> None:
        for subscription in audience.members:
            subscription.offer_positions(batch)
            self._touched[subscription.mailbox] = None

    def _touch(self, mailbox: Mailbox) -> None:
        if not self._touched:
            # Events that come in one breath, in one read from Redis, leave in one write.
            asyncio.get_running_loop().call_soon(self._flush)
        self._touched[mailbox] = None

    def _flush(self) -> None:
        touched, self._touched = self._touched, {}
        self._metrics.frames.inc(sum(mailbox.flush() for mailbox in touched))


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
        self._turns = asyncio.Semaphore(_READERS)
        self.live = False

    async def __aenter__(self) -> Self:
        self._tasks = [
            asyncio.create_task(_supervised(self._listen), name="fanout.listen"),
            asyncio.create_task(_supervised(self._tick), name="fanout.tick"),
            asyncio.create_task(_supervised(self._heartbeat), name="fanout.heartbeat"),
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
            feed = TenantFeed(principal.tenant_id, principal.tenant, self._metrics)
            self._feeds[feed.tenant] = feed
        feed.mailboxes.add(mailbox)
        try:
            if feed.follower is None:
                feed.follower = asyncio.create_task(
                    _supervised(partial(self._follow, feed)), name=f"fanout.follow:{feed.tenant}"
                )
                await self._subscriber.subscribe(NOTICES, *_channels(feed.tenant))
            yield feed
        finally:
            feed.mailboxes.discard(mailbox)
            for subscription in mailbox.subscriptions.values():
                feed.index.discard(subscription.interest, subscription)
            if not feed.mailboxes and self._feeds.get(feed.tenant) is feed:
                del self._feeds[feed.tenant]
                if feed.follower is not None:
                    feed.follower.cancel()
                unheard = _channels(feed.tenant)
                await self._subscriber.unsubscribe(
                    *(unheard if self._feeds else (NOTICES, *unheard))
                )

    async def read(
        self,
        query: Callable[Concatenate[Connection, P], Awaitable[T]],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> T:
        """Run a query for a client that waits its turn, as `ReadPool.run`."""
        async with self._turns:
            return await self._pool.run(query, *args, **kwargs)

    async def find_carriers(self, feed: TenantFeed) -> None:
        """Have a tenant's feed know what carries the shipments its clients follow."""
        feed.carriers_due = False
        wanted = sorted(feed.index.shipments)
        if wanted:
            feed.index.carry(await self.read(devices_of_shipments, feed.tenant_id, wanted))

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
        if channel == NOTICES:
            self._notice(payload)
            return
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

    def _notice(self, payload: bytes) -> None:
        """An edit of what carries what is felt at once; without the notice, within seconds."""
        with suppress(msgspec.DecodeError):
            notice = _notices.decode(payload)
            feed = self._feeds.get(notice.tenant)
            if feed is not None and notice.attachments is not None:
                feed.carriers_due = True
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
                mailbox.say(status_message(live=live))

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(_TICK_S)
            for feed in self._feeds.values():
                feed.tick()

    async def _heartbeat(self) -> None:
        while True:
            await asyncio.sleep(_HEARTBEAT_S)
            for feed in self._feeds.values():
                feed.heartbeat()

    async def _follow(self, feed: TenantFeed) -> None:
        # For the tenant, not for the client that happened to be the first.
        act(Mandate.reader(feed.tenant_id))
        while True:
            try:
                async with asyncio.timeout(_RECHECK_S if self.live else _POLL_EVENTS_S):
                    await feed.kick.wait()
            except TimeoutError:
                # Some begin and end by the clock.
                feed.carriers_due = True
            feed.kick.clear()
            try:
                if feed.carriers_due:
                    await self.find_carriers(feed)
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
