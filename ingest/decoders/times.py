"""Device times: ISO-8601 text or an epoch number of any usual unit, to microseconds."""

import re
from datetime import UTC, datetime, timedelta

from ingest.decoders.faults import PayloadError, shown
from tracking.quality import Reject

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)

# A device whose clock was never set reports where its clock chip starts: 1970-01-01, 2000-01-01,
# 2004-01-01, or its uptime. No fix of ours is older than 2005, so the whole span is refused.
EARLIEST_US = 1_104_537_600_000_000  # 2005-01-01
LATEST_US = 4_133_980_800_000_000  # 2101-01-01, the first moment after the year 2100

_NUMBER = re.compile(r"[0-9]{1,19}(?:\.[0-9]{1,9})?")


def time_us(value: object, name: str = "t") -> int:
    """Convert the value of a time member to microseconds since the Unix epoch, UTC.

    Text must be ISO-8601 with a zone (`Z`, `+02:00`, `+0200`) or a number. A number counts
    seconds below 1e11, milliseconds below 1e14, microseconds below 1e17, else nanoseconds: within
    the years accepted, no two of them overlap. Finer than a microsecond is cut. `name` is the
    member's, for the detail.

    Raises:
        PayloadError: BAD_TIME or TIME_OUT_OF_RANGE.
    """
    if isinstance(value, str):
        moment_us = _text_us(value, name)
    elif isinstance(value, (int, float)) and not isinstance(value, bool):
        moment_us = _number_us(value)
    else:
        raise PayloadError(Reject.BAD_TIME, f"{name} {shown(value)} is neither text nor a number")
    if not EARLIEST_US <= moment_us < LATEST_US:
        raise PayloadError(
            Reject.TIME_OUT_OF_RANGE,
            f"{name} {shown(value)} is {_date(moment_us)}, outside the years 2005 to 2100: "
            "is the device's clock set?",
        )
    return moment_us


def _number_us(number: float) -> int:
    if number < 1e11:
        return round(number * 1_000_000)
    if number < 1e14:
        return round(number * 1_000)
    if number < 1e17:
        return round(number)
    return int(number // 1_000)


def _text_us(text: str, name: str) -> int:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        moment = None
    if moment is not None and moment.tzinfo is not None:
        return (moment - _EPOCH) // _MICROSECOND
    # After the dates, which are what most texts are. A number of thirteen digits can pass for a
    # date and time without separators, but never for one with a zone.
    if _NUMBER.fullmatch(text):
        return _number_us(float(text) if "." in text else int(text))
    if moment is not None:
        raise PayloadError(
            Reject.BAD_TIME, f"{name} {shown(text)} has no time zone: add Z for UTC, or like +02:00"
        )
    raise PayloadError(
        Reject.BAD_TIME, f"{name} {shown(text)} is not ISO-8601, like 2026-03-01T12:00:00Z"
    )


def _date(moment_us: int) -> str:
    try:
        return (_EPOCH + timedelta(microseconds=moment_us)).date().isoformat()
    except OverflowError:
        return "beyond any calendar"
