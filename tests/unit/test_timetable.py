"""Planned times as a timetable: which make one, and what it has for a drive."""

from datetime import UTC, datetime, timedelta

import msgspec
import pytest

from tracking.errors import InputError
from tracking.shipments import Plan, PlannedWindow, Stop
from tracking.timetable import check_timetable, leg_planned_s

EIGHT = datetime(2026, 11, 28, 8, 0, tzinfo=UTC)


def plan(*minutes: float | None, service_s: float = 600.0, timetable: bool = True) -> Plan:
    """Stops that are reached so many minutes after eight."""
    windows = [
        None if minute is None else PlannedWindow(EIGHT + timedelta(minutes=minute))
        for minute in minutes
    ]
    stops = [Stop("via", "Halt", window=window, service_s=service_s) for window in windows]
    return Plan("s1", tuple(stops), timetable=timetable)


@pytest.mark.parametrize(
    ("minutes", "fault"),
    [((0, None, 60), 1), ((None, 30), 0), ((0, 30, 30), 2), ((0, 30, 20), 2), ((0, 9, 60), 1)],
)
def test_a_time_that_is_missing_or_before_the_last_stop_is_left_is_named(
    minutes: tuple[float | None, ...], fault: int
) -> None:
    with pytest.raises(InputError, match="timetable") as refused:
        check_timetable(plan(*minutes))
    assert refused.value.field == f"stops[{fault}].window.from"
    check_timetable(plan(*minutes, timetable=False))


def test_starts_rise_even_where_nobody_stays() -> None:
    with pytest.raises(InputError):
        check_timetable(plan(0, 0, service_s=0.0))
    # Two stops at one dock: the second begins when the first ends.
    check_timetable(plan(0, 10, 60))


def test_a_drive_is_from_leaving_one_stop_to_coming_to_the_other() -> None:
    planned = plan(0, 40, 100)
    assert leg_planned_s(planned, 0, 1) == 1_800.0
    assert leg_planned_s(planned, 0, 2) == 5_400.0


def test_windows_alone_are_promises_and_no_timetable() -> None:
    assert leg_planned_s(plan(0, 40, timetable=False), 0, 1) is None


def test_what_a_pickup_that_was_planned_anew_left_without_sense_says_nothing() -> None:
    planned = plan(0, 40, 100)
    moved = msgspec.structs.replace(planned, stops=(planned.stops[0], *plan(5, 100).stops))
    assert leg_planned_s(moved, 0, 1) is None
    assert leg_planned_s(moved, 1, 2) == 5_100.0
    assert leg_planned_s(planned, 2, 1) is None
