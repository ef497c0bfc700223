"""When a weekly schedule of local time is open. Pure: the moment comes in as an argument.

Windows are read on the wall clock of the schedule's time zone: 22:00-06:00 ends when the clocks
on the wall show 06:00, whether that night had seven, eight or nine hours. An hour that the clock
shows twice is inside twice; one that it leaves out is never inside.
"""

import re
from collections.abc import Iterator
from datetime import datetime, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from tracking.errors import InputError
from tracking.fences import Schedule
from tracking.times import from_us

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")

_CLOCK = re.compile(r"([01]\d|2[0-3]):([0-5]\d)|24:00")
_DAY_S = 86_400
_DAY_US = 86_400_000_000
# 1970 began on a Thursday.
_EPOCH_WEEKDAY = 3
# A window that is open at all is so within a week, and one that the clocks leave out a week later.
_AHEAD_US = 15 * _DAY_US


class Calendar:
    """A schedule made ready to be asked; immutable, any number may share it."""

    def __init__(self, schedule: Schedule) -> None:
        """Raises InputError that names the member at fault."""
        self._zone = zone_of(schedule.time_zone)
        # Per weekday the spans of seconds of the day [start, end) that are open.
        self._open: tuple[list[tuple[int, int]], ...] = tuple([] for _ in DAYS)
        for number, window in enumerate(schedule.windows):
            start = _clock_s(window.start, f"windows[{number}].start")
            end = _clock_s(window.end, f"windows[{number}].end")
            if start == _DAY_S:
                raise InputError("a window starts before 24:00", field=f"windows[{number}].start")
            for day in _days(window.days, f"windows[{number}].days"):
                if start < end:
                    self._open[day].append((start, end))
                else:
                    self._open[day].append((start, _DAY_S))
                    self._open[(day + 1) % len(DAYS)].append((0, end))

    def open_at(self, time_us: int) -> bool:
        """Whether the moment lies in a window: starts belong to it, ends do not."""
        local = self.local(time_us)
        second = local.hour * 3600 + local.minute * 60 + local.second
        return any(start <= second < end for start, end in self._open[local.weekday()])

    def opens(self, time_us: int) -> int | None:
        """The first open moment from there on; None: there is none."""
        return next((start for start, _ in self.spans(time_us, time_us + _AHEAD_US)), None)

    def spans(self, from_us: int, to_us: int) -> Iterator[tuple[int, int]]:
        """The open spans [start, end) of a time, in order, none touching the next."""
        start = end = from_us
        for next_start, next_end in self._pieces(from_us, to_us):
            if next_start > end:
                if end > start:
                    yield start, end
                start = next_start
            end = max(end, next_end)
        if end > start:
            yield start, end

    def local(self, time_us: int) -> datetime:
        """The moment on the wall clock."""
        return from_us(time_us).astimezone(self._zone)

    def _pieces(self, from_us: int, to_us: int) -> Iterator[tuple[int, int]]:
        """Open spans by their starts; they may touch and overlap."""
        for start, end, ahead_us in self._steady(from_us, to_us):
            first, last = (start + ahead_us) // _DAY_US, (end + ahead_us) // _DAY_US
            for day in range(first, last + 1):
                midnight_us = day * _DAY_US - ahead_us
                for open_s, close_s in sorted(self._open[(day + _EPOCH_WEEKDAY) % len(DAYS)]):
                    opens = max(midnight_us + open_s * 1_000_000, start)
                    closes = min(midnight_us + close_s * 1_000_000, end)
                    if opens < closes:
                        yield opens, closes

    def _steady(self, from_us: int, to_us: int) -> Iterator[tuple[int, int, int]]:
        """Spans in which the clocks are not turned, and how far ahead of UTC they are in each.

        Nowhere are they turned twice in a day.
        """
        start = from_us
        while start < to_us:
            ahead_us = self._ahead_us(start)
            end = min(start + _DAY_US, to_us)
            if self._ahead_us(end) != ahead_us:
                before = start
                while end - before > 1:
                    middle = (before + end) // 2
                    if self._ahead_us(middle) == ahead_us:
                        before = middle
                    else:
                        end = middle
            yield start, end, ahead_us
            start = end

    def _ahead_us(self, time_us: int) -> int:
        return (self.local(time_us).utcoffset() or timedelta(0)) // timedelta(microseconds=1)


@lru_cache(maxsize=4096)
def calendar(schedule: Schedule) -> Calendar:
    """The one calendar of equal schedules. Raises InputError that names the member at fault."""
    return Calendar(schedule)


def open_at(schedule: Schedule, time_us: int) -> bool:
    """Whether the schedule is open at the moment, daylight saving and midnight included.

    Callers that ask often keep `calendar(schedule)`: finding it costs as much as its answer.
    """
    return calendar(schedule).open_at(time_us)


def zone_of(name: str) -> ZoneInfo:
    """The IANA time zone of a name. Raises InputError that names `time_zone`."""
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as exc:
        # ValueError: a path out of the database of zones; OSError: one of its folders.
        raise InputError(
            f"no time zone {name!r}: an IANA name such as Europe/Amsterdam", field="time_zone"
        ) from exc


def _clock_s(text: str, field: str) -> int:
    if not _CLOCK.fullmatch(text):
        raise InputError(f"{text!r} is no time of day: HH:MM, 00:00 to 24:00", field=field)
    return int(text[:2]) * 3600 + int(text[3:]) * 60


def _days(names: tuple[str, ...], field: str) -> list[int]:
    for name in names:
        if name not in DAYS:
            raise InputError(f"{name!r} is no day: {', '.join(DAYS)}", field=field)
    return sorted({DAYS.index(name) for name in names}) or list(range(len(DAYS)))
