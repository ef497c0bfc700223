"""What a device says: the reading, its bytes, and one arrival of it."""

import json
from datetime import UTC, datetime
from typing import Any, NamedTuple

from firmware_sim.options import TimeFormat

# The standard library on purpose: the system under test decodes with something else.
_encode = json.JSONEncoder(separators=(",", ":"), allow_nan=False).encode


class Reading(NamedTuple):
    """One thing a device said, once; deliveries repeat or delay it but never change it.

    `seq` counts the device's messages on `channel` from 0; on the wire only loss makes a gap in
    it. `t_ms` is what the device's clock said (Unix epoch ms), one time never twice on a channel;
    `made_ms` is the true time since the start.
    """

    device: str
    channel: str
    seq: int
    t_ms: int
    made_ms: int
    body: dict[str, Any]  # as encoded, without `t` and `seq`
    payload: bytes
    faults: tuple[str, ...]  # data faults that touched it
    malformed: str | None = None  # a kind of `malformed.KINDS`: then it is no reading at all

    @property
    def key(self) -> tuple[str, str, int, str | None]:
        """What makes it distinct."""
        return self.device, self.channel, self.seq, self.malformed


class Delivery(NamedTuple):
    """One PUBLISH, due `at_ms` after the start. Sorts into the order of the wire."""

    at_ms: int
    device_index: int
    order: int  # unique per device; breaks ties
    topic: str
    reading: Reading
    copy: int  # 0 the first, 1 and up its duplicates


def encode(body: dict[str, Any], t_ms: int, seq: int | None, time_format: TimeFormat) -> bytes:
    """The payload of the wire: `t` first, then the body, then `seq` where the channel has one."""
    t: int | str = t_ms if time_format == "ms" else iso_ms(t_ms)
    message = {"t": t, **body}
    if seq is not None:
        message["seq"] = seq
    return _encode(message).encode()


def iso_ms(t_ms: int) -> str:
    """Epoch ms as ISO 8601 with milliseconds and Z."""
    seconds, ms = divmod(t_ms, 1000)
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{ms:03d}Z"
