"""Times as recordings write them, to microseconds since the Unix epoch."""

import re
from collections.abc import Sequence
from datetime import UTC, datetime, tzinfo
from zoneinfo import ZoneInfo

from tracking.errors import InputError
from tracking.times import to_us

# Years written with four digits, with room for any offset.
_FIRST_US = to_us(datetime(1000, 1, 2, tzinfo=UTC))
_LAST_US = to_us(datetime(9999, 12, 30, tzinfo=UTC))
_NUMBER = re.compile(r"[+-]?\d+(\.\d*)?([eE][+-]?\d+)?")
_EPOCH_FORMATS = {"auto", "epoch_s", "epoch_ms"}
_NAMED_FORMATS = _EPOCH_FORMATS | {"iso"}


def zone(name: str) -> tzinfo:
    """The IANA zone `name`, for example `Africa/Cairo`.

    Raises:
        InputError: the zone does not exist.
    """
    if name == "UTC":
        return UTC  # there also where the machine has no zone files
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError) as exc:
        raise InputError(
            f"there is no time zone {name!r}: give an IANA name such as Europe/London",
            field="timezone",
        ) from exc


class TimeParser:
    """Parses one recording's times; not shared between recordings.

    `formats` are tried in order, each `auto`, `iso`, `epoch_s`, `epoch_ms` or a strptime pattern.
    `auto` is ISO 8601 or an epoch number whose unit follows from its size. A time without an
    offset is taken in `local`, and counted in `zoneless`. A local time that daylight saving
    repeats is taken as the first of the two; one it skips is moved forward by the gap. What no
    format fits is still understood when it is ISO 8601 with an offset or an epoch number, because
    the server would read it so.
    """

    def __init__(self, formats: Sequence[str], local: tzinfo = UTC) -> None:
        for pattern in formats:
            if pattern not in _NAMED_FORMATS and "%" not in pattern:
                raise InputError(
                    f"time format {pattern!r} is neither one of {', '.join(sorted(_NAMED_FORMATS))}"
                    " nor a strptime pattern such as '%d/%m/%Y %H:%M'",
                    field="time_format",
                )
        self._formats = tuple(formats)
        self._local = local
        self.zoneless = 0

    def __call__(self, value: object) -> int | None:
        """Microseconds since the epoch, or None when no format fits."""
        for pattern in self._formats:
            time_us = self._parse(value, pattern)
            if time_us is not None and _FIRST_US <= time_us <= _LAST_US:
                return time_us
        time_us = self._parse(value, "auto", with_offset=True)
        return time_us if time_us is not None and _FIRST_US <= time_us <= _LAST_US else None

    def _parse(self, value: object, pattern: str, *, with_offset: bool = False) -> int | None:
        if isinstance(value, str):
            text = value.strip()
            if pattern in _EPOCH_FORMATS and _NUMBER.fullmatch(text):
                return _epoch_us(float(text), pattern)
            return self._written_us(text, pattern, with_offset=with_offset)
        if isinstance(value, int | float) and not isinstance(value, bool):
            return _epoch_us(value, pattern) if pattern in _EPOCH_FORMATS else None
        return None

    def _written_us(self, text: str, pattern: str, *, with_offset: bool) -> int | None:
        if pattern in {"epoch_s", "epoch_ms"}:
            return None
        try:
            if "%" in pattern:
                # The zone is settled below, as for ISO times.
                moment = datetime.strptime(text, pattern)  # noqa: DTZ007
            else:
                moment = datetime.fromisoformat(text)
        except ValueError:
            return None
        if moment.tzinfo is not None:
            return to_us(moment)
        if with_offset:
            return None
        self.zoneless += 1
        return to_us(moment.replace(tzinfo=self._local))


def _epoch_us(number: float, pattern: str) -> int | None:
    if not abs(number) < 1e19:  # also catches NaN
        return None
    if pattern == "epoch_s":
        return round(number * 1e6)
    if pattern == "epoch_ms":
        return round(number * 1e3)
    # 1e11 s is the year 5138 and 1e11 ms is 1973: between them the unit is not in doubt.
    for limit, to_microseconds in ((1e11, 1e6), (1e14, 1e3), (1e17, 1.0)):
        if abs(number) < limit:
            return round(number * to_microseconds)
    return round(number / 1e3)
