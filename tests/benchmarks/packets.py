"""MQTT PUBLISH packets rendered ahead of time, so that sending them costs next to nothing. Pure.

An ordinary publisher spends 10-12 us on each message, as much as all of Waymark. Here every packet
has the same length, and numpy writes the digits that differ into copies of one template.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Bytes = NDArray[np.uint8]
Ints = NDArray[np.int64]

# Fixed width without a leading zero, which JSON forbids.
FIRST_SEQ = 10_000_000
# 33 m/s at the equator: a vehicle that departs at once and never stops.
_MICRODEGREES_PER_S = 300

# Placeholders, each as wide as what replaces it.
_DEVICE, _PACKET_ID, _SEQ = b"@DEV_", b"@P", b"@SEQ____"
_TIME = b"@TIME__________________"
_LON, _LAT = b"@LON_____", b"@LAT_____"
_PAYLOAD = (
    b'{"t":"%bZ","lon":%b,"lat":%b,"alt_m":134.0,"speed_mps":33.0,"course_deg":90.0,'
    b'"accuracy_m":4.5,"battery":0.81,"valid":true,"seq":%b}' % (_TIME, _LON, _LAT, _SEQ)
)


@dataclass(frozen=True, slots=True)
class Stream:
    """Messages 0, 1, 2, ... of a fleet taking turns: message i is device i % devices.

    Device clocks: message i carries the fix time `start_us` + (first_step * devices + i) / devices
    * `step_us`, cut to milliseconds. Streams of one fleet continue each other by `first_step`.
    """

    fleet: str  # begins the device names
    devices: int
    messages: int
    start_us: int
    step_us: int
    first_step: int = 0
    root: str = "wm/default"
    # Each device turns back to where it started after this way.
    wrap_microdegrees: int = 30_000_000

    def fix_times_us(self) -> Ints:
        """The fix time of each message."""
        turns = np.arange(self.messages, dtype=np.int64) + self.first_step * self.devices
        times: Ints = (self.start_us + turns * self.step_us // self.devices) // 1_000 * 1_000
        return times

    def device_names(self) -> list[str]:
        """The fleet's devices."""
        return [f"{self.fleet}-{device:05d}" for device in range(self.devices)]

    def seqs(self) -> range:
        """The sequence numbers its messages carry, one per turn of the fleet."""
        first = FIRST_SEQ + self.first_step
        return range(first, first + -(-self.messages // self.devices))

    def after(self, published: int) -> int:
        """The `first_step` of a stream that continues this one after `published` messages."""
        return self.first_step + -(-published // self.devices)


def payload_bytes() -> int:
    """The length of every payload."""
    return len(_PAYLOAD)


def render(stream: Stream, connection: int = 0, connections: int = 1) -> Bytes:
    """QoS 1 PUBLISH packets, one per row, of the messages that go through one connection.

    They are those with i % connections == connection; connections must divide the devices, so
    that all of a device take one way and stay in order. Packet ids count 1..65535 and around.
    """
    if stream.devices % connections:
        raise ValueError(f"{connections} connections do not divide {stream.devices} devices")
    chosen = np.arange(connection, stream.messages, connections, dtype=np.int64)
    device = chosen % stream.devices
    step = stream.first_step + chosen // stream.devices
    template = _template(stream)
    packets = np.empty((len(chosen), len(template)), np.uint8)
    packets[:] = np.frombuffer(template, np.uint8)

    travelled = step * (_MICRODEGREES_PER_S * stream.step_us // 1_000_000)
    lon = 10_000_000 + device % 100 * 400_000 + travelled % stream.wrap_microdegrees
    lat = 10_000_000 + device // 100 % 100 * 400_000
    ids = 1 + np.arange(len(chosen)) % 65_535
    _put(packets, template, _DEVICE, _digits(device, 5))
    _put(packets, template, _PACKET_ID, ids.astype(">u2").view(np.uint8).reshape(-1, 2))
    moments = stream.fix_times_us()[chosen].astype("M8[us]")
    text = np.datetime_as_string(moments, unit="ms").astype("S23")
    _put(packets, template, _TIME, text.view(np.uint8).reshape(-1, 23))
    _put(packets, template, _LON, _degrees(lon))
    _put(packets, template, _LAT, _degrees(lat))
    _put(packets, template, _SEQ, _digits(FIRST_SEQ + step, 8))
    return packets


def _template(stream: Stream) -> bytes:
    topic = b"%b/%b-%b/pos" % (stream.root.encode(), stream.fleet.encode(), _DEVICE)
    body = len(topic).to_bytes(2, "big") + topic + _PACKET_ID + _PAYLOAD
    remaining = bytes([len(body) & 0x7F | 0x80, len(body) >> 7])
    return b"\x32" + remaining + body


def _put(packets: Bytes, template: bytes, placeholder: bytes, column: Bytes) -> None:
    start = template.index(placeholder)
    packets[:, start : start + len(placeholder)] = column


def _digits(values: Ints, width: int) -> Bytes:
    powers = 10 ** np.arange(width - 1, -1, -1, dtype=np.int64)
    return (values[:, None] // powers % 10 + ord("0")).astype(np.uint8)


def _degrees(microdegrees: Ints) -> Bytes:
    digits = _digits(microdegrees, 8)
    point = np.full((len(digits), 1), ord("."), np.uint8)
    return np.concatenate([digits[:, :2], point, digits[:, 2:]], axis=1)
