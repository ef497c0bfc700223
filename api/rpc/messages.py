"""What is stored as protobuf messages, and requests as the queries of REST. Pure."""

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

import msgspec
from google.protobuf.struct_pb2 import Struct
from google.protobuf.timestamp_pb2 import Timestamp

from api.rpc import tracking_pb2 as pb
from api.schemas.parameters import checked_bbox
from tracking.errors import InputError
from tracking.feed import EventRecord, PositionUpdate
from tracking.store.devices import Bbox, DeviceView
from tracking.times import from_us

_OPTIONAL = ("alt_m", "speed_mps", "course_deg", "accuracy_m", "battery")
# What a Timestamp may hold by its contract; beyond it `ToDatetime` fails with an error of its own.
_FIRST_S, _LAST_S = -62_135_596_800, 253_402_300_799


def position_message(position: PositionUpdate) -> pb.Position:
    """A position."""
    return pb.Position(
        device=position.device,
        fix_time=_timestamp(position.fix_time),
        received_at=_timestamp(position.received_at),
        lon=position.lon,
        lat=position.lat,
        quality=position.quality,
        h3=position.h3,
        attrs=_struct(msgspec.json.decode(position.attrs)),
        **{name: getattr(position, name) for name in _OPTIONAL},
    )


def device_message(device: DeviceView) -> pb.Device:
    """A device and its state."""
    return pb.Device(
        name=device.name,
        online=device.online,
        online_at=_timestamp(device.online_at),
        silent_since=_timestamp(device.silent_since),
        heard_at=_timestamp(device.heard_at),
        motion=device.motion,
        odometer_m=device.odometer_m,
        position=None if device.position is None else position_message(device.position),
        groups=device.groups,
        tags=device.tags,
        attrs=_struct(msgspec.json.decode(device.attrs)),
        created_at=_timestamp(device.created_at),
    )


def event_message(event: EventRecord) -> pb.Event:
    """A revision of an event."""
    return pb.Event(
        id=event.id,
        source=f"/waymark/{event.tenant}",
        type=event.type,
        subject=event.subject,
        time=_timestamp(from_us(event.time_us)),
        data=_struct(event.data),
        tenant=event.tenant,
        recorded_at=_timestamp(from_us(event.recorded_at_us)),
        revision=event.revision,
        status=event.status,
        late=event.late,
        cursor=event.cursor,
    )


def bbox_of(request: pb.ListDevicesRequest | pb.StreamFilter) -> Bbox | None:
    """The box of a request, where it has one.

    Raises:
        InputError: it is none.
    """
    if not request.HasField("bbox"):
        return None
    box = request.bbox
    try:
        return checked_bbox([box.min_lon, box.min_lat, box.max_lon, box.max_lat])
    except ValueError as exc:
        raise InputError(f"bbox: {exc}", field="bbox") from None


def given(request: Any, **parameters: str) -> dict[str, Any]:  # noqa: ANN401 -- any request
    """The fields of a request that are set, under the names REST has for them.

    Every field is text, a number, a list or a time; those of no value are left to the default.
    """
    values: dict[str, Any] = {}
    for field, parameter in parameters.items():
        value = getattr(request, field)
        if isinstance(value, Timestamp):
            if request.HasField(field):
                values[parameter] = _moment(value, field)
        elif isinstance(value, str | int | float):
            if value or (_has_presence(request, field) and request.HasField(field)):
                values[parameter] = value
        elif value:
            values[parameter] = list(value)
    return values


def _has_presence(request: Any, field: str) -> bool:  # noqa: ANN401
    return bool(request.DESCRIPTOR.fields_by_name[field].has_presence)


def _moment(value: Timestamp, field: str) -> datetime:
    if not (_FIRST_S <= value.seconds <= _LAST_S and 0 <= value.nanos < 1_000_000_000):
        raise InputError(f"{field}: times reach from 1970 to 9998", field=field)
    return value.ToDatetime(tzinfo=UTC)


def _timestamp(moment: datetime | None) -> Timestamp | None:
    if moment is None:
        return None
    message = Timestamp()
    message.FromDatetime(moment)
    return message


def _struct(members: dict[str, Any] | None) -> Struct | None:
    if members is None:
        return None
    message = Struct()
    message.update(members)
    return message


def positions_message(
    positions: Iterable[PositionUpdate], *, snapshot: bool = False
) -> pb.PositionBatch:
    """A part of a stream."""
    return pb.PositionBatch(
        positions=[position_message(position) for position in positions], snapshot=snapshot
    )
