"""Channel names, and the JSON of positions and events. Pure: no sockets, no clock."""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from itertools import repeat
from typing import Any, Literal, cast

import msgspec
import numpy as np
from numpy.typing import NDArray

from tracking import raw
from tracking.quality import Quality
from tracking.times import Moment, from_us, to_us

NOTICES = "wm:notices"
# Somebody queued a command; a credential was issued or revoked. Whoever misses it polls.
COMMANDS = "wm:commands"
CREDENTIALS = "wm:credentials"


class Notice(msgspec.Struct, frozen=True, omit_defaults=True):
    """That something of a tenant was edited, up to a revision; whoever misses it polls."""

    tenant: str
    fences: int | None = None
    attachments: int | None = None
    webhooks: bool = False


def positions_channel(tenant: str) -> str:
    """Channel of a tenant's positions: one message per stored batch."""
    return f"wm:{tenant}:positions"


def events_channel(tenant: str) -> str:
    """Channel of a tenant's events: one message each, usually in cursor order."""
    return f"wm:{tenant}:events"


def alerts_channel(tenant: str) -> str:
    """Channel of a tenant's alerts: each as the api tells it, whenever it changes."""
    return f"wm:{tenant}:alerts"


def fences_notice(tenant: str, revision: int) -> tuple[str, bytes]:
    """The message that a tenant's fences were edited. Whoever misses it hears of it by polling."""
    return NOTICES, _encoder.encode(Notice(tenant, fences=revision))


def attachments_notice(tenant: str, revision: int) -> tuple[str, bytes]:
    """The message that what carries what was edited, up to the tenant's `attachment_revision`."""
    return NOTICES, _encoder.encode(Notice(tenant, attachments=revision))


def webhooks_notice(tenant: str) -> tuple[str, bytes]:
    """The message that something of a tenant's webhooks was asked for."""
    return NOTICES, _encoder.encode(Notice(tenant, webhooks=True))


def commands_notice(tenant: str) -> tuple[str, bytes]:
    """The message that a command was queued for a device of a tenant."""
    return COMMANDS, _encoder.encode(Notice(tenant))


def credentials_notice(tenant: str) -> tuple[str, bytes]:
    """The message that brokers must let in others than before."""
    return CREDENTIALS, _encoder.encode(Notice(tenant))


class PositionUpdate(msgspec.Struct, frozen=True, gc=False):
    """A position as every interface of Waymark writes it; times are aware UTC datetimes.

    `quality` is a `Quality.label`, `h3` the hex string of the cell, `attrs` JSON text or `null`.
    """

    device: str
    fix_time: Moment
    received_at: Moment
    lon: float
    lat: float
    alt_m: float | None
    speed_mps: float | None
    course_deg: float | None
    accuracy_m: float | None
    battery: float | None
    quality: str
    h3: str
    attrs: raw.ObjectOrNull


# What brought an event about: a device as it went, or a history that was brought in later.
Origin = Literal["live", "backfill"]


class EventRecord(msgspec.Struct, frozen=True):
    """One revision of an event, as stored and as sent. `cursor` is per tenant and gapless."""

    id: str
    tenant: str
    type: str
    subject: str
    time_us: int
    recorded_at_us: int
    revision: int
    status: str
    late: bool
    cursor: int
    data: dict[str, object]
    origin: Origin = "live"


class LivePosition(msgspec.Struct, frozen=True, gc=False):
    """What fan-out must know of a position, and its JSON exactly as it arrived."""

    device: str
    fix_time: datetime
    lon: float
    lat: float
    quality: str
    cell: int
    raw: bytes


class LiveEvent(msgspec.Struct, frozen=True, gc=False):
    """What fan-out must know of an event, and its JSON exactly as it arrived."""

    cursor: int
    type: str
    subject: str
    lon: float | None
    lat: float | None
    fence: str | None
    shipment: str | None
    raw: bytes


class _PositionHead(msgspec.Struct, frozen=True, gc=False):
    device: str
    fix_time: datetime
    lon: float
    lat: float
    quality: str
    h3: str


class _EventHead(msgspec.Struct, frozen=True, gc=False):
    cursor: int
    type: str
    subject: str
    data: msgspec.Raw


class _Data(msgspec.Struct, frozen=True, gc=False):
    lon: object = None
    lat: object = None
    fence: object = None
    shipment: object = None


class CloudEvent(msgspec.Struct, frozen=True):
    """An event as CloudEvents 1.0 has it, with what is ours: where it stands, and its revision."""

    id: str
    source: str
    type: str
    subject: str
    time: Moment
    data: dict[str, Any]
    tenant: str
    recorded_at: Moment
    revision: int
    status: Literal["active", "retracted"]
    late: bool
    cursor: int
    origin: Origin = "live"
    specversion: Literal["1.0"] = "1.0"
    datacontenttype: Literal["application/json"] = "application/json"


class PositionsMessage(msgspec.Struct):
    """What moved in one batch: the message of `positions_channel`."""

    updates: list[PositionUpdate]


class _RawUpdates(msgspec.Struct):
    updates: list[msgspec.Raw]


_encoder = msgspec.json.Encoder()
_NULL = msgspec.Raw(b"null")
_updates_decoder = msgspec.json.Decoder(PositionsMessage)
_raw_updates_decoder = msgspec.json.Decoder(_RawUpdates)
_position_head_decoder = msgspec.json.Decoder(_PositionHead)
_event_head_decoder = msgspec.json.Decoder(_EventHead)
_data_decoder = msgspec.json.Decoder(_Data)
_event_decoder = msgspec.json.Decoder(CloudEvent)
_LABELS = [quality.label for quality in Quality]


# Decimals kept in JSON: 1e-7 degrees is 1 cm; the rest is below what a receiver can tell.
_DECIMALS = {"alt_m": 1, "speed_mps": 2, "course_deg": 1, "accuracy_m": 1, "battery": 3}


def position_update(  # noqa: PLR0917 -- called with `*row`, in the order of the JSON
    device: str,
    fix_time: datetime,
    received_at: datetime,
    lon: float,
    lat: float,
    alt_m: float | None,
    speed_mps: float | None,
    course_deg: float | None,
    accuracy_m: float | None,
    battery: float | None,
    quality: int,
    h3: int,
    attrs: str | None,
) -> PositionUpdate:
    """One stored row as JSON shows it, rounded as `position_updates` rounds."""
    return PositionUpdate(
        device,
        fix_time,
        received_at,
        round(lon, 7),
        round(lat, 7),
        None if alt_m is None else round(alt_m, 1),
        None if speed_mps is None else round(speed_mps, 2),
        None if course_deg is None else round(course_deg, 1),
        None if accuracy_m is None else round(accuracy_m, 1),
        None if battery is None else round(battery, 3),
        _LABELS[quality],
        f"{h3 & 0xFFFF_FFFF_FFFF_FFFF:x}",
        _NULL if attrs is None else msgspec.Raw(attrs.encode()),
    )


def position_updates(  # noqa: PLR0917 -- columns, in the order of the JSON
    devices: Sequence[str],
    fix_time_us: NDArray[np.int64],
    received_us: NDArray[np.int64],
    lon: NDArray[np.float64],
    lat: NDArray[np.float64],
    quality: Iterable[int],
    h3: NDArray[np.int64] | NDArray[np.uint64],
    attrs: Sequence[bytes | None] | None = None,
    **optional: NDArray[np.floating[Any]],
) -> list[PositionUpdate]:
    """Columns of equal length as positions.

    `optional` takes alt_m, speed_mps, course_deg, accuracy_m and battery, NaN where missing.
    """
    return list(
        map(
            PositionUpdate,
            devices,
            _datetimes(fix_time_us),
            _datetimes(received_us),
            np.round(lon, 7).tolist(),
            np.round(lat, 7).tolist(),
            *(_optional(optional.get(name), len(devices), n) for name, n in _DECIMALS.items()),
            [_LABELS[code] for code in quality],
            [f"{cell:x}" for cell in h3.view(np.uint64).tolist()],
            [_NULL if text is None else msgspec.Raw(text) for text in attrs]
            if attrs is not None
            else [_NULL] * len(devices),
        )
    )


def _datetimes(time_us: NDArray[np.int64]) -> list[datetime]:
    # 0.3 us each, where numpy's own datetimes and `replace` take 1.0. Exact to the microsecond
    # while a double tells seconds finer than half of one, that is until the year 2242.
    return list(map(datetime.fromtimestamp, (time_us / 1e6).tolist(), repeat(UTC)))


def _optional(
    column: NDArray[np.floating[Any]] | None, length: int, decimals: int
) -> list[float | None]:
    if column is None:
        return [None] * length
    rounded = np.round(column.astype(np.float64), decimals).tolist()
    return [value if value == value else None for value in rounded]  # noqa: PLR0124 -- NaN


def encode_positions(updates: list[PositionUpdate]) -> bytes:
    """The message of `positions_channel`: `{"updates": [position, ...]}`."""
    return _encoder.encode(PositionsMessage(updates))


def decode_positions(payload: bytes) -> list[PositionUpdate]:
    """The opposite of `encode_positions`.

    Raises:
        msgspec.DecodeError: the payload is something else.
    """
    return _updates_decoder.decode(payload).updates


def split_positions(payload: bytes) -> list[LivePosition]:
    """The positions of a message with their JSON kept as it came, so nobody encodes it again.

    Raises:
        msgspec.DecodeError: the payload is something else.
    """
    return [live_position(bytes(raw)) for raw in _raw_updates_decoder.decode(payload).updates]


def live_position(raw: bytes) -> LivePosition:
    """The fan-out view of one position's JSON.

    Raises:
        msgspec.DecodeError: the payload is something else.
    """
    head = _position_head_decoder.decode(raw)
    try:
        cell = int(head.h3, 16)
    except ValueError:
        raise msgspec.ValidationError(f"h3 is no cell: {head.h3!r}") from None
    return LivePosition(head.device, head.fix_time, head.lon, head.lat, head.quality, cell, raw)


def encode_position(update: PositionUpdate) -> bytes:
    """The JSON of one position."""
    return _encoder.encode(update)


def cloud_event(event: EventRecord) -> CloudEvent:
    """An event as every interface of Waymark tells it."""
    return CloudEvent(
        id=event.id,
        source=f"/waymark/{event.tenant}",
        type=event.type,
        subject=event.subject,
        time=from_us(event.time_us),
        data=event.data,
        tenant=event.tenant,
        recorded_at=from_us(event.recorded_at_us),
        revision=event.revision,
        status=cast("Literal['active', 'retracted']", event.status),
        late=event.late,
        cursor=event.cursor,
        origin=event.origin,
    )


def encode_event(event: EventRecord) -> bytes:
    """The message of `events_channel`: one CloudEvents 1.0 JSON object."""
    return _encoder.encode(cloud_event(event))


def decode_event(payload: bytes) -> EventRecord:
    """The opposite of `encode_event`.

    Raises:
        msgspec.DecodeError: the payload is something else.
    """
    event = _event_decoder.decode(payload)
    return EventRecord(
        event.id,
        event.tenant,
        event.type,
        event.subject,
        to_us(event.time),
        to_us(event.recorded_at),
        event.revision,
        event.status,
        event.late,
        event.cursor,
        event.data,
        event.origin,
    )


def live_event(raw: bytes) -> LiveEvent:
    """The fan-out view of one event's JSON; what is not of its kind in `data` counts as absent.

    Raises:
        msgspec.DecodeError: the payload is something else.
    """
    head = _event_head_decoder.decode(raw)
    try:
        data = _data_decoder.decode(head.data)
    except msgspec.ValidationError:
        data = _Data()
    lon, lat = _place(data.lon, data.lat)
    return LiveEvent(
        head.cursor,
        head.type,
        head.subject,
        lon,
        lat,
        data.fence if isinstance(data.fence, str) else None,
        data.shipment if isinstance(data.shipment, str) else None,
        raw,
    )


def _place(lon: object, lat: object) -> tuple[float, float] | tuple[None, None]:
    """Both, if they are numbers and on the earth."""
    if isinstance(lon, bool) or not isinstance(lon, int | float):
        return None, None
    if isinstance(lat, bool) or not isinstance(lat, int | float):
        return None, None
    on_earth = -180 <= lon <= 180 and -90 <= lat <= 90
    return (float(lon), float(lat)) if on_earth else (None, None)
