"""What became of a shipment, by hand: statuses, stops, carriers, overrides, deadlines."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from tracking.custody import FOR_EVER_US, Segment
from tracking.shipment_fences import Circle, StopFence, plan_fences
from tracking.shipment_fold import derive
from tracking.shipments import (
    Act,
    Override,
    Place,
    Plan,
    PlannedWindow,
    Proof,
    Stop,
    StopKind,
    grounds,
)
from tracking.times import from_us
from tracking.voyage import Derived, Seen, Sighting

MINUTE_US = 60_000_000
EPOCH = from_us(0)


def stop(kind: StopKind, n: int, end: int | None = None) -> Stop:
    """A stop at place `n`; its window ends at that minute."""
    window = None if end is None else PlannedWindow(end=EPOCH + timedelta(minutes=end))
    return Stop(kind, f"{kind} {n}", Place(5.0 + n, 52.0), window=window)


A_TO_B = Plan("s1", (stop("pickup", 0), stop("delivery", 1, end=60)))


def see(
    minute: float, act: Seen, ground: int, *, near: bool = False, device: str = "gps"
) -> Sighting:
    return Sighting(
        round(minute * MINUTE_US), ground, near, act, device, f"{minute}{act}{ground}{near}"
    )


def part(start: float, end: float | None = None, device: str | None = "gps") -> Segment:
    to_us = FOR_EVER_US if end is None else round(end * MINUTE_US)
    return Segment(round(start * MINUTE_US), to_us, device)


def said(minute: float, act: Act, stop_: int | None = None, **more: Any) -> Override:  # noqa: ANN401 -- Override
    return Override(1, act, EPOCH + timedelta(minutes=minute), stop_, **more)


def run(
    seen: Sequence[Sighting] = (),
    plan: Plan = A_TO_B,
    custody: Sequence[Segment] = (part(0),),
    overrides: Sequence[Override] = (),
    now: float = 100,
) -> Derived:
    return derive(plan, 0, custody, seen, overrides=overrides, now_us=round(now * MINUTE_US))


def statuses(derived: Derived) -> list[tuple[float, str]]:
    return [
        (told.time_us / MINUTE_US, told.data["to"])
        for told in derived.happenings
        if told.type == "shipment.status_changed"
    ]


def minutes(derived: Derived) -> list[tuple[float | None, float | None]]:
    """(arrived, departed) of each stop."""

    def minute(moment: datetime | None) -> float | None:
        return None if moment is None else (moment - EPOCH).total_seconds() / 60

    return [(minute(one.arrived_at), minute(one.departed_at)) for one in derived.record.stops]


WHOLE_WAY = [
    see(4, "entered", 0, near=True), see(5, "entered", 0), see(10, "exited", 0),
    see(12, "exited", 0, near=True), see(40, "entered", 1, near=True), see(45, "entered", 1),
    see(50, "exited", 1), see(55, "exited", 1, near=True),
]  # fmt: skip


def test_a_shipment_goes_through_every_status_by_itself() -> None:
    found = run(WHOLE_WAY)
    assert statuses(found) == [
        (0, "planned"), (5, "at_stop"), (10, "picked_up"), (12, "in_transit"), (40, "arriving"),
        (45, "at_stop"), (50, "delivered"),
    ]  # fmt: skip
    assert minutes(found) == [(5, 10), (45, 50)]
    assert found.record.delivered_at == EPOCH + timedelta(minutes=50)
    assert (found.record.next_stop, found.record.exceptions, found.due_us) == (None, (), None)


@settings(max_examples=50, deadline=None)
@given(st.permutations(WHOLE_WAY))
def test_the_order_in_which_it_becomes_known_does_not_matter(seen: list[Sighting]) -> None:
    assert run(seen) == run(WHOLE_WAY)


def test_what_another_device_does_and_what_happened_before_custody_is_nothing() -> None:
    assert statuses(run(WHOLE_WAY, custody=[part(0, device="other")])) == [(0, "planned")]
    assert statuses(run(WHOLE_WAY, custody=[part(60)])) == [(0, "planned")]


def test_a_carrier_that_stands_at_the_pickup_has_arrived_when_it_takes_over() -> None:
    found = run(WHOLE_WAY, custody=[part(8)])
    assert minutes(found)[0] == (8, 10)
    assert statuses(found)[1:3] == [(8, "at_stop"), (10, "picked_up")]


def test_passing_the_destination_before_the_pickup_delivers_nothing() -> None:
    early = [see(1, "entered", 1), see(2, "exited", 1)]
    assert run([*early, *WHOLE_WAY]).record == run(WHOLE_WAY).record


def test_unloading_at_the_destination_delivers() -> None:
    found = run(WHOLE_WAY, custody=[part(0, 47)])
    assert statuses(found)[-1] == (47, "delivered")
    assert minutes(found)[1] == (45, None)


ROUND = Plan("s1", (stop("pickup", 0), stop("delivery", 1), stop("delivery", 2)))
ROUND_WAY = [
    *WHOLE_WAY, see(60, "entered", 2, near=True), see(65, "entered", 2), see(70, "exited", 2),
]  # fmt: skip
SAID = [
    said(7, "departed", 0), said(47, "arrived", 1), said(48, "delivered", 1),
    said(66, "delivered"), said(80, "cancelled"),
]  # fmt: skip


def test_unloading_on_the_way_is_told_though_the_status_stays() -> None:
    found = run(ROUND_WAY[:6], ROUND, custody=[part(0, 47)])
    assert (found.record.status, found.record.stops[1].done) == ("at_stop", True)
    [told] = [told for told in found.happenings if told.type == "stop.unloaded"]
    assert (told.time_us, told.data["stop"]) == (47 * MINUTE_US, 1)


@settings(max_examples=300, deadline=None)
@given(
    st.lists(st.sampled_from(ROUND_WAY), unique=True),
    st.sampled_from([None, 3, 7, 11, 47, 52, 67, 72]),
    st.lists(st.sampled_from(SAID), unique_by=id),
    st.integers(0, 20),
)
def test_nothing_changes_of_a_record_that_no_event_tells(
    seen: list[Sighting], end: float | None, overrides: list[Override], left_out: int
) -> None:
    """Who keeps a copy by events alone must hear of every change."""
    custody = [part(0, end)]
    before = seen[:left_out] + seen[left_out + 1 :]
    for earlier in (
        run(before, ROUND, custody, overrides),
        run(seen, ROUND, [part(0)], overrides),
        run(seen, ROUND, custody, overrides[:-1]),
    ):
        later = run(seen, ROUND, custody, overrides)
        if earlier.record != later.record:
            assert earlier.happenings != later.happenings


def test_an_end_of_custody_that_lies_ahead_is_waited_for() -> None:
    found = run(WHOLE_WAY[:6], custody=[part(0, 47)], now=46)
    assert (found.record.status, found.due_us) == ("at_stop", 47 * MINUTE_US)


def test_a_swap_of_devices_is_no_delivery_and_the_voyage_goes_on() -> None:
    swapped = [
        see(46, "entered", 1, device="new"), see(52, "exited", 1, device="new"),
    ]  # fmt: skip
    custody = [part(0, 46.5), part(46.5, device="new")]
    found = run([*WHOLE_WAY[:6], *swapped], custody=custody)
    assert minutes(found) == [(5, 10), (45, 52)]
    assert statuses(found)[-1] == (52, "delivered")


def test_a_shipment_changes_trucks_at_a_stop_on_the_way() -> None:
    plan = Plan("s1", (stop("pickup", 0), stop("via", 1), stop("delivery", 2)))
    seen = [
        see(5, "entered", 0), see(10, "exited", 0), see(20, "entered", 1), see(25, "exited", 1),
        see(15, "entered", 1, device="second"), see(40, "exited", 1, device="second"),
        see(50, "entered", 2, device="second"),
    ]  # fmt: skip
    # The first truck leaves at 25 without it; it waits, and the second one takes it at 30.
    custody = [part(0, 22), part(22, 30, None), part(30, device="second")]
    found = run(seen, plan, custody)
    assert minutes(found) == [(5, 10), (20, 40), (50, None)]
    assert (found.record.status, found.record.at_stop) == ("at_stop", 2)


def test_a_shipment_found_elsewhere_has_left_its_stop() -> None:
    custody = [part(0, 8), part(8, 20, None), part(20, device="second")]
    found = run(WHOLE_WAY[:2], custody=custody)
    assert minutes(found)[0] == (5, 20)
    assert found.record.status == "in_transit"


def test_two_stops_in_one_place_are_told_apart_by_the_plan() -> None:
    plan = Plan("s1", (stop("pickup", 0), stop("delivery", 1), stop("delivery", 0)))
    assert grounds(plan.stops) == [0, 1, 0]
    forgot = [see(5, "entered", 0), see(6, "exited", 0), see(7, "entered", 0), see(8, "exited", 0)]
    found = run([*forgot, see(20, "entered", 1), see(25, "exited", 1), see(40, "entered", 0)], plan)
    assert minutes(found) == [(5, 8), (20, 25), (40, None)]
    arrivals = [t.data["visit"] for t in found.happenings if t.type == "stop.arrived"]
    assert arrivals == [1, 2, 1, 1]


def test_a_via_counts_when_it_is_passed_and_not_when_it_is_left_out() -> None:
    plan = Plan("s1", (stop("pickup", 0), stop("via", 1), stop("delivery", 2)))
    begin, end = [see(5, "entered", 0), see(10, "exited", 0)], [see(30, "entered", 2)]
    passed = run([*begin, see(20, "crossed", 1), *end], plan)
    assert minutes(passed)[1] == (20, 20)
    left_out = run([*begin, *end], plan)
    assert minutes(left_out)[1] == (None, None)
    assert left_out.record.status == "at_stop"


def test_a_delivery_is_not_made_by_driving_past_it() -> None:
    assert minutes(run([*WHOLE_WAY[:3], see(40, "crossed", 1)]))[1] == (None, None)


def test_without_a_pickup_it_is_on_its_way_when_somebody_carries_it() -> None:
    found = run([], Plan("s1", (stop("delivery", 1),)), [part(7)])
    assert statuses(found) == [(0, "planned"), (7, "in_transit")]


def test_what_somebody_says_counts_instead_of_what_was_seen() -> None:
    proof = Proof(name="J. Doe")
    found = run(WHOLE_WAY, overrides=[said(43, "delivered", 1, proof=proof)])
    assert statuses(found)[-1] == (43, "delivered")
    assert found.record.stops[1].proof == proof
    moved = run(WHOLE_WAY, overrides=[said(7, "arrived", 0)])
    assert minutes(moved)[0] == (7, 10)
    assert [t.rule for t in moved.happenings if t.type == "shipment.overridden"] == ["override:1"]


def test_who_is_said_to_have_left_and_comes_back_leaves_when_that_is_seen() -> None:
    seen = [see(10, "entered", 0), see(20, "exited", 0)]
    derived = run(seen, overrides=[said(5, "departed", 0)])
    assert statuses(derived)[1:] == [(5, "in_transit"), (10, "at_stop"), (20, "in_transit")]
    # Of the stay that it is about, a word counts more than what is seen.
    derived = run(seen, overrides=[said(15, "departed", 0)])
    assert derived.record.stops[0].departed_at == EPOCH + timedelta(minutes=15)
    derived = run(seen, overrides=[said(25, "departed", 0)])
    assert derived.record.stops[0].departed_at == EPOCH + timedelta(minutes=25)


def test_an_override_that_is_withdrawn_never_was() -> None:
    withdrawn = said(43, "delivered", 1, withdrawn_at=EPOCH)
    assert run(WHOLE_WAY, overrides=[withdrawn]) == run(WHOLE_WAY)


def test_a_shipment_that_was_cancelled_stays_so() -> None:
    found = run(WHOLE_WAY, overrides=[said(30, "cancelled")])
    assert statuses(found)[-2:] == [(12, "in_transit"), (30, "cancelled")]
    assert found.record.delivered_at is None


def test_a_window_that_passes_is_told_once_and_at_its_end() -> None:
    waiting = run(WHOLE_WAY[:3], now=59)
    assert (waiting.record.exceptions, waiting.due_us) == ((), 60 * MINUTE_US)
    late = run(WHOLE_WAY[:3], now=61)
    delayed = [(t.time_us, t.rule) for t in late.happenings if t.type == "shipment.delayed"]
    assert (late.record.exceptions, delayed) == (("delayed",), [(60 * MINUTE_US, "stop:1")])
    # It becomes known that it had been there in time.
    assert "delayed" not in run(WHOLE_WAY[:7], now=61).record.exceptions
    arrived_late = run([*WHOLE_WAY[:3], see(70, "entered", 1), see(75, "exited", 1)], now=80)
    assert [t.time_us for t in arrived_late.happenings if t.type == "shipment.delayed"] == [
        60 * MINUTE_US
    ]


def test_every_event_has_an_id_of_its_own() -> None:
    found = run([*WHOLE_WAY, see(1, "entered", 1)], overrides=[said(20, "arrived", 0)])
    keys = [(told.type, told.time_us, told.rule) for told in found.happenings]
    assert len(set(keys)) == len(keys)


def test_fences_are_made_for_the_devices_that_carry_it_and_for_nobody_else() -> None:
    first = plan_fences(A_TO_B, [part(63)], [], {}, serial=0, final=False)
    assert [(f.fence, f.ground, f.near, f.device) for f in first.fences] == [
        ("shipment:s1:1", 0, False, "gps"), ("shipment:s1:2", 0, True, "gps"),
        ("shipment:s1:3", 1, False, "gps"), ("shipment:s1:4", 1, True, "gps"),
    ]  # fmt: skip
    # An hour before it takes it: where it stands by then is to be known.
    assert {d.effective_from_us for d in first.make} == {3 * MINUTE_US}
    assert {d.options.applies_to.devices for d in first.make} == {("gps",)}
    again = plan_fences(A_TO_B, [part(63)], first.fences, {}, serial=4, final=False)
    assert (again.make, again.delete, again.fences) == ([], [], first.fences)
    # Another device joins; the first one turns out to have carried it from earlier on.
    more = plan_fences(
        A_TO_B, [part(61, 69), part(69, device="b")], first.fences, {}, serial=4, final=False
    )
    assert len(more.make) == 8
    assert more.serial == 12
    assert more.delete == [f.fence for f in first.fences]
    ended = plan_fences(A_TO_B, [part(63)], first.fences, {}, serial=4, final=True)
    assert (len(ended.delete), {f.ended for f in ended.fences}) == (4, {True})
    # It was not delivered after all.
    back = plan_fences(A_TO_B, [part(63)], ended.fences, {}, serial=4, final=False)
    assert [f.fence for f in back.fences] == [f"shipment:s1:{n}" for n in range(5, 9)]


def test_a_fence_of_the_tenants_own_gets_a_ring_only() -> None:
    plan = Plan("s1", (Stop("pickup", "Depot", fence="depot"), stop("delivery", 1)))
    planned = plan_fences(plan, [part(0)], [], {"depot": Circle(5, 52, 300)}, serial=0, final=False)
    assert StopFence("depot", 0, near=False) in planned.fences
    [ring] = [f for f in planned.fences if f.ground == 0 and f.near]
    assert ring.circle == Circle(5, 52, 2_300)
