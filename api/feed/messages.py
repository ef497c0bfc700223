"""What the feed says, and how it looks on a websocket and as a server-sent event. Pure.

A message is JSON whatever carries it. A `Wire` makes of it the very bytes that go to a socket, so
that clients who hear the same share one string, framing included.
"""

import zlib
from collections.abc import Callable
from typing import NamedTuple

import msgspec

from tracking.feed import LiveEvent

# Snapshots become 9 times smaller for 2 ms a MB, in a thread. Ten positions would become 6 times
# smaller for 7 us, as much as it costs to send them to a client.
DEFLATE_FROM_BYTES = 16_384
_DEFLATE_LEVEL = 1
_TEXT, _TEXT_DEFLATED = 0x81, 0xC1
_TWO_BYTES, _EIGHT_BYTES = 126, 127


class Message(NamedTuple):
    """One message; `cursor` is where to resume from for whoever has it and all before it."""

    type: str
    body: bytes
    cursor: int | None = None


Wire = Callable[[Message], bytes]


def websocket_text(message: Message) -> bytes:
    """A whole, unmasked text frame (RFC 6455)."""
    return _frame(_TEXT, message.body)


def websocket_deflated(message: Message) -> bytes:
    """The same compressed by itself (RFC 7692, without context takeover)."""
    packer = zlib.compressobj(_DEFLATE_LEVEL, zlib.DEFLATED, -zlib.MAX_WBITS)
    packed = packer.compress(message.body) + packer.flush(zlib.Z_SYNC_FLUSH)
    # The four bytes that every such flush ends with are not sent.
    return _frame(_TEXT_DEFLATED, packed[:-4])


def server_sent(message: Message) -> bytes:
    """An event of an event stream; a heartbeat is a comment that only moves the last event id."""
    id_ = b"" if message.cursor is None else b"id: %d\n" % message.cursor
    if message.type == "heartbeat":
        return b": heartbeat\n%b\n" % id_
    return b"%bevent: %b\ndata: %b\n\n" % (id_, message.type.encode(), message.body)


def head_of(name: str | None) -> bytes:
    """How the messages of a subscription begin; without a name, of the only one there is."""
    return b"{" if name is None else b'{"id":%b,' % msgspec.json.encode(name)


def positions_message(head: bytes, positions: list[bytes]) -> Message:
    """What moved."""
    return Message("positions", b'%b"type":"positions","updates":[%b]}' % (head, _list(positions)))


def event_message(head: bytes, event: LiveEvent) -> Message:
    """One event."""
    body = b'%b"type":"event","cursor":%d,"event":%b}' % (head, event.cursor, event.raw)
    return Message("event", body, event.cursor)


def snapshot_message(head: bytes, cursor: int, positions: list[bytes], *, more: bool) -> Message:
    """A part of a snapshot; what follows `cursor` arrives as events."""
    body = b'%b"type":"snapshot","cursor":%d,"more":%b,"positions":[%b]}' % (
        head, cursor, b"true" if more else b"false", _list(positions),
    )  # fmt: skip
    return Message("snapshot", body, cursor)


def gap_message(head: bytes, cursor: int, reason: str) -> Message:
    """The events since the client's cursor cannot be told; what follows `cursor` can."""
    body = b'%b"type":"gap","cursor":%d,"reason":"%b"}' % (head, cursor, reason.encode())
    return Message("gap", body, cursor)


def heartbeat_message(head: bytes, cursor: int | None) -> Message:
    """The link is alive, and everything up to `cursor` was told."""
    at = b"" if cursor is None else b',"cursor":%d' % cursor
    return Message("heartbeat", b'%b"type":"heartbeat"%b}' % (head, at), cursor)


def ready_message(*, live: bool) -> Message:
    """The credential is good; `live` as in a status."""
    return _plain(type="ready", live=live)


def status_message(*, live: bool) -> Message:
    """Whether positions come from Redis within a tick, or from the database every few seconds."""
    return _plain(type="status", live=live)


def pong_message() -> Message:
    """The answer to a ping, behind everything before it."""
    return _plain(type="pong")


def auth_expiring_message(left_s: int) -> Message:
    """The credential is over so soon: without a newer one the stream ends then."""
    return _plain(type="auth_expiring", left_s=left_s)


def closing_message(code: int, reason: str) -> Message:
    """Why the stream ends, where there is no close frame to say it."""
    return _plain(type="closing", code=code, reason=reason)


def error_message(code: str, message: str, *, name: str | None, field: str | None) -> Message:
    """What was wrong with a client's message; the connection stays."""
    return _plain(type="error", id=name, code=code, message=message, field=field)


def _plain(**members: object) -> Message:
    return Message(str(members["type"]), msgspec.json.encode(members))


def _list(items: list[bytes]) -> bytes:
    return b",".join(items)


def _frame(first: int, payload: bytes) -> bytes:
    size = len(payload)
    if size < _TWO_BYTES:
        return bytes((first, size)) + payload
    if size < 1 << 16:
        return bytes((first, _TWO_BYTES)) + size.to_bytes(2, "big") + payload
    return bytes((first, _EIGHT_BYTES)) + size.to_bytes(8, "big") + payload
