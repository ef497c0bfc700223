"""What lies ahead of a shipment, by a forecaster whose answers are known."""

from datetime import UTC, datetime, timedelta
from math import hypot
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tracking.eta.engine import Engine, Leg
from tracking.eta.itinerary import (
    USUAL_STAY_S,
    Given,
    Here,
    Itinerary,
    Site,
    itinerary,
)
from tracking.eta.lane import Arrival
from tracking.eta.spread import Spread
from tracking.eta.way import way_of
from tracking.fences import Schedule, Window
from tracking.shipments import Place, Plan, PlannedWindow, Record, Stop, StopKind, StopRecord

NOW = datetime(2026, 11, 28, 12, 0, tzinfo=UTC)
NOW_S = NOW.timestamp()
DEPOT, SHOP, HUB = Place(5.0, 52.0, 100), Place(5.1, 52.0, 100), Place(5.3, 52.0, 100)


class Steady(Engine):
    """Ten metres a second as the crow flies or along the way, a tenth to either side."""

    def __init__(self) -> None:
        self.asked: list[tuple[Leg, float]] = []

    def forecast(self, leg: Leg, now_s: float) -> Arrival:
        self.asked.append((leg, now_s))
        took_s = leg.left_m / 10.0
        return Arrival(0.9 * took_s, took_s, 1.1 * took_s, took_s, took_s, 3.0, 0.0)


def plan(*stops: Stop) -> Plan:
    return Plan("s1", stops)


def delivery(place: Place, **members: Any) -> Stop:  # noqa: ANN401 -- Stop
    return Stop("delivery", members.pop("name", "Shop"), place, **members)


def record(plan: Plan, **members: Any) -> Record:  # noqa: ANN401 -- Record
    stops = members.pop("stops", tuple(StopRecord() for _ in plan.stops))
    return Record(members.pop("status", "in_transit"), NOW, stops, **members)


def look(plan: Plan, became: Record, engine: Engine | None = None, **members: Any) -> Itinerary:  # noqa: ANN401
    return itinerary(
        plan, became, _sites(plan), Here((5.0, 52.0), NOW_S, members.get("still_s", 0.0)),
        engine=engine or Steady(),
        ways=members.get("ways", {}),
    )  # fmt: skip


def test_stops_follow_each_other_with_their_stays() -> None:
    planned = plan(delivery(SHOP, service_s=600.0), delivery(HUB))
    engine = Steady()
    first, second = look(planned, record(planned, next_stop=0), engine).ahead
    assert first.arrive.p50_s == pytest.approx(NOW_S + first.left_m / 10)
    assert first.left_m == pytest.approx(6_860.0 - 100.0, rel=0.01)
    assert first.leave.p50_s == pytest.approx(first.arrive.p50_s + 600.0)
    assert second.arrive.p50_s == pytest.approx(first.leave.p50_s + second.leg_m / 10)
    assert (first.legs, second.legs) == (1, 2)
    assert second.staying_s == pytest.approx(600.0)
    assert second.driving_s == pytest.approx((first.leg_m + second.leg_m) / 10)
    # A later leg is asked for when it is driven, and as one between two known places.
    (leg, _), (later, when_s) = engine.asked
    assert leg.lane is None
    assert when_s == pytest.approx(first.leave.p50_s)
    assert later.lane == ("Shop 52.000,5.100", "Shop 52.000,5.300")


def test_errors_of_the_parts_add_up_by_squares() -> None:
    planned = plan(delivery(SHOP, service_s=600.0), delivery(HUB))
    first, second = look(planned, record(planned, next_stop=0)).ahead
    stay_s, leg_s = 0.5 * 600.0, 0.1 * second.leg_m / 10
    low_s = hypot(first.arrive.p50_s - first.arrive.p10_s, stay_s, leg_s)
    assert second.arrive.p50_s - second.arrive.p10_s == pytest.approx(low_s)


def test_who_waits_for_a_window_or_a_gate_leaves_by_the_clock() -> None:
    opens = NOW + timedelta(hours=2)
    window = PlannedWindow(opens, None)
    hours = Schedule("UTC", (Window("15:00", "18:00"),))
    planned = plan(delivery(SHOP, window=window, service_s=600.0), delivery(HUB, hours=hours))
    first, second = look(planned, record(planned, next_stop=0)).ahead
    # It comes before, which is no news to those at the gate.
    assert first.arrive.p50_s < opens.timestamp() < first.leave.p10_s
    assert first.leave.p50_s == pytest.approx(opens.timestamp() + 600.0)
    # Waiting takes in what the drive may be off by.
    assert first.leave.p50_s - first.leave.p10_s == pytest.approx(300.0)
    assert second.leave.p50_s == pytest.approx(
        (NOW + timedelta(hours=3)).timestamp() + USUAL_STAY_S
    )


def test_nobody_waits_at_a_via_for_its_window() -> None:
    window = PlannedWindow(NOW + timedelta(hours=2), None)
    planned = plan(Stop("via", "Bridge", SHOP, window=window), delivery(HUB))
    first, second = look(planned, record(planned, next_stop=0)).ahead
    assert first.leave == first.arrive
    assert second.arrive.p50_s < NOW_S + 3_600


def test_a_pickup_is_not_expected_before_it_is_planned() -> None:
    window = PlannedWindow(NOW + timedelta(hours=9), None)
    planned = plan(Stop("pickup", "Depot", SHOP, window=window), delivery(HUB))
    first, _ = look(planned, record(planned, status="planned", next_stop=0)).ahead
    assert first.arrive == Spread.at((NOW + timedelta(hours=9)).timestamp())


@pytest.mark.parametrize(
    ("minutes", "left_s", "most_s"), [(2, 480.0, 930.0), (12, 60.0, 330.0), (30, 600.0, 1_200.0)]
)
def test_a_stay_under_way_takes_the_rest_of_it_and_a_long_one_goes_on(
    minutes: int, left_s: float, most_s: float
) -> None:
    planned = plan(Stop("pickup", "Depot", DEPOT, service_s=600.0), delivery(SHOP))
    since = NOW - timedelta(minutes=minutes)
    became = record(
        planned, status="at_stop", at_stop=0, next_stop=1, stops=(StopRecord(since), StopRecord())
    )
    became = msgspec.structs.replace(became, since=since)
    found = look(planned, became)
    assert found.leave is not None
    assert found.leave.p50_s - NOW_S == pytest.approx(left_s)
    assert found.leave.p90_s - NOW_S == pytest.approx(most_s)
    [shop] = found.ahead
    assert shop.arrive.p50_s == pytest.approx(found.leave.p50_s + shop.leg_m / 10)


@pytest.mark.parametrize(("still_s", "waits_s"), [(240.0, 0.0), (1_200.0, 600.0)])
def test_who_stands_on_the_way_is_expected_to_go_on_standing(
    still_s: float, waits_s: float
) -> None:
    planned = plan(delivery(SHOP))
    [shop] = look(planned, record(planned, next_stop=0), still_s=still_s).ahead
    assert shop.arrive.p50_s == pytest.approx(NOW_S + waits_s + shop.driving_s)
    assert shop.arrive.p90_s - shop.arrive.p50_s >= waits_s
    assert shop.staying_s == pytest.approx(waits_s, abs=1e-3)


def test_a_way_that_is_known_is_followed() -> None:
    way = way_of([(5.0, 52.0), (5.05, 52.05), (5.1, 52.0)])
    planned = plan(delivery(SHOP))
    engine = Steady()
    given_way = Given("route", way.path, way.length_m)
    [shop] = look(planned, record(planned, next_stop=0), engine, ways={0: given_way}).ahead
    assert (shop.path, shop.left_m) == ("route", way.length_m)
    assert engine.asked[0][0].path is way.path


def test_a_stop_that_is_nowhere_is_not_expected_anywhere() -> None:
    planned = plan(Stop("delivery", "By mail"), delivery(HUB))
    [hub] = look(planned, record(planned, next_stop=0)).ahead
    assert (hub.stop, hub.legs) == (1, 1)


def test_what_is_over_has_nothing_ahead() -> None:
    planned = plan(delivery(SHOP))
    assert look(planned, record(planned, status="delivered")) == Itinerary(None, [])


stops = st.lists(
    st.builds(
        Stop,
        kind=st.sampled_from(["pickup", "delivery", "via"]),
        name=st.just("x"),
        place=st.builds(Place, st.floats(4.9, 5.5), st.floats(51.8, 52.3)),
        window=st.none()
        | st.integers(-300, 900).map(lambda m: PlannedWindow(NOW + timedelta(minutes=m), None)),
        service_s=st.sampled_from([0.0, 60.0, 3_600.0]),
        hours=st.none() | st.just(Schedule("Europe/Amsterdam", (Window("08:00", "14:00"),))),
    ),
    min_size=1,
    max_size=6,
)


@given(stops, st.sampled_from(["planned", "in_transit"]))
def test_bounds_are_in_order_and_stops_too(stops: list[Stop], status: str) -> None:
    planned = plan(*stops)
    moment = Spread.at(NOW_S)
    for one in look(planned, record(planned, status=status, next_stop=0)).ahead:
        for spread in (one.arrive, one.leave):
            assert spread.p10_s <= spread.p50_s <= spread.p90_s
        assert moment.p50_s <= one.arrive.p50_s <= one.leave.p50_s
        assert one.driving_s + one.staying_s == pytest.approx(one.arrive.p50_s - NOW_S)
        moment = one.leave


class TestTimetable:
    """From the depot at noon and ten minutes later to the shop, then to the hub."""

    @staticmethod
    def planned(kind: StopKind = "delivery", *, timetable: bool = True) -> Plan:
        minutes = ((DEPOT, 0), (SHOP, 40), (HUB, 120))
        windows = [PlannedWindow(NOW + timedelta(minutes=minute)) for _, minute in minutes]
        depot, shop, hub = (
            Stop(kind, "Halt", place, window=window, service_s=600.0)
            for (place, _), window in zip(minutes, windows, strict=True)
        )
        stops = (depot, shop, msgspec.structs.replace(hub, service_s=0.0))
        return Plan("s1", stops, timetable=timetable)

    @staticmethod
    def on_the_way(planned: Plan, left: datetime) -> Record:
        return record(planned, stops=(StopRecord(NOW, left), StopRecord(), StopRecord()))

    @staticmethod
    def waiting(planned: Plan, since: datetime) -> Record:
        became = record(
            planned, status="at_stop", at_stop=0, next_stop=1,
            stops=(StopRecord(since), StopRecord(), StopRecord()),
        )  # fmt: skip
        return msgspec.structs.replace(became, since=since)

    @staticmethod
    def off_min(found: Itinerary) -> list[float]:
        """When stops are reached, by p50, in minutes from noon."""
        return [round((one.arrive.p50_s - NOW_S) / 60.0, 3) for one in found.ahead]

    @pytest.mark.parametrize("kind", ["delivery", "via"])
    def test_before_anything_is_learned_the_timetable_is_the_forecast(self, kind: StopKind) -> None:
        planned = self.planned(kind)
        found = look(planned, self.waiting(planned, NOW - timedelta(minutes=30)), Engine())
        # Who came early waits, and nobody leaves before the plan says so.
        assert found.leave is not None
        assert found.leave.p10_s == found.leave.p50_s == NOW_S + 600.0
        assert self.off_min(found) == [40.0, 120.0]
        assert [one.usual_s for one in found.ahead] == [1_800.0, 1_800.0 + 4_200.0]
        assert found.ahead[-1].leave == found.ahead[-1].arrive.not_before(NOW_S + 7_200.0)

    def test_without_it_the_same_windows_are_promises(self) -> None:
        planned = self.planned(timetable=False)
        engine = Steady()
        look(planned, self.waiting(planned, NOW), engine)
        assert [leg.planned_s for leg, _ in engine.asked] == [None, None]

    def test_who_is_late_leaves_when_it_has_been_served_and_is_late_further_on(self) -> None:
        planned = self.planned()
        late = NOW + timedelta(minutes=55)
        place = Place(5.0, 52.0, 100)
        found = itinerary(
            planned, self.waiting(planned, late), _sites(planned),
            Here((place.lon, place.lat), late.timestamp()), engine=Engine(), ways={},
        )  # fmt: skip
        # Ten minutes there, half an hour to drive, ten minutes, and seventy.
        assert self.off_min(found) == [95.0, 175.0]
        assert found.ahead[0].leave.p50_s == NOW_S + 60.0 * 105

    @pytest.mark.parametrize("part", [0.0, 0.25, 0.5, 0.9])
    def test_of_the_leg_that_it_is_on_the_part_ahead_counts(self, part: float) -> None:
        planned, engine = self.planned(), Steady()
        whole_deg = SHOP.lon - DEPOT.lon
        here = Here((DEPOT.lon + part * whole_deg, 52.0), NOW_S)
        itinerary(
            planned, self.on_the_way(planned, NOW), _sites(planned), here, engine=engine, ways={}
        )
        (now, _), (later, _) = engine.asked
        assert now.planned_s == pytest.approx(1_800.0 * (1.0 - part), abs=30.0)
        assert later.planned_s == 4_200.0

    def test_a_way_that_winds_tells_the_part_better_than_the_crow(self) -> None:
        planned, engine = self.planned(), Steady()
        way = way_of([(5.0, 52.0), (5.05, 52.02), (5.1, 52.0)])
        became = self.on_the_way(planned, NOW)
        ways = {1: Given("route", way.path, way.length_m, part=0.75)}
        look(planned, became, engine, ways=ways)
        assert engine.asked[0][0].planned_s == 1_350.0

    def test_who_comes_from_no_stop_of_it_is_on_no_leg_of_the_timetable(self) -> None:
        planned, engine = self.planned(), Steady()
        look(planned, record(planned, status="planned", next_stop=0), engine)
        assert [leg.planned_s for leg, _ in engine.asked] == [None, 1_800.0, 4_200.0]


def _sites(plan: Plan) -> list[Site | None]:
    return [
        None if stop.place is None else Site((stop.place.lon, stop.place.lat), stop.place.radius_m)
        for stop in plan.stops
    ]
