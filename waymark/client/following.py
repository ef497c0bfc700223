"""How the feed is followed: from cursor to cursor, over any number of connections. Pure.

As in `exchange`, a script yields what is to be done. An item counts as given out when it is
yielded in `Give`: from there on `since` covers it, and no connection brings it again.
"""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, timedelta
from typing import Generic, Literal, NamedTuple, Protocol, TypeVar

import msgspec

from waymark.client.calls import Call, Page, Param, path
from waymark.client.devices import Box, Position
from waymark.client.errors import (
    Forbidden,
    Gap,
    Lost,
    RateLimited,
    Refused,
    Unauthorized,
    Unavailable,
    Unintelligible,
)
from waymark.client.events import Event
from waymark.client.exchange import Authorize, Give, Patience, Pause, Script, exchange

Item_co = TypeVar("Item_co", covariant=True)
StateName = Literal["connecting", "catching_up", "live", "behind", "gap", "away"]

_SUBSCRIPTION = "s"
# Of a handshake that was refused, and of a websocket that was closed.
_UNAUTHORIZED, _FORBIDDEN, _NOT_UNDERSTOOD = {401, 4401}, {403, 4403}, 1008
# Of what was given out so much is remembered, for when the cursors begin anew.
_REMEMBERED = 10_000
# Clocks of several servers, and commits that overtook each other.
_SLACK = timedelta(minutes=1)
_PAGE = 1_000


class FeedState(NamedTuple):
    """How a feed fares; `detail` is a sentence for a log.

    `connecting`; `catching_up` with what was missed; `live`; `behind`: the api lacks Redis, so
    events come a second late; `gap`: the api does not know our cursor, and what can be told of the
    time between is read by REST; `away`: the connection ended, and is made anew after a pause.
    """

    name: StateName
    detail: str = ""


class Open(NamedTuple):
    """Connect to the feed under a token; thrown a `Lost` if that fails."""

    token: str


class Say(NamedTuple):
    """Send a message to the feed; thrown a `Lost`."""

    message: bytes


class Listen(NamedTuple):
    """Wait for the next message of the feed; told it, or thrown a `Lost`."""


class Frame(msgspec.Struct):
    """A message of the feed; which members it has, its type says."""

    type: str
    cursor: int | None = None
    more: bool = False
    live: bool = True
    event: msgspec.Raw = msgspec.Raw()
    positions: list[Position] = []
    updates: list[Position] = []
    message: str = ""
    field: str | None = None
    reason: str = ""


class Wanted(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a subscription is limited to, as the feed takes it; all given must fit."""

    types: Sequence[str] | None = None
    devices: Sequence[str] | None = None
    fences: Sequence[str] | None = None
    shipments: Sequence[str] | None = None
    bbox: Box | None = None
    positions: bool = True

    def fits(self, event: Event) -> bool:
        """Whether the feed would tell of an event."""
        family = event.type.partition(".")[0] + ".*"
        if self.types is not None and not {event.type, family} & set(self.types):
            return False
        for names, name in (
            (self.devices, event.subject),
            (self.fences, event.fence),
            (self.shipments, event.shipment),
        ):
            if names is not None and name not in names:
                return False
        return self.bbox is None or event.place is None or _holds(self.bbox, *event.place)


_frames = msgspec.json.Decoder(Frame)
_events = msgspec.json.Decoder(Event)


class Tail(Protocol[Item_co]):
    """What is made of the messages of one subscription, and where it goes on from."""

    @property
    def wanted(self) -> Wanted:
        """What is subscribed to."""

    @property
    def since(self) -> int | None:
        """Where to go on from; None: from now."""

    def take(self, frame: Frame, patience: Patience) -> Script[None]:
        """Give out what a message brought."""


class EventTail:
    """Events by their cursors: each once, in order.

    `since` is up to where everything was given out or did not fit; None until the first connection
    of a feed that starts from now.
    """

    def __init__(
        self, wanted: Wanted, since: int | None, known_until: datetime | None = None
    ) -> None:
        self.wanted = wanted
        self.since = since
        self._given: deque[tuple[str, int]] = deque(maxlen=_REMEMBERED)
        # When what was given out last was recorded.
        self._known_until = known_until

    def take(self, frame: Frame, patience: Patience) -> Script[None]:
        """Give out what a message brought."""
        match frame.type:
            case "event":
                yield from self._give(_events.decode(frame.event))
            case "gap" if frame.cursor is not None:
                yield from self._bridge(frame.cursor, patience)
            case "heartbeat" if frame.cursor is not None:
                self.since = max(self.since or 0, frame.cursor)
            case "snapshot" if self.since is None:
                self.since = frame.cursor
            case _:
                pass

    def _give(self, event: Event) -> Script[None]:
        if self.since is not None and event.cursor <= self.since:
            return
        self.since = event.cursor
        self._known_until = event.recorded_at
        self._given.append((event.id, event.revision))
        yield Give(event)

    def _bridge(self, head: int, patience: Patience) -> Script[None]:
        """Go on in an event log whose cursors are not the ones we know, from its `head`.

        A database that was brought back from a copy tells under new cursors what was recorded
        since. What of it is not behind `head` no feed will bring, so it is read by REST: back to
        when the last event was recorded that was given out, except what was.
        """
        if self._known_until is None:
            raise Gap(f"the api knows no cursor {self.since}: its last is {head}", head)
        missed = yield from self._missed(head, self._known_until - _SLACK, patience)
        self.since = None
        for event in missed:
            yield from self._give(event)
        self.since = head

    def _missed(self, head: int, known: datetime, patience: Patience) -> Script[list[Event]]:
        given = set(self._given)
        found = list[Event]()
        newest_first: dict[str, Param] = {"order": "desc", "limit": _PAGE}
        call = Call("GET", path("events"), Page[Event], newest_first)
        while True:
            page: Page[Event] = yield from exchange(call, patience)
            for event in page.items:
                if event.recorded_at < known:
                    return found[::-1]
                fresh = event.cursor <= head and (event.id, event.revision) not in given
                if fresh and self.wanted.fits(event):
                    found.append(event)
            if page.next is None:
                return found[::-1]
            call = call.at(page.next)


class PositionTail:
    """The newest fix of each device, never an older one after a newer."""

    since: int | None = None

    def __init__(self, wanted: Wanted) -> None:
        self.wanted = wanted
        self._newest: dict[str, datetime] = {}

    def take(self, frame: Frame, patience: Patience) -> Script[None]:
        """Give out what a message brought: a snapshot, or what moved."""
        del patience
        for position in (*frame.positions, *frame.updates):
            newest = self._newest.get(position.device)
            if newest is None or position.fix_time > newest:
                self._newest[position.device] = position.fix_time
                yield Give(position)


class Following(Generic[Item_co]):
    """A feed that is followed for ever: a connection that ends is replaced, after a pause.

    `on_state` is called with each change of how it fares.
    """

    def __init__(
        self, tail: Tail[Item_co], on_state: Callable[[FeedState], object] | None = None
    ) -> None:
        self.tail = tail
        self._on_state = on_state
        self._state: FeedState | None = None
        self._token = ""
        # A token that the feed did not take; None once it took one.
        self._refused: str | None = None
        self._pauses: Iterator[float]
        self._subscribed = self._caught_up = self._behind = False

    def script(self, patience: Patience) -> Script[None]:
        """What is to be done, without an end.

        Raises:
            Unauthorized: the credential is no good, and there is no newer one.
            Forbidden: it may not read the feed.
            Gap: it does not know the cursor to begin at, and nor do we know when that was.
            Refused: the filter means nothing; `field` names what of it.
        """
        self._pauses = patience.pauses()
        while True:
            self._tell("connecting")
            self._token = yield Authorize(self._refused)
            if self._token == self._refused:
                raise Unauthorized("the feed did not take this credential", status=401)
            try:
                yield Open(self._token)
                yield from self._converse(patience)
            except Lost as lost:
                yield from self._lost(lost)
            except (Unavailable, RateLimited) as exc:
                yield from self._lost(Lost(str(exc), retry_after_s=exc.retry_after_s))

    def _converse(self, patience: Patience) -> Script[None]:
        since = self.tail.since
        self._subscribed, self._caught_up = False, since is None
        wanted = {"id": _SUBSCRIPTION, "filter": self.tail.wanted}
        yield Say(_message("subscribe", wanted if since is None else {**wanted, "since": since}))
        while True:
            text = yield Listen()
            try:
                frame = _frames.decode(text)
            except msgspec.DecodeError as exc:
                raise Unintelligible(f"a message of the feed: {exc}") from exc
            yield from self._heed(frame, patience)
            yield from self.tail.take(frame, patience)

    def _heed(self, frame: Frame, patience: Patience) -> Script[None]:
        """What a message says of the connection itself."""
        match frame.type:
            case "snapshot" if not frame.more:
                # Whoever was told this much was let in: what goes wrong from here on is new.
                self._refused = None
                self._pauses = patience.pauses()
                self._subscribed = True
            case "heartbeat" if frame.cursor is not None:
                self._caught_up = True
            case "ready" | "status":
                self._behind = not frame.live
            case "gap":
                self._tell("gap", f"{frame.reason}: we know {self.tail.since}, it {frame.cursor}")
                return
            case "auth_expiring":
                self._token = yield Authorize(self._token)
                yield Say(_message("auth", {"token": self._token}))
            case "error":
                raise Refused(frame.message, field=frame.field)
            case _:
                return
        if self._subscribed:
            at: StateName = "behind" if self._behind else "live"
            self._tell(at if self._caught_up else "catching_up")

    def _lost(self, lost: Lost) -> Script[None]:
        if lost.code in _FORBIDDEN:
            raise Forbidden(lost.reason, status=403)
        if lost.code == _NOT_UNDERSTOOD:
            raise Refused(f"the feed did not understand this client: {lost.reason}")
        again, self._refused = self._refused is not None, None
        if lost.code in _UNAUTHORIZED:
            self._refused = self._token
            if not again:
                # The first time, a newer one may be at hand.
                return
        pause_s = max(next(self._pauses), lost.retry_after_s or 0.0)
        self._tell("away", f"{lost.reason}; trying again in {pause_s:.1f} s")
        yield Pause(pause_s)

    def _tell(self, name: StateName, detail: str = "") -> None:
        state = FeedState(name, detail)
        if self._on_state is not None and state != self._state:
            self._on_state(state)
        self._state = state


def _message(op: str, members: dict[str, object]) -> bytes:
    return msgspec.json.encode({"op": op, **members})


def _holds(bbox: Box, lon: float, lat: float) -> bool:
    west, south, east, north = bbox
    across = lon >= west or lon <= east
    return south <= lat <= north and (west <= lon <= east if west <= east else across)
