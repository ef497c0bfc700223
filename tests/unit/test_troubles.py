"""What goes wrong with a shipment: deadlines, standing still, its way; by hand."""

import random
from collections.abc import Sequence
from datetime import timedelta

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.test_shipment_fold import (
    EPOCH,
    MINUTE_US,
    WHOLE_WAY,
    part,
    said,
    see,
    stop,
)
from tracking.custody import FOR_EVER_US, Segment
from tracking.route.follow import Change, Seen, Transition
from tracking.route.polyline import encode
from tracking.shipment_fold import derive
from tracking.shipments import LINE_DIGITS, Limits, Override, Plan, PlannedWindow, Route
from tracking.troubles import Stand, because_of
from tracking.voyage import Derived, Sighting

LIMITS = Limits(stalled_after_s=600, overdue_after_s=1_200, departure_grace_s=300)
ROUTE = Route(encode([(5.0, 52.0), (6.0, 52.0)], LINE_DIGITS))
PLAN = Plan("s1", (stop("pickup", 0), stop("delivery", 1, end=60)), limits=LIMITS, route=ROUTE)
ON_THE_WAY = WHOLE_WAY[:4]  # left the depot at minute 10


def stand(start: float, end: float | None, still: float, device: str = "gps") -> Stand:
    until_us = FOR_EVER_US if end is None else round(end * MINUTE_US)
    return Stand(device, round(start * MINUTE_US), until_us, round(still * MINUTE_US), 5, 52, "e")


def change(what: Change, minute: float) -> Transition:
    time_us = round(minute * MINUTE_US)
    seen = Seen(time_us, "gps", 5.5, 52.0, 1_234.56, 321.09, "off")
    return Transition(what, (time_us + 1, -1), (seen,))


def run(  # noqa: PLR0917 -- inputs of the fold
    seen: Sequence[Sighting] = ON_THE_WAY,
    now: float = 50,
    stands: Sequence[Stand] = (),
    transitions: Sequence[Transition] = (),
    custody: Sequence[Segment] = (part(0),),
    plan: Plan = PLAN,
    overrides: Sequence[Override] = (),
) -> Derived:
    return derive(
        plan, 0, custody, seen, overrides=overrides, now_us=round(now * MINUTE_US),
        transitions=transitions, stands=stands,
    )  # fmt: skip


def told(derived: Derived) -> list[tuple[str, float]]:
    """(what, minute) of all events about trouble."""
    kinds = ("stalled", "moving", "overdue", "not_departed", "route.")
    return [
        (one.type.rpartition(".")[2], one.time_us / MINUTE_US)
        for one in derived.happenings
        if any(kind in one.type for kind in kinds)
    ]


def test_a_stop_is_overdue_so_long_behind_its_window_until_it_is_reached() -> None:
    waiting = run(now=70)
    assert (waiting.record.exceptions, waiting.due_us) == (("delayed",), 80 * MINUTE_US)
    overdue = run(now=81)
    assert (overdue.record.exceptions, told(overdue)) == (("delayed", "overdue"), [("overdue", 80)])
    reached = run([*ON_THE_WAY, see(90, "entered", 1)], now=91)
    assert (reached.record.exceptions, told(reached)) == (("delayed",), [("overdue", 80)])
    # It becomes known that it had been there by then.
    assert told(run([*ON_THE_WAY, see(75, "entered", 1), see(76, "exited", 1)], now=91)) == []


def test_at_the_very_deadline_it_is_looked_at_once_more() -> None:
    assert run(now=80).due_us == 80 * MINUTE_US + 1


def test_who_stays_behind_the_end_of_service_has_not_departed() -> None:
    served = msgspec.structs.replace(PLAN.stops[0], service_s=120)
    plan = msgspec.structs.replace(PLAN, stops=(served, PLAN.stops[1]))
    there = WHOLE_WAY[:2]  # since minute 5; two minutes of service, five of grace
    assert (run(there, now=11, plan=plan).due_us, told(run(there, now=11, plan=plan))) == (
        12 * MINUTE_US, [],
    )  # fmt: skip
    late = run(there, now=13, plan=plan)
    assert (late.record.exceptions, told(late)) == (("not_departed",), [("not_departed", 12)])
    assert late.happenings[-1].data["stop"] == 0
    left = run([*there, see(20, "exited", 0)], now=21, plan=plan)
    assert (left.record.exceptions, told(left)) == ((), [("not_departed", 12)])
    assert told(run([*there, see(11, "exited", 0)], now=21, plan=plan)) == []


def test_service_begins_with_the_window_for_who_comes_early() -> None:
    opens = PlannedWindow(start=EPOCH + timedelta(minutes=30))
    early = msgspec.structs.replace(PLAN.stops[0], window=opens)
    plan = msgspec.structs.replace(PLAN, stops=(early, PLAN.stops[1]))
    assert told(run(WHOLE_WAY[:2], now=34, plan=plan)) == []
    assert told(run(WHOLE_WAY[:2], now=36, plan=plan)) == [("not_departed", 35)]


def test_standing_still_on_the_way_is_told_once_a_fix_shows_it() -> None:
    quiet = run(stands=[stand(20, None, still=24)], now=29)
    assert (told(quiet), quiet.due_us) == ([], 30 * MINUTE_US)
    # Nobody knows where it is; it is looked at again later and later.
    assert run(stands=[stand(20, None, still=24)], now=31).due_us == 32 * MINUTE_US
    assert run(stands=[stand(20, None, still=24)], now=50).due_us == 55 * MINUTE_US
    stalled = run(stands=[stand(20, None, still=31)], now=32)
    assert (stalled.record.exceptions, told(stalled)) == (("stalled",), [("stalled", 30)])
    moved = run(stands=[stand(20, 40, still=39)])
    assert (moved.record.exceptions, told(moved)) == ((), [("stalled", 30), ("moving", 40)])


@pytest.mark.parametrize(
    "stands",
    [
        [stand(20, 29, still=29)],  # not for long
        [stand(20, 40, still=22)],  # seen elsewhere after a gap
        [stand(20, 40, still=39, device="other")],
        [stand(1, 10, still=9)],  # at the depot
        [stand(4, 12, still=11)],
    ],
)
def test_what_is_no_standing_still_on_the_way(stands: list[Stand]) -> None:
    assert told(run(stands=stands)) == []


def test_standing_still_ends_at_a_stop_with_custody_and_with_the_voyage() -> None:
    arrived = run([*ON_THE_WAY, see(45, "entered", 1)], stands=[stand(20, None, still=49)])
    assert told(arrived) == [("stalled", 30), ("moving", 45)]
    assert arrived.happenings[-1].data["because"] == "arrived"
    swapped = [part(0, 35), part(35, device="new")]
    assert told(run(custody=swapped, stands=[stand(20, None, still=49)])) == [
        ("stalled", 30), ("moving", 35),
    ]  # fmt: skip
    called_off = run(overrides=[said(42, "cancelled")], stands=[stand(20, None, still=49)])
    assert told(called_off) == [("stalled", 30), ("moving", 42)]
    assert called_off.record.exceptions == ()


def test_the_way_left_and_found_again_while_under_way() -> None:
    before, off, back = change("deviated", 8), change("deviated", 20), change("rejoined", 30)
    assert told(run(transitions=[before])) == []
    left = run(transitions=[off])
    assert (left.record.exceptions, told(left)) == (("off_route",), [("deviated", 20)])
    data = left.happenings[-1].data
    assert (data["device"], data["progress_m"], data["offset_m"]) == ("gps", 1_234.6, 321.1)
    assert data["fixes"][0]["fix_time"] == "1970-01-01T00:20:00Z"
    found = run(transitions=[off, back])
    assert (found.record.exceptions, told(found)) == ((), [("deviated", 20), ("rejoined", 30)])
    wrong = run(transitions=[change("reversed", 25)])
    assert wrong.record.exceptions == ("opposite_direction",)
    assert run(WHOLE_WAY, transitions=[off], now=59).record.exceptions == ()


def test_every_event_of_trouble_says_why_it_was_told() -> None:
    seen = [*ON_THE_WAY, see(85, "entered", 1)]
    off = [change("deviated", 30), change("rejoined", 50), change("reversed", 60)]
    found = run(seen, 110, [stand(20, 40, still=39)], [*off, change("resumed", 70)])
    why = {one.type: because_of(one.type, one.data) for one in found.happenings}
    assert why["shipment.status_changed"] is None
    assert why["shipment.stalled"] == (
        "gps had stood still since 1970-01-01T00:20:00Z, and a fix after the limit shows it there",
        {"stalled_after_s": 600},
    )
    assert why["route.deviated"] == (
        "gps at 1970-01-01T00:30:00Z: 321.1 m beside the way, 1234.6 m along it",
        {"detect_m": 150.0, "clear_m": 75.0, "n": 3, "of_m": 5},
    )
    assert [type_ for type_, told_ in why.items() if told_ is None] == [
        "shipment.status_changed", "stop.arrived", "stop.departed", "shipment.delayed",
    ]  # fmt: skip


@settings(max_examples=40, deadline=None)
@given(st.randoms(use_true_random=False))
def test_in_whatever_order_it_becomes_known_the_record_is_the_same(rng: random.Random) -> None:
    seen = [*ON_THE_WAY, see(85, "entered", 1), see(100, "exited", 1)]
    stands = [stand(20, 40, still=39), stand(60, 75, still=74)]
    mixed, others = rng.sample(seen, len(seen)), rng.sample(stands, 2)
    off = [change("deviated", 30), change("rejoined", 50)]
    expected = run(seen, 110, stands, off)
    assert run(mixed, 110, others, off) == expected
    assert told(expected) == [
        ("stalled", 30), ("deviated", 30), ("moving", 40), ("rejoined", 50), ("stalled", 70),
        ("moving", 75), ("overdue", 80), ("not_departed", 90),
    ]  # fmt: skip
