"""Pagination cursors: where a page ended, as an opaque token.

A token holds the key of the last row and nothing else. It needs no signature: every query is
limited to the caller's tenant anyway, so a forged one can only skip rows of its owner.
"""

import base64
import binascii
from typing import Annotated, Any, Literal, TypeVar
from uuid import UUID

import msgspec

from api.conventions.problems import bad_cursor
from tracking.store.audit import AuditKey
from tracking.store.backfills import BackfillKey
from tracking.store.devices import DeviceKey, DeviceView, Sort
from tracking.store.measurements import MeasurementKey
from tracking.store.positions import PositionKey
from tracking.store.trips import TripKey
from tracking.store.visits import VisitKey
from tracking.times import from_us, to_us

Int8 = Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)]
# 0 to the year 9999: what a datetime can hold.
TimeUs = Annotated[int, msgspec.Meta(ge=0, le=253_402_300_799_999_999)]
Name = Annotated[str, msgspec.Meta(min_length=1, max_length=256, pattern="^[^\\x00]*$")]

T = TypeVar("T")


def name_cursor(name: str) -> str:
    """Behind the row of this name."""
    return _encode(["n", name])


def read_name_cursor(token: str | None) -> str | None:
    """The name in a token.

    Raises:
        Problem: 400, the token is not one of `name_cursor`.
    """
    return None if token is None else _decode(token, tuple[Literal["n"], Name])[1]


def device_cursor(sort: Sort, device: DeviceView) -> str:
    """Behind this device, in this order."""
    if sort == "name":
        return name_cursor(device.name)
    time = None if device.position is None else to_us(device.position.fix_time)
    return _encode(["d", sort, time, device.name])


def read_device_cursor(token: str | None, sort: Sort) -> DeviceKey | None:
    """The key in a token of the same order.

    Raises:
        Problem: 400, the token is not one of `device_cursor`, or of another order.
    """
    if token is None:
        return None
    if sort == "name":
        return DeviceKey(_decode(token, tuple[Literal["n"], Name])[1])
    _, of, time_us, name = _decode(token, tuple[Literal["d"], Sort, TimeUs | None, Name])
    if of != sort:
        raise bad_cursor()
    return DeviceKey(name, None if time_us is None else from_us(time_us))


def number_cursor(number: int) -> str:
    """Behind the row of this number, in whichever order the list has."""
    return _encode(["i", number])


def read_number_cursor(token: str | None) -> int | None:
    """The number in a token.

    Raises:
        Problem: 400, the token is not one of `number_cursor`.
    """
    return None if token is None else _decode(token, tuple[Literal["i"], Int8])[1]


def position_cursor(key: PositionKey) -> str:
    """Behind this fix of a device's history."""
    return _encode(["p", to_us(key.fix_time), key.seq])


def read_position_cursor(token: str | None) -> PositionKey | None:
    """The key in a token.

    Raises:
        Problem: 400, the token is not one of `position_cursor`.
    """
    if token is None:
        return None
    _, time_us, seq = _decode(token, tuple[Literal["p"], TimeUs, Int8])
    return PositionKey(from_us(time_us), seq)


def visit_cursor(key: VisitKey) -> str:
    """Behind this visit."""
    return _encode(["v", to_us(key.entered_at), key.device, key.fence])


def read_visit_cursor(token: str | None) -> VisitKey | None:
    """The key in a token.

    Raises:
        Problem: 400, the token is not one of `visit_cursor`.
    """
    if token is None:
        return None
    _, time_us, device, fence = _decode(token, tuple[Literal["v"], TimeUs, Name, Name])
    return VisitKey(from_us(time_us), device, fence)


def audit_cursor(key: AuditKey) -> str:
    """Behind this line of the audit log."""
    return _encode(["a", to_us(key.at), key.id])


def read_audit_cursor(token: str | None) -> AuditKey | None:
    """The key in a token.

    Raises:
        Problem: 400, the token is not one of `audit_cursor`.
    """
    if token is None:
        return None
    _, time_us, id_ = _decode(token, tuple[Literal["a"], TimeUs, Int8])
    return AuditKey(from_us(time_us), id_)


def backfill_cursor(key: BackfillKey) -> str:
    """Behind this backfill."""
    return _encode(["b", to_us(key.created_at), str(key.id)])


def read_backfill_cursor(token: str | None) -> BackfillKey | None:
    """The key in a token.

    Raises:
        Problem: 400, the token is not one of `backfill_cursor`.
    """
    if token is None:
        return None
    _, time_us, id_ = _decode(token, tuple[Literal["b"], TimeUs, UUID])
    return BackfillKey(from_us(time_us), id_)


def trip_cursor(key: TripKey) -> str:
    """Behind this trip."""
    return _encode(["t", to_us(key.started_at), key.device])


def read_trip_cursor(token: str | None) -> TripKey | None:
    """The key in a token.

    Raises:
        Problem: 400, the token is not one of `trip_cursor`.
    """
    if token is None:
        return None
    _, time_us, device = _decode(token, tuple[Literal["t"], TimeUs, Name])
    return TripKey(from_us(time_us), device)


def measurement_cursor(key: MeasurementKey) -> str:
    """Behind this value of a device's history."""
    return _encode(["m", to_us(key.fix_time), key.metric])


def read_measurement_cursor(token: str | None) -> MeasurementKey | None:
    """The key in a token.

    Raises:
        Problem: 400, the token is not one of `measurement_cursor`.
    """
    if token is None:
        return None
    _, time_us, metric = _decode(token, tuple[Literal["m"], TimeUs, Name])
    return MeasurementKey(from_us(time_us), metric)


def _encode(parts: list[Any]) -> str:
    return base64.urlsafe_b64encode(msgspec.json.encode(parts)).decode().rstrip("=")


def _decode(token: str, shape: type[T]) -> T:
    try:
        raw = base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True)
        parts = msgspec.json.decode(raw, type=shape)
    except (binascii.Error, ValueError, msgspec.DecodeError):
        raise bad_cursor() from None
    # One key has one spelling, so whatever was edited by hand is seen.
    if _encode(list(parts)) != token:  # type: ignore[call-overload]
        raise bad_cursor()
    return parts
