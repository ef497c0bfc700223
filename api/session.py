"""One websocket: what a client asks for, and the tasks that answer it.

Each session owns, inside one task group: `feed.read` (the client's messages), `feed.write` (what
fan-out left in the mailbox), `feed.guard` (is the credential still good), and for each subscription
that is catching up a `feed.catch_up:<id>`. The first of them to end by `_Close` ends the session.
"""

import asyncio
import logging
import re
from contextlib import suppress
from typing import TYPE_CHECKING, Annotated, TypeVar, cast

import msgspec
from starlette.websockets import WebSocket, WebSocketDisconnect

from api.auth import REFUSED
from api.credentials import MAX_TOKEN, Grant
from api.fanout import Mailbox, TenantFeed
from api.hub import Subscription, error_frame, event_frame, gap_frame, snapshot_frame
from api.schemas import checked_bbox
from api.services import Services
from tracking.errors import ProviderUnavailable, StoreUnavailable
from tracking.feed import encode_event, encode_position, live_event
from tracking.interest import Interest
from tracking.store.acting import Mandate, act
from tracking.store.devices import DeviceFilter, list_latest
from tracking.store.events import events_after, feed_cursor

if TYPE_CHECKING:
    from datetime import datetime

logger = logging.getLogger(__name__)

# Private-use codes modelled on HTTP's; the rest are RFC 6455's.
UNAUTHORIZED = 4401
FORBIDDEN = 4403
TRY_AGAIN_LATER = 1013
POLICY_VIOLATION = 1008

_AUTH_WITHIN_S = 5.0
_GUARD_S = 15.0
_MAX_SUBSCRIPTIONS = 32
_MAX_MISTAKES = 100
_TRAILING_S = 0.1
_CLOSE_WITHIN_S = 5.0
# A page of a snapshot is about 250 kB; it leaves before the next is read.
_SNAPSHOT_PAGE = 1_000
_CATCH_UP_PAGE = 500


Short = Annotated[str, msgspec.Meta(min_length=1, max_length=256)]
Token = Annotated[str, msgspec.Meta(min_length=1, max_length=MAX_TOKEN)]
Cursor = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]


class Filter(msgspec.Struct, forbid_unknown_fields=True):
    """What a subscription is limited to."""

    bbox: tuple[float, float, float, float] | None = None
    devices: Annotated[list[Short], msgspec.Meta(max_length=10_000)] | None = None
    types: Annotated[list[Short], msgspec.Meta(max_length=100)] | None = None


class Auth(msgspec.Struct, tag_field="op", tag="auth", forbid_unknown_fields=True):
    """The first message of a client that cannot set headers; later, a newer token."""

    token: Token


class Subscribe(msgspec.Struct, tag_field="op", tag="subscribe", forbid_unknown_fields=True):
    """Start a stream under a name of the client's choosing."""

    id: Short
    filter: Filter = msgspec.field(default_factory=Filter)
    since: Cursor | None = None


class Unsubscribe(msgspec.Struct, tag_field="op", tag="unsubscribe", forbid_unknown_fields=True):
    """End a stream."""

    id: Short


class Ping(msgspec.Struct, tag_field="op", tag="ping", forbid_unknown_fields=True):
    """Ask for a pong, for clients that cannot see the protocol's own."""


class _Named(msgspec.Struct):
    id: str | None = None


_requests = msgspec.json.Decoder(Auth | Subscribe | Unsubscribe | Ping)
_requests_auth = msgspec.json.Decoder(Auth)
_named = msgspec.json.Decoder(_Named)
# The member msgspec's message is about: "... unknown field `x`", "... - at `$.filter.bbox[0]`".
_MEMBER = re.compile(r"field `(\w+)`|at `\$\.([\w.]+)")
_T = TypeVar("_T", bound=BaseException)


class _Close(Exception):  # noqa: N818 -- an outcome, not an error
    def __init__(self, code: int, reason: str) -> None:
        self.code = code
        self.reason = reason
        super().__init__(reason)


async def serve_socket(websocket: WebSocket, services: Services) -> None:
    """Serve one accepted websocket until either side ends it."""
    try:
        grant = await _authenticate(websocket, services)
        act(Mandate.of(grant.principal, changes=False))
        await Session(websocket, services, grant).run()
    except* _Close as group:
        closing = _first(group)
        await _close(websocket, closing.code, closing.reason)
    except* (StoreUnavailable, ProviderUnavailable) as group:
        logger.warning("a feed client is sent away: %s", _first(group))
        await _close(websocket, TRY_AGAIN_LATER, "what the api needs is away, come back later")
    except* WebSocketDisconnect:
        pass


class Session:
    """One authenticated websocket."""

    def __init__(self, websocket: WebSocket, services: Services, grant: Grant) -> None:
        self._websocket = websocket
        self._services = services
        self._grant = grant
        self._woken = asyncio.Event()
        self._overflowed = asyncio.Event()
        self._mailbox = Mailbox(self._woken.set, self._overflowed.set)
        self._catching_up: dict[str, asyncio.Task[None]] = {}

    async def run(self) -> None:
        """Answer the client until the connection or the permission ends.

        Raises:
            BaseExceptionGroup: of the `_Close` or WebSocketDisconnect that ended it.
        """
        with self._services.metrics.clients.track_inprogress():
            async with (
                self._services.fanout.join(self._grant.principal, self._mailbox) as feed,
                asyncio.TaskGroup() as group,
            ):
                await self._send(
                    f'{{"type":"ready","live":{str(self._services.fanout.live).lower()}}}'
                )
                group.create_task(self._read(feed, group), name="feed.read")
                group.create_task(self._write(), name="feed.write")
                group.create_task(self._guard(), name="feed.guard")
                group.create_task(self._watch_overflow(), name="feed.watch")

    async def _send(self, frame: str) -> None:
        self._services.metrics.frames.inc()
        await self._websocket.send_text(frame)

    async def _read(self, feed: TenantFeed, group: asyncio.TaskGroup) -> None:
        mistakes = 0
        while True:
            text = await _receive(self._websocket)
            try:
                request = _requests.decode(text)
                if isinstance(request, Auth):
                    await self._renew(request.token)
                else:
                    self._obey(request, feed, group)
            except (msgspec.DecodeError, ValueError) as exc:
                mistakes += 1
                if mistakes > _MAX_MISTAKES:
                    raise _Close(POLICY_VIOLATION, "too many messages not understood") from None
                await self._send(_explain(text, exc))

    def _obey(
        self,
        request: Subscribe | Unsubscribe | Ping,
        feed: TenantFeed,
        group: asyncio.TaskGroup,
    ) -> None:
        subscriptions = self._mailbox.subscriptions
        match request:
            case Ping():
                self._mailbox.put('{"type":"pong"}')
            case Unsubscribe(id=name):
                if subscriptions.pop(name, None) is None:
                    raise _Mistake(f"there is no subscription {name!r}", "id")
                task = self._catching_up.pop(name, None)
                if task is not None:
                    # Its name is free at once, whatever the old stream still has to finish.
                    task.cancel()
            case Subscribe(id=name):
                if name in subscriptions:
                    raise _Mistake(f"{name!r} is in use: unsubscribe it first", "id")
                if len(subscriptions) >= _MAX_SUBSCRIPTIONS:
                    raise _Mistake(f"at most {_MAX_SUBSCRIPTIONS} subscriptions", "id")
                subscription = Subscription(name, _interest(request.filter))
                subscriptions[name] = subscription
                task = group.create_task(
                    self._catch_up(feed, subscription, request.since),
                    name=f"feed.catch_up:{name}",
                )
                self._catching_up[name] = task

    async def _renew(self, token: str) -> None:
        """Live on by a newer credential of the same tenant, so that no stream has to start anew."""
        # While the database is away nobody can be judged; the one there is goes on.
        with suppress(StoreUnavailable, ProviderUnavailable):
            grant = await self._services.credentials.grant(token.strip())
            if grant is None:
                raise _Close(UNAUTHORIZED, REFUSED)
            if grant.principal.tenant_id != self._grant.principal.tenant_id:
                raise _Close(UNAUTHORIZED, "this credential is of another tenant")
            self._grant = _permitted(grant)

    async def _catch_up(
        self, feed: TenantFeed, subscription: Subscription, since: int | None
    ) -> None:
        """Bring a subscription from its cursor to the tenant's line, then put it on the line.

        Events are read from the database and sent at the client's pace, so nothing piles up
        however long it takes. The step onto the line leaves no hole: it is taken only when
        everything the line gave out so far is covered, in the same turn of the event loop.
        """
        pool = self._services.pool
        await feed.ready.wait()
        head = await pool.run(feed_cursor, feed.tenant_id)
        cursor = head if since is None or since > head else since
        await self._snapshot(feed, subscription, cursor)
        if since is not None and since > head:
            await self._send(gap_frame(subscription, head, "cursor_ahead"))
        while feed.events.head is None or cursor < feed.events.head:
            page = await pool.run(events_after, feed.tenant_id, cursor, limit=_CATCH_UP_PAGE)
            for record in page.events:
                event = live_event(encode_event(record))
                if subscription.interest.wants_event(event):
                    await self._send(event_frame(subscription, event))
            if page.covered == cursor:
                # Told of by Redis, not yet here: a database that trails its primary.
                await asyncio.sleep(_TRAILING_S)
            cursor = page.covered
        subscription.live_after = cursor
        self._woken.set()

    async def _snapshot(self, feed: TenantFeed, subscription: Subscription, cursor: int) -> None:
        interest = subscription.interest
        names = None if interest.devices is None else tuple(interest.devices)
        wanted = DeviceFilter(names=names, bbox=interest.bbox)
        told: dict[str, datetime] = {}
        more, after = True, None
        while more:
            page = await self._services.pool.run(
                list_latest,
                feed.tenant_id,
                wanted,
                after=after,
                limit=_SNAPSHOT_PAGE,
            )
            more = len(page) == _SNAPSHOT_PAGE
            told.update((position.device, position.fix_time) for position in page)
            after = page[-1].device if page else None
            encoded = [encode_position(position) for position in page]
            await self._send(snapshot_frame(subscription, cursor, encoded, more=more))
        feed.positions.learn(told)
        subscription.start(told)
        self._woken.set()

    async def _write(self) -> None:
        while True:
            await self._woken.wait()
            self._woken.clear()
            while (frame := self._next_frame()) is not None:
                await self._send(frame)

    def _next_frame(self) -> str | None:
        frame = self._mailbox.outbox.take()
        if frame is not None:
            return frame
        for subscription in self._mailbox.subscriptions.values():
            frame = subscription.take_positions()
            if frame is not None:
                return frame
        return None

    async def _guard(self) -> None:
        while True:
            await asyncio.sleep(_GUARD_S)
            # While the database is away nobody can be judged.
            with suppress(StoreUnavailable):
                if await self._services.credentials.principal(self._grant.proof) is None:
                    raise _Close(UNAUTHORIZED, "this credential has expired or was revoked")

    async def _watch_overflow(self) -> None:
        await self._overflowed.wait()
        self._services.metrics.closed_slow.inc()
        raise _Close(TRY_AGAIN_LATER, "too slow: come back with the cursor of your last event")


class _Mistake(ValueError):  # noqa: N818 -- the client's, answered and not raised further
    def __init__(self, message: str, field: str) -> None:
        self.field = field
        super().__init__(message)


def _permitted(grant: Grant) -> Grant:
    if not grant.principal.may("feed", "read"):
        raise _Close(FORBIDDEN, "this credential may not read the feed")
    return grant


async def _authenticate(websocket: WebSocket, services: Services) -> Grant:
    scheme, _, token = websocket.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer":
        try:
            async with asyncio.timeout(_AUTH_WITHIN_S):
                token = _requests_auth.decode(await _receive(websocket)).token
        except TimeoutError:
            raise _Close(UNAUTHORIZED, "no credential came in time") from None
        except msgspec.DecodeError:
            raise _Close(
                UNAUTHORIZED,
                'the first message must be {"op":"auth","token":"<key or access token>"}',
            ) from None
    grant = await services.credentials.grant(token.strip())
    if grant is None:
        raise _Close(UNAUTHORIZED, REFUSED)
    return _permitted(grant)


async def _receive(websocket: WebSocket) -> str:
    message = await websocket.receive()
    if message["type"] == "websocket.disconnect":
        raise WebSocketDisconnect(message.get("code", 1005))
    return message.get("text") or ""


async def _close(websocket: WebSocket, code: int, reason: str) -> None:
    # The client may have gone meanwhile, which is what was wanted.
    with suppress(RuntimeError, WebSocketDisconnect, TimeoutError):
        async with asyncio.timeout(_CLOSE_WITHIN_S):
            await websocket.close(code, reason)


def _interest(wanted: Filter) -> Interest:
    bbox = None
    if wanted.bbox is not None:
        try:
            bbox = checked_bbox(list(wanted.bbox))
        except ValueError as exc:
            raise _Mistake(f"bbox: {exc}", "bbox") from None
    return Interest(
        devices=None if wanted.devices is None else frozenset(wanted.devices),
        bbox=bbox,
        types=None if wanted.types is None else frozenset(wanted.types),
    )


def _explain(text: str, exc: Exception) -> str:
    """The answer to a message that cannot be obeyed, naming its subscription where it has one."""
    try:
        name = _named.decode(text).id
    except msgspec.DecodeError:
        name = None
    if isinstance(exc, _Mistake):
        return error_frame("invalid", str(exc), name=name, field=exc.field)
    member = _MEMBER.search(str(exc))
    return error_frame(
        "invalid", str(exc), name=name, field=(member[1] or member[2]) if member else None
    )


def _first(group: BaseExceptionGroup[_T]) -> _T:
    exc: BaseException = group
    while isinstance(exc, BaseExceptionGroup):
        exc = exc.exceptions[0]
    return cast("_T", exc)
