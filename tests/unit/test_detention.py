"""What waiting at a stop comes to, against counting its minutes one by one."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.test_schedules import ZONES
from tests.unit.test_shipment_fold import A_TO_B, part, run, see
from tracking.detention import detention, detention_starts_us
from tracking.fences import Schedule, Window
from tracking.schedules import calendar
from tracking.shipments import PlannedWindow, Stay, Stop
from tracking.times import from_us, to_us

MINUTE = timedelta(minutes=1)
MINUTE_US = 60_000_000
OFFICE = Schedule(
    "Europe/Amsterdam", (Window("08:00", "17:00", ("mon", "tue", "wed", "thu", "fri")),)
)
# Starts of weeks in which clocks are turned, and of one in which they are not.
WEEKS = [
    datetime(2026, 3, 27, tzinfo=UTC),
    datetime(2026, 10, 23, tzinfo=UTC),
    datetime(2026, 3, 6, tzinfo=UTC),
    datetime(2026, 4, 3, tzinfo=UTC),
    datetime(2011, 12, 29, tzinfo=UTC),
    datetime(2026, 6, 5, tzinfo=UTC),
]


def at(text: str) -> datetime:
    return datetime.fromisoformat(text)


def stop(free_min: float | None = 60.0, **members: object) -> Stop:
    free_s = None if free_min is None else free_min * 60
    return Stop("delivery", "dock", free_time_s=free_s, **members)  # type: ignore[arg-type]


def stay(arrived: str, left: str | None = None) -> Stay:
    return Stay(at(arrived), None if left is None else at(left))


def figures(of: Stop, stays: Sequence[Stay], now: str) -> tuple[int, int]:
    """Minutes waited and to be paid."""
    found = detention(of, stays, to_us(at(now)))
    return found.waited_us // MINUTE_US, found.billable_min


def started(of: Stop, stays: Sequence[Stay], now: str) -> datetime | None:
    starts_us = detention_starts_us(of, stays, to_us(at(now)))
    return None if starts_us is None else from_us(starts_us)


def test_what_is_waited_beyond_the_free_time_is_to_be_paid() -> None:
    stays = [stay("2026-06-05T10:00Z", "2026-06-05T12:30:59Z")]
    assert figures(stop(), stays, "2026-06-05T20:00Z") == (150, 90)
    assert figures(stop(None), stays, "2026-06-05T20:00Z") == (150, 0)
    assert figures(stop(0), stays, "2026-06-05T20:00Z") == (150, 150)
    assert figures(stop(151), stays, "2026-06-05T20:00Z") == (150, 0)


def test_what_is_still_there_has_waited_so_far() -> None:
    stays = [stay("2026-06-05T10:00Z")]
    assert figures(stop(), stays, "2026-06-05T10:59Z") == (59, 0)
    assert figures(stop(), stays, "2026-06-05T11:05Z") == (65, 5)
    found = detention(stop(), stays, to_us(at("2026-06-05T11:05Z")))
    assert found.still_there
    assert started(stop(), stays, "2026-06-05T10:01Z") == at("2026-06-05T11:00Z")


def test_who_leaves_in_the_moment_the_free_time_ends_owes_nothing() -> None:
    stays = [stay("2026-06-05T10:00Z", "2026-06-05T11:00Z")]
    assert started(stop(), stays, "2026-06-05T20:00Z") is None
    assert figures(stop(), stays, "2026-06-05T20:00Z") == (60, 0)


def test_who_comes_early_waits_from_the_beginning_of_the_window() -> None:
    window = PlannedWindow(at("2026-06-05T10:00Z"), at("2026-06-05T11:00Z"))
    early = [stay("2026-06-05T07:00Z", "2026-06-05T12:00Z")]
    late = [stay("2026-06-05T10:45Z", "2026-06-05T12:00Z")]
    assert figures(stop(window=window), early, "2026-06-05T20:00Z") == (120, 60)
    assert figures(stop(window=window), late, "2026-06-05T20:00Z") == (75, 15)
    gone = [stay("2026-06-05T07:00Z", "2026-06-05T09:00Z")]
    assert figures(stop(window=window), gone, "2026-06-05T20:00Z") == (0, 0)


def test_a_closed_site_keeps_nobody_waiting() -> None:
    # Friday afternoon to Monday morning, over the night in which Europe's clocks go forward.
    stays = [stay("2026-03-27T16:30+01:00", "2026-03-30T09:30+02:00")]
    of = stop(hours=OFFICE)
    assert figures(of, stays, "2026-03-31T00:00Z") == (120, 60)
    assert started(of, stays, "2026-03-31T00:00Z") == at("2026-03-30T08:30+02:00")
    found = detention(of, stays, to_us(at("2026-03-31T00:00Z")))
    assert [(from_us(a), from_us(b)) for a, b in found.waited] == [
        (at("2026-03-27T15:30Z"), at("2026-03-27T16:00Z")),
        (at("2026-03-30T06:00Z"), at("2026-03-30T07:30Z")),
    ]


def test_a_night_in_which_the_clocks_go_back_is_an_hour_longer() -> None:
    nights = Schedule("Europe/Amsterdam", (Window("22:00", "06:00"),))
    of = stop(0, hours=nights)
    autumn = [stay("2026-10-24T12:00+02:00", "2026-10-25T12:00+01:00")]
    spring = [stay("2026-03-28T12:00+01:00", "2026-03-29T12:00+02:00")]
    assert figures(of, autumn, "2026-11-01T00:00Z") == (9 * 60, 9 * 60)
    assert figures(of, spring, "2026-11-01T00:00Z") == (7 * 60, 7 * 60)


def test_who_comes_back_has_no_free_time_twice() -> None:
    stays = [
        stay("2026-06-05T10:00Z", "2026-06-05T10:40Z"),
        stay("2026-06-05T12:00Z", "2026-06-05T12:50Z"),
    ]
    assert figures(stop(), stays, "2026-06-05T20:00Z") == (90, 30)
    assert started(stop(), stays, "2026-06-05T20:00Z") == at("2026-06-05T12:20Z")


def test_when_it_will_be_used_up_is_known_over_a_weekend() -> None:
    saturdays = Schedule("Europe/Amsterdam", (Window("08:00", "17:00", ("sat",)),))
    stays = [stay("2026-06-01T10:00Z")]
    assert started(stop(hours=saturdays), stays, "2026-06-01T11:00Z") == at("2026-06-06T07:00Z")


def test_who_comes_back_to_a_stop_has_two_stays_and_its_detention_is_told_once() -> None:
    plan = msgspec.structs.replace(
        A_TO_B, stops=(msgspec.structs.replace(A_TO_B.stops[0], free_time_s=1_800), A_TO_B.stops[1])
    )
    seen = [
        see(0, "entered", 0), see(20, "exited", 0), see(30, "entered", 0), see(60, "exited", 0),
    ]  # fmt: skip
    derived = run(seen, plan)
    [first, second] = derived.record.stops[0].stays
    assert (first.arrived_by, first.left_by) == (seen[0].event, seen[1].event)
    assert second.left_at == from_us(60 * MINUTE_US)
    told = [one for one in derived.happenings if one.type == "stop.detention_started"]
    assert [(one.time_us // MINUTE_US, one.data["visit"]) for one in told] == [(40, 2)]
    assert told[0].data["device"] == "gps"
    # While it is there, the moment is a deadline.
    assert run(seen[:3], plan, now=35).due_us == 40 * MINUTE_US
    assert not [one for one in run(seen[:3], plan, now=35).happenings if "detention" in one.type]


def test_what_is_delivered_where_it_stands_waits_no_longer() -> None:
    plan = msgspec.structs.replace(
        A_TO_B, stops=(A_TO_B.stops[0], msgspec.structs.replace(A_TO_B.stops[1], free_time_s=0))
    )
    seen = [see(0, "entered", 0), see(5, "exited", 0), see(20, "entered", 1)]
    derived = run(seen, plan, custody=(part(0, 50), part(50, None, None)), now=90)
    assert derived.record.status == "delivered"
    [there] = derived.record.stops[1].stays
    assert there.left_at == from_us(50 * MINUTE_US)


MINUTES = st.integers(0, 1439)
HOURS = st.builds(
    Schedule,
    time_zone=st.sampled_from(ZONES),
    windows=st.lists(
        st.builds(
            Window,
            start=MINUTES.map(lambda m: f"{m // 60:02d}:{m % 60:02d}"),
            end=MINUTES.map(lambda m: f"{m // 60:02d}:{m % 60:02d}"),
            days=st.lists(
                st.sampled_from(["mon", "tue", "wed", "thu", "fri", "sat", "sun"]), unique=True
            ).map(tuple),
        ),
        min_size=1,
        max_size=3,
    ).map(tuple),
)


@st.composite
def visits(draw: st.DrawFn) -> tuple[list[Stay], datetime]:
    """Stays within a week, to the minute, and a moment behind their beginnings."""
    week = draw(st.sampled_from(WEEKS))
    edges = sorted(draw(st.sets(st.integers(0, 7 * 1440), min_size=2, max_size=6)))
    times = [week + edge * MINUTE for edge in edges]
    stays = [Stay(*pair) for pair in zip(times[::2], times[1::2], strict=False)]
    if len(times) % 2:
        stays.append(Stay(times[-1]))
    return stays, times[-1] + draw(st.integers(0, 2 * 1440)) * MINUTE


def counted(of: Stop, stays: Sequence[Stay], now: datetime) -> list[datetime]:
    """The minutes that count, by the wall clock, one by one."""
    found: list[datetime] = []
    for one in stays:
        minute = one.arrived_at
        while minute < (one.left_at or now):
            early = of.window is not None and of.window.start and minute < of.window.start
            if not early and (of.hours is None or is_open(of.hours, minute)):
                found.append(minute)
            minute += MINUTE
    return found


def is_open(hours: Schedule, moment: datetime) -> bool:
    local = moment.astimezone(ZoneInfo(hours.time_zone))
    clock, today = local.strftime("%H:%M"), local.strftime("%a").lower()
    yesterday = (local.replace(tzinfo=None) - timedelta(days=1)).strftime("%a").lower()
    for window in hours.windows:
        overnight = window.end <= window.start
        on_day = not window.days or today in window.days
        on_eve = not window.days or yesterday in window.days
        if on_day and clock >= window.start and (overnight or clock < window.end):
            return True
        if overnight and on_eve and clock < window.end:
            return True
    return False


@settings(max_examples=60, deadline=None)
@given(
    visits(),
    st.none() | HOURS,
    st.none() | st.integers(0, 3 * 1440),
    st.none() | st.integers(-1440, 5 * 1440),
)
def test_it_is_what_counting_minutes_comes_to(
    visited: tuple[list[Stay], datetime],
    hours: Schedule | None,
    free_min: int | None,
    early_min: int | None,
) -> None:
    stays, now = visited
    window = None
    if early_min is not None:
        window = PlannedWindow(start=stays[0].arrived_at + early_min * MINUTE)
    of = stop(free_min, hours=hours, window=window)
    minutes = counted(of, stays, now)
    found = detention(of, stays, to_us(now))
    assert found.waited_us == len(minutes) * MINUTE_US
    owed = [] if free_min is None else minutes[free_min:]
    assert found.billable_min == len(owed)
    billed = [
        from_us(us) for span in found.billable for us in range(span.from_us, span.to_us, MINUTE_US)
    ]
    assert billed == owed
    if owed:
        assert detention_starts_us(of, stays, to_us(now)) == to_us(owed[0])


@given(HOURS, st.sampled_from(WEEKS), st.integers(0, 8 * 86_400), st.integers(1, 3 * 86_400))
def test_open_spans_neither_touch_nor_overlap_and_are_open(
    hours: Schedule, week: datetime, start_s: int, length_s: int
) -> None:
    from_us_ = to_us(week) + start_s * 1_000_000
    spans = list(calendar(hours).spans(from_us_, from_us_ + length_s * 1_000_000))
    edges = [edge for span in spans for edge in span]
    assert edges == sorted(set(edges))
    for begin, end in spans:
        assert calendar(hours).open_at(begin)
        assert calendar(hours).open_at(end - 1)
        assert begin == from_us_ or not calendar(hours).open_at(begin - 1)
