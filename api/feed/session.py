"""One client of the feed, however it is connected: its subscriptions, and the tasks behind them.

Each session owns, inside one task group: `feed.talk` (what the connection needs), `feed.guard` (is
the credential still good), `feed.watch` (does it keep up), and for each subscription that is
catching up a `feed.catch_up`. The first of them to end by `Closing` ends the session.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Protocol, TypeVar, cast

from api.feed.hub import Link, Mailbox, Subscription
from api.feed.messages import (
    Message,
    auth_expiring_message,
    event_message,
    gap_message,
    heartbeat_message,
    ready_message,
    snapshot_message,
)
from api.feed.requests import Mistake
from api.identity.auth import REFUSED
from api.identity.credentials import Grant, Proof
from api.services import Services
from tracking.errors import ProviderUnavailable, StoreUnavailable
from tracking.feed import encode_event, encode_position, live_event
from tracking.interest import Interest
from tracking.store.acting import Mandate, act
from tracking.store.devices import DeviceFilter, list_latest
from tracking.store.events import events_after, feed_cursor

if TYPE_CHECKING:
    from datetime import datetime

    from api.feed.fanout import TenantFeed

logger = logging.getLogger(__name__)

# Private-use codes modelled on HTTP's; the rest are RFC 6455's.
UNAUTHORIZED = 4401
FORBIDDEN = 4403
GOING_AWAY = 1012
TRY_AGAIN_LATER = 1013
POLICY_VIOLATION = 1008

_GUARD_S = 15.0
# An access token lives 15 minutes; a client hears this long before the end that it needs another.
_EXPIRING_S = 60.0
_MAX_SUBSCRIPTIONS = 32
_TRAILING_S = 0.1
# A page of a snapshot is about 250 kB; it leaves before the next is read.
_SNAPSHOT_PAGE = 1_000
_CATCH_UP_PAGE = 500


_T = TypeVar("_T", bound=BaseException)


class Closing(Exception):  # noqa: N818 -- an outcome, not an error
    """The session is over; the client is told why."""

    def __init__(self, code: int, reason: str) -> None:
        self.code = code
        self.reason = reason
        super().__init__(reason)


class PacedLink(Link, Protocol):
    """A link that can also be waited for."""

    def on_room(self, call: Callable[[], object]) -> None:
        """Have something called each time there is room again."""

    async def send(self, message: Message) -> None:
        """Send at the client's pace, in as few bytes as pays."""

    async def send_framed(self, data: bytes) -> None:
        """As `write`, at the client's pace."""


class Session:
    """One authenticated client.

    Raises:
        Closing: its credential is not for the feed.
    """

    def __init__(self, services: Services, grant: Grant, link: PacedLink) -> None:
        self._services = services
        self._grant = _permitted(grant)
        self._link = link
        self._overflowed = asyncio.Event()
        self._mailbox = Mailbox(link, self._overflowed.set)
        self._catching_up: dict[str | None, asyncio.Task[None]] = {}
        self._feed: TenantFeed
        self._group: asyncio.TaskGroup

    async def run(self, talk: Callable[["Session"], Awaitable[None]]) -> None:
        """Serve the client until `talk`, or the permission, ends.

        Raises:
            BaseExceptionGroup: of what ended it, `Closing` or an error of `talk`.
        """
        fanout = self._services.fanout
        act(Mandate.of(self._grant.principal, changes=False))
        with self._services.metrics.clients.track_inprogress():
            async with (
                fanout.join(self._grant.principal, self._mailbox) as self._feed,
                asyncio.TaskGroup() as self._group,
            ):
                self._link.on_room(self._flush)
                await self.send(ready_message(live=fanout.live))
                self._group.create_task(self._guard(), name="feed.guard")
                self._group.create_task(self._watch(), name="feed.watch")
                await talk(self)

    async def send(self, message: Message) -> None:
        """Send at the client's pace, beside what fan-out has for it."""
        self._services.metrics.frames.inc()
        await self._link.send(message)

    def say(self, message: Message) -> None:
        """Send behind everything fan-out has for the client."""
        self._mailbox.say(message)

    def subscribe(self, name: str | None, interest: Interest, since: int | None) -> None:
        """Start a stream: a snapshot, then events after `since`, or else from now.

        Raises:
            Mistake: the name is in use, or there are too many.
        """
        subscriptions = self._mailbox.subscriptions
        if name in subscriptions:
            raise Mistake(f"{name!r} is in use: unsubscribe it first", "id")
        if len(subscriptions) >= _MAX_SUBSCRIPTIONS:
            raise Mistake(f"at most {_MAX_SUBSCRIPTIONS} subscriptions", "id")
        subscription = Subscription(name, interest, self._mailbox)
        subscriptions[name] = subscription
        self._feed.index.add(interest, subscription)
        self._catching_up[name] = self._group.create_task(
            self._catch_up(subscription, since), name="feed.catch_up"
        )

    def unsubscribe(self, name: str) -> None:
        """End a stream; its name is free at once, whatever it still has to finish.

        Raises:
            Mistake: there is no such stream.
        """
        subscription = self._mailbox.subscriptions.pop(name, None)
        if subscription is None:
            raise Mistake(f"there is no subscription {name!r}", "id")
        self._feed.index.discard(subscription.interest, subscription)
        self._catching_up.pop(name).cancel()

    def _flush(self) -> None:
        self._services.metrics.frames.inc(self._mailbox.flush())

    async def renew(self, token: str) -> None:
        """Live on by a newer credential of the same tenant, so that no stream has to start anew.

        Raises:
            Closing: it is not good, or another tenant's.
        """
        # While the database is away nobody can be judged; the one there is goes on.
        with suppress(StoreUnavailable, ProviderUnavailable):
            grant = await self._services.credentials.grant(token.strip())
            if grant is None:
                raise Closing(UNAUTHORIZED, REFUSED)
            if grant.principal.tenant_id != self._grant.principal.tenant_id:
                raise Closing(UNAUTHORIZED, "this credential is of another tenant")
            self._grant = _permitted(grant)

    async def _catch_up(self, subscription: Subscription, since: int | None) -> None:
        """Bring a subscription from its cursor to the tenant's line, then put it on the line.

        Events are read from the database and sent at the client's pace, so nothing piles up
        however long it takes. The step onto the line leaves no hole: it is taken only when
        everything the line gave out so far is covered, in the same turn of the event loop.
        """
        read, feed = self._services.fanout.read, self._feed
        await feed.ready.wait()
        head = await read(feed_cursor, feed.tenant_id)
        cursor = head if since is None or since > head else since
        await self._snapshot(subscription, cursor)
        if since is not None and since > head:
            await self.send(gap_message(subscription.head, head, "cursor_ahead"))
        while feed.events.head is None or cursor < feed.events.head:
            page = await read(events_after, feed.tenant_id, cursor, limit=_CATCH_UP_PAGE)
            events = [live_event(encode_event(record)) for record in page.events]
            frames = [
                self._link.wire(event_message(subscription.head, event))
                for event in events
                if subscription.interest.wants_event(event)
            ]
            if frames:
                self._services.metrics.frames.inc(len(frames))
                await self._link.send_framed(b"".join(frames))
            if page.covered == cursor:
                # Told of by Redis, not yet here: a database that trails its primary.
                await asyncio.sleep(_TRAILING_S)
            cursor = page.covered
        subscription.live_after = cursor
        self._flush()
        if since is not None:
            # Whoever missed something learns that this was all of it.
            self.say(heartbeat_message(subscription.head, cursor))

    async def _snapshot(self, subscription: Subscription, cursor: int) -> None:
        interest = subscription.interest
        if interest.shipments is not None:
            await self._services.fanout.find_carriers(self._feed)
        devices = self._feed.index.devices_of(interest)
        names = None if devices is None else tuple(devices)
        wanted = DeviceFilter(names=names, bbox=interest.bbox)
        told: dict[str, datetime] = {}
        more, after = interest.positions, None
        if not more:
            await self.send(snapshot_message(subscription.head, cursor, [], more=False))
        while more:
            page = await self._services.fanout.read(
                list_latest, self._feed.tenant_id, wanted, after=after, limit=_SNAPSHOT_PAGE
            )
            more = len(page) == _SNAPSHOT_PAGE
            told.update((position.device, position.fix_time) for position in page)
            after = page[-1].device if page else None
            encoded = [encode_position(position) for position in page]
            await self.send(snapshot_message(subscription.head, cursor, encoded, more=more))
        self._feed.positions.learn(told)
        subscription.start(told)
        self._flush()

    async def _guard(self) -> None:
        warned: Proof | None = None
        while True:
            proof = self._grant.proof
            left_s = proof.ends_s - time.time()
            if left_s <= _EXPIRING_S and proof is not warned:
                warned = proof
                self.say(auth_expiring_message(max(0, round(left_s))))
            next_s = left_s if proof is warned else left_s - _EXPIRING_S
            await asyncio.sleep(max(0.0, min(_GUARD_S, next_s)))
            # While the database is away nobody can be judged.
            with suppress(StoreUnavailable):
                if await self._services.credentials.principal(self._grant.proof) is None:
                    raise Closing(UNAUTHORIZED, "this credential has expired or was revoked")

    async def _watch(self) -> None:
        await self._overflowed.wait()
        self._services.metrics.closed_slow.inc()
        raise Closing(TRY_AGAIN_LATER, "too slow: come back with the cursor of your last event")


def first_of(group: BaseExceptionGroup[_T]) -> _T:
    """The exception a group stands for: whatever ended a session first."""
    exc: BaseException = group
    while isinstance(exc, BaseExceptionGroup):
        exc = exc.exceptions[0]
    return cast("_T", exc)


def _permitted(grant: Grant) -> Grant:
    if not grant.principal.may("feed", "read"):
        raise Closing(FORBIDDEN, "this credential may not read the feed")
    return grant
