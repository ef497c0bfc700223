"""Positions and events as fan-out sees them, and a client that only notes what it is sent."""

import json
from datetime import datetime

from h3.api import basic_int as h3

from api.feed.messages import Wire, websocket_text
from tracking.feed import LiveEvent, LivePosition
from tracking.times import from_us


def at(second: int) -> datetime:
    return from_us(second * 1_000_000)


def position(
    device: str, second: int = 0, lon: float = 5.0, lat: float = 52.0, *, quality: str = "ok"
) -> LivePosition:
    raw = json.dumps({"device": device, "second": second}).encode()
    cell = h3.latlng_to_cell(lat, lon, 10)
    return LivePosition(device, at(second), lon, lat, quality, cell, raw)


def event(
    cursor: int = 1,
    type_: str = "trip.started",
    subject: str = "t1",
    lon: float | None = None,
    *,
    fence: str | None = None,
) -> LiveEvent:
    lat = None if lon is None else 52.0
    return LiveEvent(cursor, type_, subject, lon, lat, fence, None, b'{"cursor":%d}' % cursor)


def told(message: bytes) -> dict[str, int]:
    """Device and second of each update in a message."""
    return {u["device"]: u["second"] for u in json.loads(message)["updates"]}


class Notepad:
    """A link whose client reads while `has_room`."""

    def __init__(self) -> None:
        self.wire: Wire = websocket_text
        self.has_room = True
        self.written: list[bytes] = []

    def write(self, data: bytes) -> None:
        self.written.append(data)

    def messages(self) -> list[bytes]:
        """What was sent, frame by frame."""
        stream, found = b"".join(self.written), []
        while stream:
            size, start = stream[1], 2
            if size >= 126:
                start = 4 if size == 126 else 10
                size = int.from_bytes(stream[2:start], "big")
            found.append(stream[start : start + size])
            stream = stream[start + size :]
        return found
