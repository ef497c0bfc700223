"""Weekly windows of local time, over midnight and over the changes of the clocks."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tracking.errors import InputError
from tracking.fences import Schedule, Window
from tracking.schedules import DAYS, Calendar, calendar, open_at
from tracking.times import to_us

# With a gap at midnight (Beirut), half an hour (Lord Howe), a lost day (Apia 2011), and none.
ZONES = (
    "Europe/Amsterdam",
    "America/New_York",
    "Asia/Beirut",
    "Australia/Lord_Howe",
    "Pacific/Apia",
    "Asia/Kathmandu",
    "UTC",
)
MINUTES = st.integers(0, 1439)
WINDOWS = st.builds(
    Window,
    start=MINUTES.map(lambda m: f"{m // 60:02d}:{m % 60:02d}"),
    end=st.integers(0, 1440).map(lambda m: f"{m // 60:02d}:{m % 60:02d}"),
    days=st.lists(st.sampled_from(DAYS), unique=True).map(tuple),
)
MOMENTS_US = st.one_of(
    st.integers(1_293_840_000_000_000, 1_830_000_000_000_000),
    # Around the nights on which Europe changes its clocks.
    st.tuples(
        st.sampled_from(
            [datetime(2026, 3, 29, 1, tzinfo=UTC), datetime(2026, 10, 25, 1, tzinfo=UTC)]
        ),
        st.integers(-10 * 3600, 10 * 3600),
    ).map(lambda at: to_us(at[0]) + at[1] * 1_000_000),
)


def schedule(*windows: Window, time_zone: str = "Europe/Amsterdam") -> Schedule:
    return Schedule(time_zone=time_zone, windows=windows)


def at_us(text: str) -> int:
    return to_us(datetime.fromisoformat(text))


def expected(plan: Schedule, time_us: int) -> bool:
    """By definition: strings of the wall clock, yesterday's windows looked at as yesterday's."""
    local = datetime.fromtimestamp(time_us // 1_000_000, UTC).astimezone(ZoneInfo(plan.time_zone))
    clock = local.strftime("%H:%M")
    today = local.strftime("%a").lower()
    yesterday = (local.replace(tzinfo=None) - timedelta(days=1)).strftime("%a").lower()
    for window in plan.windows:
        days = window.days or DAYS
        over_midnight = window.end <= window.start
        if today in days and window.start <= clock and (over_midnight or clock < window.end):
            return True
        if over_midnight and yesterday in days and clock < window.end:
            return True
    return False


@given(st.sampled_from(ZONES), st.lists(WINDOWS, max_size=4), MOMENTS_US)
def test_a_moment_is_open_as_the_wall_clock_says(
    zone: str, windows: list[Window], time_us: int
) -> None:
    plan = schedule(*windows, time_zone=zone)
    assert open_at(plan, time_us) == expected(plan, time_us)


def test_a_night_ends_at_six_on_the_wall_whatever_its_length() -> None:
    night = schedule(Window("22:00", "06:00"))
    for before, after in (
        ("2026-03-29T03:59:59Z", "2026-03-29T04:00:00Z"),  # seven hours
        ("2026-06-01T03:59:59Z", "2026-06-01T04:00:00Z"),
        ("2026-10-25T04:59:59Z", "2026-10-25T05:00:00Z"),  # nine hours
    ):
        assert open_at(night, at_us(before))
        assert not open_at(night, at_us(after))


def test_an_hour_shown_twice_is_open_twice() -> None:
    plan = schedule(Window("02:00", "03:00"))
    assert open_at(plan, at_us("2026-10-25T00:30Z"))
    assert open_at(plan, at_us("2026-10-25T01:30Z"))
    assert not open_at(plan, at_us("2026-10-25T02:00Z"))


def test_an_hour_left_out_is_never_open() -> None:
    plan = schedule(Window("02:00", "03:00", ("sun",)))
    start_us = at_us("2026-03-29T00:00Z")
    assert not any(open_at(plan, start_us + m * 60_000_000) for m in range(180))


def test_a_window_over_midnight_belongs_to_the_day_it_starts_on() -> None:
    friday = schedule(Window("22:00", "06:00", ("fri",)), time_zone="UTC")
    assert open_at(friday, at_us("2026-06-05T22:00Z"))
    assert open_at(friday, at_us("2026-06-06T05:59Z"))
    assert not open_at(friday, at_us("2026-06-05T05:59Z"))
    assert not open_at(friday, at_us("2026-06-06T22:00Z"))


def test_equal_schedules_share_a_calendar() -> None:
    assert calendar(schedule(Window("08:00", "17:00"))) is calendar(
        schedule(Window("08:00", "17:00"))
    )


@pytest.mark.parametrize(
    ("plan", "field"),
    [
        (schedule(time_zone="Europe/Nowhere"), "time_zone"),
        (schedule(time_zone="../etc/passwd"), "time_zone"),
        (schedule(time_zone="Europe"), "time_zone"),
        (schedule(time_zone=""), "time_zone"),
        (schedule(Window("8:00", "17:00")), "windows[0].start"),
        (schedule(Window("24:00", "17:00")), "windows[0].start"),
        (schedule(Window("08:00", "17:00"), Window("08:00", "24:01")), "windows[1].end"),
        (schedule(Window("08:00", "17:00", ("monday",))), "windows[0].days"),
    ],
)
def test_a_mistake_is_named(plan: Schedule, field: str) -> None:
    with pytest.raises(InputError) as caught:
        Calendar(plan)
    assert caught.value.field == field


@settings(max_examples=60)
@given(st.sampled_from(ZONES), st.lists(WINDOWS, min_size=1, max_size=3), MOMENTS_US)
def test_the_next_opening_is_the_first_open_minute(
    zone: str, windows: list[Window], time_us: int
) -> None:
    minute_us = 60_000_000
    time_us -= time_us % minute_us
    asked = Calendar(Schedule(zone, tuple(windows)))
    found = asked.opens(time_us)
    horizon = range(time_us, time_us + 3 * 86_400_000_000, minute_us)
    first = next((us for us in horizon if asked.open_at(us)), None)
    if first is None:
        assert found is None or found > horizon[-1]
    else:
        assert found == first


def test_what_is_never_open_never_opens() -> None:
    assert Calendar(Schedule("UTC", ())).opens(0) is None
