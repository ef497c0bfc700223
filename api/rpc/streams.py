"""Streams: a session of the feed whose link is a gRPC call.

What the feed says in JSON becomes protobuf once for all clients who hear the same. Whoever reads
too slowly is told RESOURCE_EXHAUSTED and comes back with its cursor, as on a websocket.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

import msgspec
from google.protobuf.message import Message as ProtoMessage

from api.feed.messages import Message, Wire
from api.rpc import tracking_pb2 as pb
from api.rpc.messages import event_message, position_message
from tracking.feed import PositionUpdate, decode_event

M = TypeVar("M", bound=ProtoMessage)

# What may wait for the client before fan-out holds back, as much as of a websocket.
_ROOM_BYTES = 65_536
_LENGTH = 4


class _Told(msgspec.Struct):
    """The members of feed messages that a stream passes on."""

    event: msgspec.Raw = msgspec.Raw(b"")
    updates: list[PositionUpdate] = []
    positions: list[PositionUpdate] = []


_decoder = msgspec.json.Decoder(_Told)


def positions_wire(message: Message) -> bytes:
    """A message for a stream of positions, with its length before it; nothing for what is none."""
    if message.type not in {"positions", "snapshot"}:
        return b""
    told = _decoder.decode(message.body)
    batch = pb.PositionBatch(
        positions=map(position_message, told.updates or told.positions),
        snapshot=message.type == "snapshot",
    )
    return _framed(batch) if batch.positions else b""


def events_wire(message: Message) -> bytes:
    """The same for a stream of events."""
    match message.type:
        case "event":
            event = event_message(decode_event(_decoder.decode(message.body).event))
            return _framed(pb.EventMessage(event=event))
        case "snapshot" | "heartbeat" if message.cursor is not None:
            return _framed(pb.EventMessage(heartbeat_cursor=message.cursor))
        case "gap" if message.cursor is not None:
            return _framed(pb.EventMessage(gap_cursor=message.cursor))
    return b""


def _framed(message: ProtoMessage) -> bytes:
    data = message.SerializeToString()
    return len(data).to_bytes(_LENGTH, "big") + data


class RpcLink(Generic[M]):
    """The link of a session to one call: what is written waits until `drain` has sent it."""

    def __init__(self, wire: Wire, parse: Callable[[bytes], M]) -> None:
        self.wire = wire
        self._parse = parse
        self._waiting: deque[bytes] = deque()
        self._bytes = 0
        self._woken = asyncio.Event()
        self._room = asyncio.Event()
        self._room.set()
        self._on_room: Callable[[], object] = lambda: None

    @property
    def has_room(self) -> bool:
        """Whether the client keeps up."""
        return self._bytes < _ROOM_BYTES

    def write(self, data: bytes) -> None:
        """Queue whole messages."""
        at = 0
        while at < len(data):
            end = at + _LENGTH + int.from_bytes(data[at : at + _LENGTH], "big")
            self._waiting.append(data[at + _LENGTH : end])
            self._bytes += end - at
            at = end
        self._woken.set()
        if not self.has_room:
            self._room.clear()

    def on_room(self, call: Callable[[], object]) -> None:
        """Have something called each time there is room again."""
        self._on_room = call

    async def send(self, message: Message) -> None:
        """Queue a message when there is room for it."""
        await self.send_framed(self.wire(message))

    async def send_framed(self, data: bytes) -> None:
        """Queue messages when there is room for them."""
        await self._room.wait()
        self.write(data)

    async def drain(self, send: Callable[[M], Awaitable[None]]) -> None:
        """Send what waits, at the client's pace, until cancelled."""
        while True:
            await self._woken.wait()
            self._woken.clear()
            while self._waiting:
                data = self._waiting.popleft()
                await send(self._parse(data))
                self._bytes -= _LENGTH + len(data)
                if self.has_room:
                    self._room.set()
                    self._on_room()
