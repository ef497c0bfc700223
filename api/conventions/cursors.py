"""Pagination cursors: where a page ended, as an opaque token.

A token holds the key of the last row and nothing else. It needs no signature: every query is
limited to the caller's tenant anyway, so a forged one can only skip rows of its owner.
"""

import base64
import binascii
from typing import Annotated, Any, Literal, NamedTuple, TypeVar
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

# Of rows in the order of a time; what follows it tells those of one moment apart.
TimeKey = PositionKey | VisitKey | AuditKey | BackfillKey | TripKey | MeasurementKey

T = TypeVar("T")
K = TypeVar("K", PositionKey, VisitKey, AuditKey, BackfillKey, TripKey, MeasurementKey)


class _Shape(NamedTuple):
    letter: str
    parts: Any  # a type that msgspec decodes


_SHAPES: dict[type[TimeKey], _Shape] = {
    PositionKey: _Shape("p", tuple[str, TimeUs, Int8]),
    VisitKey: _Shape("v", tuple[str, TimeUs, Name, Name]),
    AuditKey: _Shape("a", tuple[str, TimeUs, Int8]),
    BackfillKey: _Shape("b", tuple[str, TimeUs, UUID]),
    TripKey: _Shape("t", tuple[str, TimeUs, Name]),
    MeasurementKey: _Shape("m", tuple[str, TimeUs, Name]),
}


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


def time_cursor(key: TimeKey) -> str:
    """Behind the row of this key, in a list by time."""
    time, *rest = key
    return _encode([_SHAPES[type(key)].letter, to_us(time), *rest])


def read_time_cursor(token: str | None, kind: type[K]) -> K | None:
    """The key in a token of the same kind of list.

    Raises:
        Problem: 400, the token is not one of `time_cursor`, or of another kind.
    """
    if token is None:
        return None
    shape = _SHAPES[kind]
    letter, time_us, *rest = _decode(token, shape.parts)
    if letter != shape.letter:
        raise bad_cursor()
    return kind(from_us(time_us), *rest)


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
