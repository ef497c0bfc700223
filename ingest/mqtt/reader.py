"""What this client reads: a stream of bytes cut into messages and control packets.

Pure: no sockets, no clock (`received_us` comes in with the bytes). The costs measured here
decide the worker's throughput, so PUBLISH is parsed in one loop with no call per packet.
"""

from collections.abc import Iterable
from typing import NamedTuple

import msgspec

from ingest.mqtt.codec import ProtocolError

CONNACK, PUBACK, SUBACK, PINGRESP = 2, 4, 9, 13
_PUBLISH = 3

# Controls are a few bytes; the largest is a SUBACK of one byte per filter.
_MAX_CONTROL_BYTES = 65_536
_REPLIES = frozenset({CONNACK, PUBACK, SUBACK, PINGRESP})


class Message(msgspec.Struct, frozen=True, gc=False):
    """One PUBLISH as received.

    `payload` is cut to the reader's `max_payload_bytes` when `truncated`. `ticket` is what
    `Session.ack` wants back: -1 for QoS 0, else it names the connection and the packet id.
    """

    topic: bytes
    payload: bytes
    ticket: int
    received_us: int
    retained: bool = False
    truncated: bool = False


class Control(NamedTuple):
    """Any other packet a broker may send: its type (4 bits) and its body."""

    kind: int
    body: bytes


class Reader:
    """Cuts one connection's bytes; a new connection needs a new reader.

    A message sent again (DUP) while its first copy here is not yet settled is dropped: NATS does so
    after its `ack_wait`. Two copies would take two places in the window, and the second PUBACK
    of one packet id could acknowledge another message that has got the id meanwhile.

    Memory: at most `max_payload_bytes` + 64 KiB + two chunks, whatever a peer claims to send.
    `held` is True when the last `feed` stopped before a message for lack of room.
    `redelivered` counts messages with the DUP flag that were not dropped.
    """

    def __init__(self, *, low: int, max_payload_bytes: int) -> None:
        self.held = False
        self.redelivered = 0
        self._low = low
        self._max = max_payload_bytes
        self._data = b""
        self._pos = 0
        self._parts: list[bytes] = []
        self._missing = 0
        self._oversize: Message | None = None
        self._skip = 0
        self._unsettled = bytearray(65_536)  # by packet id

    def settle(self, tickets: Iterable[int]) -> list[int]:
        """Return the packet ids of those `tickets` that this connection delivered, each once.

        Tickets of earlier connections, the -1 of QoS 0 and repeated ones are left out.
        """
        low, unsettled = self._low, self._unsettled
        packet_ids = []
        for ticket in tickets:
            packet_id = ticket - low
            if packet_id > 0 and unsettled[packet_id]:
                unsettled[packet_id] = 0
                packet_ids.append(packet_id)
        return packet_ids

    def feed(
        self, chunk: bytes, received_us: int, room: int
    ) -> tuple[list[Message], list[Control]]:
        """Return the packets that `chunk` completes, messages in order, at most `room` of them.

        What lies beyond the room is kept for the next call, which may bring an empty chunk.

        Raises:
            ProtocolError: the stream is broken; this reader must not be used again.
        """
        messages: list[Message] = []
        controls: list[Control] = []
        self.held = False
        if self._skip:
            skipped = min(self._skip, len(chunk))
            self._skip -= skipped
            chunk = chunk[skipped:]
        enough = self._take(chunk) if chunk else True
        if self._oversize is not None and not self._skip:
            if room <= 0:
                self.held = True
                return messages, controls
            messages.append(self._oversize)
            self._oversize = None
        if enough:
            self._parse(received_us, room, messages, controls)
        return messages, controls

    def _take(self, chunk: bytes) -> bool:
        """Append `chunk`; False while too little is here for the next packet.

        Parts are joined once, when a packet is complete: a payload arriving in n chunks is
        copied once, not n times.
        """
        if self._pos >= len(self._data) and not self._parts:
            self._data, self._pos = chunk, 0
            return True
        self._parts.append(chunk)
        self._missing -= len(chunk)
        if self._missing > 0:
            return False
        self._data = b"".join((memoryview(self._data)[self._pos :], *self._parts))
        self._pos = 0
        self._parts.clear()
        return True

    def _parse(
        self, received_us: int, room: int, messages: list[Message], controls: list[Control]
    ) -> None:
        """Take packets until the data or the room ends.

        The common packet (QoS 1, first delivery, under 16 KiB) is read inline, 0.7 us; a method
        call for each would double that. `_step` takes everything else.
        """
        data, pos, low, unsettled = self._data, self._pos, self._low, self._unsettled
        end, small = len(data), min(self._max, 0x3FFF)
        left = room - len(messages)
        while True:
            if left > 0 and pos + 4 < end and data[pos] == 0x32:
                length, body = data[pos + 1], pos + 2
                if length > 0x7F:
                    # A third length byte makes this at least 16 KiB, which `small` excludes.
                    length += (data[body] << 7) - 0x80
                    body += 1
                stop = body + length
                payload = body + 4 + (data[body] << 8 | data[body + 1])
                if payload <= stop <= end and length <= small:
                    ident = data[payload - 2] << 8 | data[payload - 1]
                    if ident:
                        unsettled[ident] = 1
                        topic = data[body + 2 : payload - 2]
                        messages.append(
                            Message(topic, data[payload:stop], low + ident, received_us)
                        )
                        left -= 1
                        pos = stop
                        continue
            after = self._step(pos, received_us, left, messages, controls)
            if after == pos:
                break
            pos = after
            left = room - len(messages)
        self._pos = pos
        if pos >= end:
            self._data, self._pos = b"", 0

    def _step(
        self,
        pos: int,
        received_us: int,
        left: int,
        messages: list[Message],
        controls: list[Control],
    ) -> int:
        """Take one packet of any kind; return its end, or `pos` when it must wait."""
        data, end = self._data, len(self._data)
        length, body = _remaining_length(data, pos)
        if not body:
            self._missing = max(1, pos + 2 - end)
            return pos
        head, stop = data[pos], body + length
        if head >> 4 == _PUBLISH:
            if left <= 0:
                self.held, self._missing = True, 0
                return pos
            return self._publish(pos, body, stop, received_us, messages)
        _check_control(head, length)
        if stop > end:
            self._missing = stop - end
            return pos
        controls.append(Control(head >> 4, data[body:stop]))
        return stop

    def _publish(
        self, pos: int, body: int, stop: int, received_us: int, messages: list[Message]
    ) -> int:
        """Take a PUBLISH of any form; too large a payload is cut and its rest skipped later."""
        data, end, head = self._data, len(self._data), self._data[pos]
        if end < body + 2:
            self._missing = body + 2 - end
            return pos
        qos = head >> 1 & 3
        if qos > 1:
            raise ProtocolError(
                f"the broker sent a message at QoS {qos}, though this client subscribes at QoS 1: "
                "another program used this client id; set WAYMARK_MQTT_CLIENT_ID to a new one"
            )
        topic_end = body + 2 + (data[body] << 8 | data[body + 1])
        payload = topic_end + 2 * qos
        if payload > stop:
            raise ProtocolError("the broker sent a message shorter than its topic")
        cut = min(stop, payload + self._max)
        if end < cut:
            self._missing = cut - end
            return pos
        ticket, again = -1, 0
        if qos:
            ident = data[topic_end] << 8 | data[topic_end + 1]
            if not ident:
                raise ProtocolError("the broker sent a message at QoS 1 with packet id 0")
            ticket = self._low + ident
            again = head >> 3 & self._unsettled[ident]
            self._unsettled[ident] = 1
        self.redelivered += head >> 3 & 1 & ~again
        message = Message(
            topic=data[body + 2 : topic_end],
            payload=data[payload:cut],
            ticket=ticket,
            received_us=received_us,
            retained=bool(head & 1),
            truncated=cut < stop,
        )
        if stop > end:
            self._oversize, self._skip = None if again else message, stop - end
            return end
        if not again:
            messages.append(message)
        return stop


def _remaining_length(data: bytes, pos: int) -> tuple[int, int]:
    """Return the remaining length [2.2.3] and where the body starts; start 0 when incomplete."""
    length = 0
    for offset, digit in enumerate(data[pos + 1 : pos + 5]):
        length |= (digit & 0x7F) << 7 * offset
        if digit < 0x80:
            return length, pos + 2 + offset
    if len(data) > pos + 4:
        raise ProtocolError("the broker sent a packet length of more than four bytes")
    return 0, 0


def _check_control(head: int, length: int) -> None:
    if head >> 4 not in _REPLIES or head & 0x0F:
        raise ProtocolError(
            f"the broker sent 0x{head:02x} where an MQTT packet should begin: is this an MQTT port?"
        )
    if length > _MAX_CONTROL_BYTES:
        raise ProtocolError(f"the broker sent a control packet of {length} bytes")
