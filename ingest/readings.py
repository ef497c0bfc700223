"""What a batch of messages decodes to: columns of readings, and the rejects beside them.

Units are in the names; times are microseconds since the Unix epoch, UTC. A `key_id` is an index
into `Decoder.devices`. Rows keep the order of the messages they came from.
"""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple
from uuid import UUID

import numpy as np
from numpy.typing import NDArray

from tracking.commands import Word
from tracking.quality import Reject

if TYPE_CHECKING:
    from ingest.mqtt import Message

Int32 = NDArray[np.int32]
Int64 = NDArray[np.int64]
Float32 = NDArray[np.float32]
Float64 = NDArray[np.float64]
Bool = NDArray[np.bool_]


class DeviceKey(NamedTuple):
    """A device as its topic names it; whether it exists is the store's to say."""

    tenant: str
    name: str


@dataclass(slots=True)
class Positions:
    """Fixes, one row each. NaN is a missing float and -1 a missing seq.

    Ranges hold on every row: lon -180..180, lat -90..90, course_deg 0..360 with 360 itself given
    as 0, battery 0..1, speed_mps and accuracy_m not negative. `valid` is the device's own word.
    `attrs` is JSON text per row, safe for jsonb, or None when no row has any.
    """

    key_id: Int32
    fix_time_us: Int64
    seq: Int64
    received_us: Int64
    lon: Float64
    lat: Float64
    alt_m: Float32
    speed_mps: Float32
    course_deg: Float32
    accuracy_m: Float32
    battery: Float32
    valid: Bool
    attrs: list[bytes | None] | None = None

    def __len__(self) -> int:
        return len(self.key_id)


@dataclass(slots=True)
class Measurements:
    """Sensor values, one row per metric; `value` is finite, a boolean is 0 or 1."""

    key_id: Int32
    fix_time_us: Int64
    received_us: Int64
    metric: list[str]
    value: Float64

    def __len__(self) -> int:
        return len(self.key_id)


@dataclass(slots=True)
class TagReads:
    """RFID reads. `epc` is upper-case hex or a URI; antenna -1 and rssi NaN are missing."""

    key_id: Int32
    fix_time_us: Int64
    received_us: Int64
    epc: list[str]
    antenna: Int32
    rssi_dbm: Float32
    count: Int32

    def __len__(self) -> int:
        return len(self.key_id)


class Status(NamedTuple):
    """A device said, or its last will said, that it is online or not.

    `retained` marks what the broker kept from before we subscribed: true once, maybe not now.
    """

    key_id: int
    online: bool
    received_us: int
    retained: bool


class Ack(NamedTuple):
    """What a device said of a command; `result` is JSON text, safe for jsonb.

    `message` is kept for the dead letter, should there be no such command.
    """

    key_id: int
    command: UUID
    word: Word
    result: bytes | None
    message: "Message"

    @property
    def received_us(self) -> int:
        """When it arrived."""
        return self.message.received_us


class Rejection(NamedTuple):
    """Why a message, or one element of it, holds no reading.

    `message` indexes the decoded batch. `tenant` and `device` are None where the topic does not
    give a well-formed one. `detail` is printable ASCII and names the member and array element.
    """

    message: int
    tenant: str | None
    device: str | None
    reason: Reject
    detail: str


@dataclass(slots=True)
class Readings:
    """All that one batch of messages held."""

    positions: Positions
    measurements: Measurements
    tags: TagReads
    statuses: list[Status] = field(default_factory=list)
    acks: list[Ack] = field(default_factory=list)
    rejects: list[Rejection] = field(default_factory=list)
