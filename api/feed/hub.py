"""Who gets what, and what becomes of what nobody fetched in time. Pure: no sockets, no tasks.

Two promises decide everything here. Positions: a slow client gets the newest of each device,
never a stale backlog. Events: every one that follows a cursor, in cursor order, once; a client
that cannot keep up is told to come back with its cursor, because skipping one is not an option.
"""

from collections import deque
from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Protocol

from api.feed.messages import Message, Wire, head_of, positions_message
from tracking.feed import LiveEvent, LivePosition
from tracking.interest import Interest

# What one client may leave unread. 1,000 events are minutes of a busy fleet; 1 MiB is what a
# thousand slow clients may cost in total before it hurts: 1 GiB.
MAX_EVENTS = 1_000
MAX_EVENT_BYTES = 1_048_576
# Events that come in one breath leave in one write, but not so late that they reach the bound.
_FLUSH_AT = 100
_WRITE_BYTES = 65_536


class Batch:
    """Positions of one tick. Immutable, and shared by every client that takes all of them."""

    def __init__(self, positions: Iterable[LivePosition]) -> None:
        self.positions = tuple(positions)
        self._frames: dict[tuple[bytes, Wire], bytes] = {}

    def frame(self, head: bytes, wire: Wire) -> bytes:
        """The message of this batch as bytes for a socket; made once for all who share both."""
        frame = self._frames.get((head, wire))
        if frame is None:
            message = positions_message(head, [position.raw for position in self.positions])
            frame = self._frames[head, wire] = wire(message)
        return frame


class PositionLine:
    """The positions of one tenant between two ticks: the newest of each device, never an older.

    Several workers, a repaired history and the polling of the database may all tell of one
    device; time on the device decides, so a client never sees it jump back.
    """

    def __init__(self) -> None:
        self._newest: dict[str, datetime] = {}
        # Devices whose newest fix only a snapshot told so far, that is, one client.
        self._untold: set[str] = set()
        self._pending: dict[str, LivePosition] = {}

    def offer(self, positions: Iterable[LivePosition]) -> None:
        """Take what a message or a poll brought; only ok fixes say where a device is."""
        for position in positions:
            if position.quality == "ok" and self._is_news(position.device, position.fix_time):
                self._newest[position.device] = position.fix_time
                self._untold.discard(position.device)
                self._pending[position.device] = position

    def learn(self, fix_times: dict[str, datetime]) -> None:
        """Note what a snapshot told its client: nothing older may follow.

        The fixes themselves are still news to the others and pass when they come.
        """
        for device, fix_time in fix_times.items():
            newest = self._newest.get(device)
            if newest is None or fix_time > newest:
                self._newest[device] = fix_time
                self._untold.add(device)

    def _is_news(self, device: str, fix_time: datetime) -> bool:
        newest = self._newest.get(device)
        if newest is None or fix_time > newest:
            return True
        return fix_time == newest and device in self._untold

    def take(self) -> Batch | None:
        """What is new since the last call."""
        if not self._pending:
            return None
        batch = Batch(self._pending.values())
        self._pending = {}
        return batch


class EventLine:
    """The order of one tenant's events: decides which may go out and when to read the database.

    `head` is the last cursor that went out; everything up to it did. None before the first look
    at the database.
    """

    def __init__(self) -> None:
        self.head: int | None = None
        self.reading = False
        self.wanted = 0

    def offer(self, cursor: int) -> bool:
        """Whether the event of this cursor is next and may go out now.

        If not, it is an old one, or there is a hole before it: then `behind` becomes true. While
        a read is under way nothing goes out directly; the read, or the next one, brings it.
        """
        if self.head is not None and not self.reading and cursor == self.head + 1:
            self.head = cursor
            return True
        self.wanted = max(self.wanted, cursor)
        return False

    @property
    def behind(self) -> bool:
        """Whether a cursor is known of whose events have not gone out."""
        return self.head is None or self.wanted > self.head

    def advance(self, covered: int) -> bool:
        """Note that everything up to `covered` went out; False if that is nothing new.

        An event told of but not in the database cannot be waited for: it is forgotten.
        """
        if self.head is None or covered > self.head:
            self.head = covered
            return True
        self.wanted = 0
        return False


class Subscription:
    """One interest of one client, and the positions it has not fetched yet.

    `live_after` is None while the client catches up with the database by itself, then the last
    cursor it has; from there on the tenant's line feeds it.
    """

    def __init__(self, name: str | None, interest: Interest, mailbox: "Mailbox") -> None:
        self.interest = interest
        self.mailbox = mailbox
        self.live_after: int | None = None
        self.head = head_of(name)
        self._pending: Batch | dict[str, LivePosition] | None = None
        self._snapshot_told = False

    def offer_positions(self, batch: Batch) -> None:
        """Add the positions of a tick that fit the interest."""
        if self._pending is None:
            # The usual case, a client that keeps up: nothing is copied.
            self._pending = batch
            return
        if isinstance(self._pending, Batch):
            self._pending = {p.device: p for p in self._pending.positions}
        self._pending.update({p.device: p for p in batch.positions})

    def start(self, fix_times: dict[str, datetime]) -> None:
        """Let positions flow, from the ones that a snapshot with these times did not tell."""
        self._snapshot_told = True
        if self._pending is None:
            return
        waiting = (
            self._pending.positions if isinstance(self._pending, Batch) else self._pending.values()
        )
        kept = {
            p.device: p
            for p in waiting
            if p.device not in fix_times or p.fix_time > fix_times[p.device]
        }
        self._pending = kept or None

    def take_positions(self, wire: Wire) -> bytes | None:
        """The message of what is waiting; nothing before `start`."""
        if self._pending is None or not self._snapshot_told:
            return None
        pending, self._pending = self._pending, None
        batch = pending if isinstance(pending, Batch) else Batch(pending.values())
        return batch.frame(self.head, wire)

    def is_live_for(self, event: LiveEvent) -> bool:
        """Whether the tenant's line is to give the subscription an event that fits its interest."""
        return self.live_after is not None and event.cursor > self.live_after


class Outbox:
    """Event messages a client has not fetched yet, in order, up to a bound."""

    def __init__(self) -> None:
        self._frames: deque[bytes] = deque()
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._frames)

    def put(self, frame: bytes) -> bool:
        """Queue a message; False when the bound is passed and the client must go."""
        self._frames.append(frame)
        self._bytes += len(frame)
        return len(self._frames) <= MAX_EVENTS and self._bytes <= MAX_EVENT_BYTES

    def take(self) -> list[bytes]:
        """The oldest messages, enough for one write."""
        frames: list[bytes] = []
        taken = 0
        while self._frames and taken < _WRITE_BYTES:
            frames.append(self._frames.popleft())
            taken += len(frames[-1])
        self._bytes -= taken
        return frames


class Link(Protocol):
    """Where the bytes of one client go; made anew for each connection."""

    wire: Wire

    @property
    def has_room(self) -> bool:
        """Whether what is written now leaves soon: the client keeps up."""

    def write(self, data: bytes) -> None:
        """Send, or hold until the client reads; nothing once the link is closed."""


class Mailbox:
    """What fan-out sees of a client: its subscriptions, its events, and the link to it.

    `flush` is called when something was put, and by the link when it has room again. `overflow`
    is called once, when the bound is passed.
    """

    def __init__(self, link: Link, overflow: Callable[[], None]) -> None:
        self.subscriptions: dict[str | None, Subscription] = {}
        self.wire = link.wire
        self._link = link
        self._outbox = Outbox()
        self._overflow = overflow
        self._full = False

    @property
    def idle(self) -> bool:
        """Whether no event waits."""
        return not self._outbox

    def say(self, message: Message) -> None:
        """Send a message of no subscription behind everything put before."""
        self.put(self.wire(message))
        self.flush()

    def put(self, frame: bytes) -> None:
        """Queue a message that may not be lost; past the bound the client is given up."""
        if self._full:
            return
        if not self._outbox.put(frame):
            self._full = True
            self._overflow()
        elif len(self._outbox) >= _FLUSH_AT:
            self.flush()

    def flush(self) -> int:
        """Give the link what waits, in one write if it is not much; how many messages that were.

        Where it has no room events go on waiting, and positions become fewer and newer.
        """
        told = 0
        while self._link.has_room:
            frames = self._outbox.take()
            if not self._outbox:
                for subscription in self.subscriptions.values():
                    positions = subscription.take_positions(self.wire)
                    if positions is not None:
                        frames.append(positions)
            if not frames:
                break
            # Joining one would copy what all clients share.
            self._link.write(frames[0] if len(frames) == 1 else b"".join(frames))
            told += len(frames)
            if not self._outbox:
                break
        return told
