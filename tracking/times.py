"""Times: microseconds since the Unix epoch inside, ISO-8601 with Z outside."""

from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Annotated

import msgspec

# With a time zone; said so where types are described.
Moment = Annotated[datetime, msgspec.Meta(tz=True)]
# What `iso` returns.
Stamp = Annotated[str, msgspec.Meta(extra_json_schema={"format": "date-time"})]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)

# Earlier than any reading (decode refuses what claims to be older) and safe to convert.
EARLIEST_US = 0


def iso(time_us: int) -> Stamp:
    """`time_us` as ISO-8601 in UTC, with as many decimals as it needs (0, 3 or 6)."""
    seconds, us = divmod(time_us, 1_000_000)
    minutes, second = divmod(seconds, 60)
    text = f"{_minute(minutes)}:{second:02d}"
    if not us:
        return text + "Z"
    return f"{text}.{us // 1000:03d}Z" if us % 1000 == 0 else f"{text}.{us:06d}Z"


# Moments told together lie together: 0.5 us for one instead of 2.8.
@lru_cache(maxsize=1024)
def _minute(minutes: int) -> str:
    return (_EPOCH + timedelta(minutes=minutes)).strftime("%Y-%m-%dT%H:%M")


def to_us(moment: datetime) -> int:
    """An aware datetime as microseconds, exactly."""
    return (moment - _EPOCH) // _MICROSECOND


def from_us(time_us: int) -> datetime:
    """Microseconds as an aware datetime in UTC, exactly."""
    return _EPOCH + timedelta(microseconds=time_us)


def utc_now() -> datetime:
    """This machine's clock."""
    return datetime.now(UTC)
