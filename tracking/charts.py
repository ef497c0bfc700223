"""The buckets of a chart, in whichever time zone its days are. Pure."""

from collections.abc import Iterator
from datetime import UTC, datetime, time, timedelta
from typing import Literal
from zoneinfo import ZoneInfo

from tracking.errors import InputError

BucketName = Literal["1m", "5m", "15m", "1h", "1d"]
_SECONDS: dict[BucketName, int] = {"1m": 60, "5m": 300, "15m": 900, "1h": 3_600, "1d": 86_400}
# More points than any screen has.
MAX_BUCKETS = 3_000
# What `auto` aims at.
_ENOUGH = 300
_RAW_DAYS = 31


class Buckets:
    """The buckets that cover [start, end), whole ones; `starts` are in UTC."""

    def __init__(
        self, start: datetime, end: datetime, name: BucketName | None, zone: ZoneInfo
    ) -> None:
        """Choose the finest bucket that is enough, where none is named.

        Raises:
            InputError: these would be too many.
        """
        seconds = (end - start) / timedelta(seconds=1)
        self.name: BucketName = _fitting(seconds) if name is None else name
        self.zone = zone
        length_s = _SECONDS[self.name]
        if seconds / length_s > MAX_BUCKETS:
            raise InputError(
                f"bucket: {self.name} makes more than {MAX_BUCKETS:,} buckets of this time",
                field="bucket",
            )
        self.starts = list(self._days(start, end) if self.name == "1d" else self._even(start, end))
        last = self.starts[-1]
        self.end = self._midnight(last, 1) if self.name == "1d" else last + self.length

    @property
    def length(self) -> timedelta:
        """Of a bucket; days are an hour shorter or longer now and then."""
        return timedelta(seconds=_SECONDS[self.name])

    @property
    def hourly(self) -> bool:
        """Whether they are made of whole hours of UTC."""
        return _SECONDS[self.name] >= 3_600 and all(start.minute == 0 for start in self.starts)

    def must_be_short(self) -> None:
        """Refuse what is made of every single reading of a long time.

        Raises:
            InputError: it is longer than a month.
        """
        if self.end - self.starts[0] > timedelta(days=_RAW_DAYS + 1):
            raise InputError(
                f"from: this is read fix by fix, for {_RAW_DAYS} days at most", field="from"
            )

    def _even(self, start: datetime, end: datetime) -> Iterator[datetime]:
        length_s = _SECONDS[self.name]
        at_s = int(start.timestamp()) // length_s * length_s
        while True:
            yield datetime.fromtimestamp(at_s, UTC)
            at_s += length_s
            if at_s >= end.timestamp():
                return

    def _days(self, start: datetime, end: datetime) -> Iterator[datetime]:
        at = self._midnight(start, 0)
        while True:
            yield at
            at = self._midnight(at, 1)
            if at >= end:
                return

    def _midnight(self, moment: datetime, days_on: int) -> datetime:
        """The midnight at or before a moment, or of a later day."""
        day = moment.astimezone(self.zone).date() + timedelta(days=days_on)
        return datetime.combine(day, time(), self.zone).astimezone(UTC)


def _fitting(seconds: float) -> BucketName:
    for name, length_s in _SECONDS.items():
        if seconds / length_s <= _ENOUGH:
            return name
    return "1d"
