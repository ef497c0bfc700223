"""Requests to pick something up, once or again and again. No I/O, no clock."""

from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta
from itertools import count, islice
from typing import Literal
from zoneinfo import ZoneInfo

import msgspec

from tracking.schedules import DAYS
from tracking.shipments import PlannedWindow
from tracking.times import Moment

PickupKind = Literal["on_demand", "scheduled", "recurring"]
PickupStatus = Literal["scheduled", "at_stop", "picked_up", "failed", "cancelled", "series"]

# A series is looked ahead through for this long; what lies further is not asked for yet.
_DAYS_MADE_AHEAD = 2
# Nobody means a series of more.
_MAX_YEARS = 10


class Recurrence(msgspec.Struct, frozen=True, rename={"first": "from"}):
    """When a pickup comes again: each `interval` days, or on `days` of each `interval` weeks.

    From `start` until before `end` on the clock of `time_zone`; an end at or before the start is
    on the day after. It ends after the day `until`, or after `count` times.
    """

    freq: Literal["daily", "weekly"]
    first: date
    start: str
    end: str
    time_zone: str = "UTC"
    interval: int = 1
    days: tuple[str, ...] = ()
    until: date | None = None
    count: int | None = None

    def all(self) -> Iterator[date]:
        """The days, in order."""
        return islice(self._unlimited(), self.count)

    def window(self, day: date) -> PlannedWindow:
        """When it is on one of its days."""
        zone = ZoneInfo(self.time_zone)
        start, end = time.fromisoformat(self.start), time.fromisoformat(self.end)
        last = day if end > start else day + timedelta(days=1)
        return PlannedWindow(
            datetime.combine(day, start, zone).astimezone(UTC),
            datetime.combine(last, end, zone).astimezone(UTC),
            self.time_zone,
        )

    def _unlimited(self) -> Iterator[date]:
        last = self.first + timedelta(days=366 * _MAX_YEARS)
        if self.until is not None:
            last = min(last, self.until)
        wanted = {DAYS.index(day) for day in self.days} or {self.first.weekday()}
        monday = self.first - timedelta(days=self.first.weekday())
        for n in count():
            day = self.first + timedelta(days=n)
            if day > last:
                return
            if self.freq == "daily":
                its_turn = n % self.interval == 0
            else:
                its_turn = (day - monday).days // 7 % self.interval == 0
                its_turn = its_turn and day.weekday() in wanted
            if its_turn:
                yield day


class Due(msgspec.Struct, frozen=True):
    """The days of a series to be made by now, and when to look again; None: it is over."""

    days: list[date]
    again_at: datetime | None


def due(recurrence: Recurrence, since: datetime, now: datetime) -> Due:
    """What of a series begun at `since` is to be there at a moment: what starts in two days.

    Days that were over before the series was asked for are never made.
    """
    ahead = now + timedelta(days=_DAYS_MADE_AHEAD)
    days: list[date] = []
    for day in recurrence.all():
        window = recurrence.window(day)
        if window.end is None or window.start is None or window.end <= since:
            continue
        if window.start > ahead:
            return Due(days, window.start - timedelta(days=_DAYS_MADE_AHEAD))
        days.append(day)
    return Due(days, None)


class Attempt(msgspec.Struct, frozen=True):
    """Somebody came, and could not pick it up."""

    at: Moment
    reason: str
    note: str | None = None
    made_by: str | None = None
