"""Who gets what, and what becomes of what nobody fetched in time. Pure: no sockets, no tasks.

Two promises decide everything here. Positions: a slow client gets the newest of each device,
never a stale backlog. Events: every one that follows a cursor, in cursor order, once; a client
that cannot keep up is told to come back with its cursor, because skipping one is not an option.
"""

from collections import deque
from collections.abc import Iterable
from datetime import datetime

import msgspec

from tracking.feed import LiveEvent, LivePosition
from tracking.interest import Interest

# What one client may leave unread. 1,000 events are minutes of a busy fleet; 1 MiB is what a
# thousand slow clients may cost in total before it hurts: 1 GiB.
MAX_EVENTS = 1_000
MAX_EVENT_BYTES = 1_048_576


class Batch:
    """Positions of one tick. Immutable, and shared by every client that takes all of them."""

    def __init__(self, positions: Iterable[LivePosition]) -> None:
        self.positions = tuple(positions)
        self._frames: dict[str, str] = {}

    def frame(self, head: str) -> str:
        """The message of this batch; rendered once for all subscriptions of one name."""
        frame = self._frames.get(head)
        if frame is None:
            body = b",".join([position.raw for position in self.positions]).decode()
            frame = self._frames[head] = f'{head}"type":"positions","updates":[{body}]}}'
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

    def __init__(self, name: str, interest: Interest) -> None:
        self.name = name
        self.interest = interest
        self.live_after: int | None = None
        self.head = f'{{"id":{msgspec.json.encode(name).decode()},'
        self._pending: Batch | dict[str, LivePosition] | None = None
        self._snapshot_told = False

    def offer_positions(self, batch: Batch) -> bool:
        """Add a tick's positions; whether any is wanted."""
        if not self.interest.whole_fleet:
            wanted = self.interest.choose(batch.positions)
            if not wanted:
                return False
            batch = Batch(wanted)
        if self._pending is None:
            # The usual case, a client that keeps up: nothing is copied.
            self._pending = batch
            return True
        if isinstance(self._pending, Batch):
            self._pending = {p.device: p for p in self._pending.positions}
        self._pending.update({p.device: p for p in batch.positions})
        return True

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

    def take_positions(self) -> str | None:
        """The message of what is waiting; nothing before `start`."""
        if self._pending is None or not self._snapshot_told:
            return None
        pending, self._pending = self._pending, None
        batch = pending if isinstance(pending, Batch) else Batch(pending.values())
        return batch.frame(self.head)

    def wants_live(self, event: LiveEvent) -> bool:
        """Whether the tenant's line is to give this event to the subscription."""
        return (
            self.live_after is not None
            and event.cursor > self.live_after
            and self.interest.wants_event(event)
        )


class Outbox:
    """Event messages a client has not fetched yet, in order, up to a bound."""

    def __init__(self) -> None:
        self._frames: deque[str] = deque()
        self._chars = 0

    def put(self, frame: str) -> bool:
        """Queue a message; False when the bound is passed and the client must go."""
        self._frames.append(frame)
        self._chars += len(frame)
        return len(self._frames) <= MAX_EVENTS and self._chars <= MAX_EVENT_BYTES

    def take(self) -> str | None:
        """The oldest message."""
        if not self._frames:
            return None
        frame = self._frames.popleft()
        self._chars -= len(frame)
        return frame


def event_frame(subscription: Subscription, event: LiveEvent) -> str:
    """The message of an event."""
    return (
        f'{subscription.head}"type":"event","cursor":{event.cursor},"event":{event.raw.decode()}}}'
    )


def snapshot_frame(
    subscription: Subscription, cursor: int, positions: list[bytes], *, more: bool
) -> str:
    """A part of a snapshot; what follows `cursor` arrives as events."""
    body = b",".join(positions).decode()
    return (
        f'{subscription.head}"type":"snapshot","cursor":{cursor},"more":{str(more).lower()},'
        f'"positions":[{body}]}}'
    )


def gap_frame(subscription: Subscription, cursor: int, reason: str) -> str:
    """The events since the client's cursor cannot be told; what follows `cursor` can."""
    return f'{subscription.head}"type":"gap","cursor":{cursor},"reason":"{reason}"}}'


def status_frame(*, live: bool) -> str:
    """Whether positions come from Redis within a tick, or from the database every few seconds."""
    return f'{{"type":"status","live":{str(live).lower()}}}'


def error_frame(code: str, message: str, *, name: str | None, field: str | None) -> str:
    """What was wrong with a client's message; the connection stays."""
    return msgspec.json.encode(
        {"type": "error", "id": name, "code": code, "message": message, "field": field}
    ).decode()
