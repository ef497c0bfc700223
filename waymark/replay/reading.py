"""What a row of a recording becomes: readings to publish, or a reason why there are none."""

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

import msgspec

from tracking.quality import Reject
from tracking.times import iso

_MAX_NAME_CHARS = 128
_NOT_IN_A_NAME = re.compile(r"[^A-Za-z0-9._:@-]+")
_ENCODER = msgspec.json.Encoder()

# The members of a message in their order (one for all, so that a row's bytes never change), and
# the ranges that the `pos` contract sets them.
POS_RANGES: dict[str, tuple[float, float]] = {
    "lon": (-180, 180),
    "lat": (-90, 90),
    "alt_m": (-1e9, 1e9),
    "speed_mps": (0, 1e9),
    "course_deg": (0, 360),
    "accuracy_m": (0, 1e9),
    "battery": (0, 1),
}
# The years the server takes for a fix: 2005 to 2100. A clock that was never set is earlier.
_EARLIEST_US = 1_104_537_600_000_000
_LATEST_US = 4_133_980_800_000_000


class SkipReason(StrEnum):
    """Why a row became no message at all."""

    EMPTY = "empty"  # a blank line, a trip without points
    NO_DEVICE = "no_device"  # nothing to name the topic after
    BROKEN_LINE = "broken_line"  # more or fewer fields than the header, an open quote, half a JSON
    NOT_A_POSITION = "not_a_position"  # a last will, a planned route point, a polygon


class Reading(NamedTuple):
    """One `pos` message to be.

    `fix_time_us` is None when the time is missing or not understood; `raw_time` is then the text
    as found (None: missing). `fault` is the reason for which the server is expected to refuse the
    message, None when it should store it.
    """

    device: str
    fix_time_us: int | None
    raw_time: str | None
    values: dict[str, object]
    fault: Reject | None = None


@dataclass(frozen=True, slots=True)
class Row:
    """One row of a file: `number` counts lines or features from 1.

    Exactly one of `readings` (not empty) and `skipped` says what became of it; `content` is the
    row's text when it was skipped.
    """

    number: int
    readings: tuple[Reading, ...] = ()
    skipped: SkipReason | None = None
    content: str = ""


def device_name(raw: str) -> str:
    """`raw` with each run of characters a device's name may not have as `_`, cut at 128."""
    return _NOT_IN_A_NAME.sub("_", raw.strip())[:_MAX_NAME_CHARS]


def encode(reading: Reading, shift_us: int = 0) -> bytes:
    """The payload: the same bytes for the same reading, always. Times move by `shift_us`."""
    message: dict[str, object] = {}
    if reading.fix_time_us is not None:
        message["t"] = iso(reading.fix_time_us + shift_us)
    elif reading.raw_time is not None:
        message["t"] = reading.raw_time
    message.update(reading.values)
    return _ENCODER.encode(message)


def fault_of(time_us: int | None, raw_time: str | None, values: dict[str, object]) -> Reject | None:
    """The reason for which the server should refuse a message of these parts, or None.

    The first fault counts, in the order of the members; whether the time can be read comes last.
    """
    if time_us is None and raw_time is None:
        return Reject.MISSING_FIELD
    for name, (low, high) in POS_RANGES.items():
        value = values.get(name)
        if value is None:
            if name in {"lon", "lat"}:
                return Reject.MISSING_FIELD
        elif not isinstance(value, float | int):
            return Reject.BAD_FIELD
        elif not low <= value <= high:
            outside = name in {"lon", "lat"}
            return Reject.COORDINATES_OUT_OF_RANGE if outside else Reject.BAD_FIELD
    if time_us is None:
        return Reject.BAD_TIME
    return None if _EARLIEST_US <= time_us < _LATEST_US else Reject.TIME_OUT_OF_RANGE


def make_reading(
    device: str,
    time_us: int | None,
    raw_time: object,
    values: dict[str, object],
    attrs: dict[str, object] | None = None,
) -> Reading:
    """Order the members of `values`, add `attrs` when there are any, and judge the whole."""
    ordered = {name: values[name] for name in POS_RANGES if name in values}
    if attrs:
        ordered["attrs"] = attrs
    raw = None if time_us is not None or raw_time is None else str(raw_time)
    return Reading(device, time_us, raw, ordered, fault_of(time_us, raw, ordered))
