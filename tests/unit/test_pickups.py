"""Series of pickups: the days they fall on, and when each is made."""

from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tracking.pickups import Recurrence, due

FIRST = date(2026, 3, 4)  # a Wednesday


def series(**members: Any) -> Recurrence:  # noqa: ANN401 -- Recurrence
    given: dict[str, Any] = {"freq": "daily", "first": FIRST, "start": "09:00", "end": "11:00"}
    return Recurrence(**given | members)


@pytest.mark.parametrize(
    ("members", "days"),
    [
        ({"count": 3}, [4, 5, 6]),
        ({"interval": 3, "until": date(2026, 3, 12)}, [4, 7, 10]),
        ({"freq": "weekly", "count": 2}, [4, 11]),
        ({"freq": "weekly", "days": ("mon", "fri"), "count": 3}, [6, 9, 13]),
        ({"freq": "weekly", "interval": 2, "days": ("mon", "fri"), "count": 3}, [6, 16, 20]),
        ({"until": date(2026, 3, 3)}, []),
    ],
)
def test_the_days_of_a_series(members: dict[str, Any], days: list[int]) -> None:
    assert [day.day for day in series(**members).all()] == days


def test_windows_keep_the_clock_of_their_zone_when_it_changes() -> None:
    amsterdam = series(time_zone="Europe/Amsterdam")
    before, after = amsterdam.window(date(2026, 3, 28)), amsterdam.window(date(2026, 3, 29))
    assert before.start is not None
    assert after.start is not None
    assert (before.start.hour, after.start.hour) == (8, 7)


def test_a_window_over_midnight_ends_on_the_day_after() -> None:
    window = series(start="22:00", end="02:00").window(FIRST)
    assert window.start is not None
    assert window.end is not None
    assert window.end - window.start == timedelta(hours=4)


@given(st.lists(st.integers(1, 500), min_size=1, max_size=12))
def test_however_late_somebody_looks_each_day_is_made_once_the_time_comes(
    steps_h: list[int],
) -> None:
    rule = series(freq="weekly", days=("mon", "wed", "sun"), count=9)
    since = now = datetime(2026, 3, 5, tzinfo=UTC)
    made: set[date] = set()
    again: datetime | None = now
    for hours in steps_h:
        now += timedelta(hours=hours)
        if again is None or now < again:
            continue
        found = due(rule, since, now)
        made.update(found.days)
        again = found.again_at
    wanted = {
        day
        for day in rule.all()
        if (start := rule.window(day).start) is not None
        and start <= now + timedelta(days=2)
        and (rule.window(day).end or now) > since
    }
    assert made == wanted
