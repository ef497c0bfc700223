"""Looks at a shipment, one after the other: what is told, why, and what is at risk."""

from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest

from tracking.estimates import Estimate, expected
from tracking.eta.engine import Engine, Leg
from tracking.eta.itinerary import Given, Here, Site
from tracking.eta.lane import Arrival
from tracking.eta.outlook import Look, Seen, look
from tracking.eta.way import way_of
from tracking.shipments import Place, Plan, PlannedWindow, Record, Stop, StopRecord

NOW = datetime(2026, 11, 28, 12, 0, tzinfo=UTC)
DEPOT, SHOP = Place(5.0, 52.0, 100), Place(5.3, 52.0, 100)
# 20.5 km, at ten metres a second.
LEG_S = 2_045.0


class Pace(Engine):
    """As many metres a second as it is told."""

    def __init__(self, mps: float = 10.0) -> None:
        self.mps = mps

    def forecast(self, leg: Leg, now_s: float) -> Arrival:
        del now_s
        took_s = leg.left_m / self.mps
        return Arrival(0.9 * took_s, took_s, 1.1 * took_s, leg.left_m / 10.0, took_s, 7.0, 0.0)


class Trip:
    """A shipment on its way to the shop, and the estimate after each look."""

    def __init__(self, *, window_end: datetime | None = None) -> None:
        window = None if window_end is None else PlannedWindow(None, window_end)
        stops = Stop("pickup", "Depot", DEPOT, service_s=600.0), Stop("delivery", "Shop", SHOP)
        self.plan = Plan("s1", (stops[0], msgspec.structs.replace(stops[1], window=window)), "o1")
        left = StopRecord(NOW - timedelta(hours=1), NOW, done=True)
        self.record = Record("in_transit", NOW, (left, StopRecord()), NOW, next_stop=1)
        self.engine = Pace()
        self.estimate: Estimate | None = None
        self.version = self.carrier = 1

    def look(self, minutes: float, lon: float, **seen: Any) -> Look:  # noqa: ANN401 -- Seen
        sites = [Site((p.lon, p.lat), p.radius_m) for p in (DEPOT, SHOP)]
        here = Here((lon, 52.0), (NOW + timedelta(minutes=minutes)).timestamp())
        members = {"off_route": None, "model": 0, "ways": {}} | seen
        found = look(
            self.plan, self.record, self.estimate,
            Seen(here, "gps", self.carrier, sites, version=self.version, **members), self.engine,
        )  # fmt: skip
        self.estimate = found.estimate
        return found

    def told(self, minutes: float, lon: float, **seen: Any) -> tuple[str, str] | None:  # noqa: ANN401
        """The reason and the sentence of a change at a look, if there was one."""
        changes = [
            one.data for one in self.look(minutes, lon, **seen).happenings
            if one.type == "shipment.eta_changed"
        ]  # fmt: skip
        return (changes[0]["reason"], changes[0]["because"]) if changes else None


def test_the_first_look_tells_an_arrival() -> None:
    trip = Trip()
    found = trip.look(0, 5.0)
    [event] = found.happenings
    assert (event.type, event.rule) == ("shipment.eta_changed", "stop:1")
    assert event.time_us == NOW.timestamp() * 1e6
    assert (event.data["old"], event.data["new"]) == (None, "2026-11-28T12:34:00Z")
    assert event.data["because"] == (
        "20.4 km as the crow flies, 34 min to drive; 7 past trips like it took as long as usual"
    )
    assert event.data["device"] == "gps"
    assert [one.stop for one in found.keep] == [1]
    assert found.estimate.remaining_m == pytest.approx(10 * LEG_S, rel=0.01)


def test_a_drive_as_expected_tells_nothing_and_keeps_a_forecast_every_five_minutes() -> None:
    trip = Trip()
    trip.look(0, 5.0)
    kept = []
    for minute in range(1, 30):
        found = trip.look(minute, 5.0 + 0.3 * minute * 60 / LEG_S)
        assert found.happenings == []
        kept += [minute] * len(found.keep)
    assert kept == [5, 10, 15, 20, 25]


@pytest.mark.parametrize(
    ("reason", "words"),
    [
        ("progress", "7 min later: it came on more slowly than expected, 6.8 km in 18 min"),
        ("traffic", "10 min later: 13.6 km as the crow flies take 10 min more than expected"),
        ("model_changed", "10 min later: more was learned of past trips"),
        ("carrier_changed", "3 min later: another device carries it"),
        ("plan_changed", "3 min later: the plan was changed"),
    ],
)
def test_a_change_says_what_it_comes_from(reason: str, words: str) -> None:
    trip = Trip()
    trip.look(0, 5.0)
    minutes = 12.0
    model = 0
    if reason == "progress":
        minutes = 18.0
    elif reason in {"traffic", "model_changed"}:
        trip.engine.mps = 7.0
        model = int(reason == "model_changed")
    elif reason == "carrier_changed":
        minutes, trip.carrier = 14.0, 2
    else:
        minutes, trip.version = 14.0, 2
    looks = [trip.told(minutes, 5.1, model=model) for _ in range(2)]
    [told] = [one for one in looks if one is not None]
    assert told[0] == reason
    assert told[1].startswith(words)


def test_a_stay_that_goes_on_is_the_reason() -> None:
    trip = Trip()
    since = NOW - timedelta(minutes=5)
    at = StopRecord(since), StopRecord()
    trip.record = Record("at_stop", since, at, at_stop=0, next_stop=1)
    assert trip.told(0, 5.0) is not None
    assert trip.estimate is not None
    assert trip.estimate.leave_at == NOW + timedelta(minutes=5)
    told = [trip.told(minute, 5.0) for minute in range(1, 21)]
    found = [one for one in told if one is not None]
    assert {reason for reason, _ in found} == {"longer_stop"}
    assert "the stay at Depot is" in found[0][1]
    assert len(found) <= 6


def test_who_stands_for_hours_is_told_less_and_less_often() -> None:
    """A pause, a breakdown or a night in the yard: each look is later than the one before."""
    trip = Trip()
    trip.look(0, 5.0)
    told = [(minute, trip.told(minute, 5.1)) for minute in range(10, 610)]
    found = [(minute, one) for minute, one in told if one is not None]
    assert len(found) <= 16
    assert {one[0] for _, one in found} == {"progress"}
    assert found[-1][1][1].split(": ")[1].startswith("it has stood still for")
    # It drives on: soon that is told too.
    assert any(trip.told(minute, 5.1 + 0.01 * (minute - 609)) for minute in range(610, 614))


def test_leaving_the_route_and_coming_back_are_told_at_once() -> None:
    trip = Trip()
    way = way_of([(5.0, 52.0), (5.3, 52.0)])
    on = {"ways": {1: Given("route", way.path, way.length_m)}, "off_route": False}
    trip.look(0, 5.0, **on)
    away = trip.told(14, 5.1, off_route=True)
    assert away is not None
    assert away[0] == "left_route"
    back = trip.told(18, 5.1, **on)
    assert back is not None
    assert back[0] == "back_on_route"


def test_a_window_at_risk_is_told_once_and_taken_back_when_it_is_not() -> None:
    trip = Trip(window_end=NOW + timedelta(minutes=36))
    assert [h.type for h in trip.look(0, 5.0).happenings] == ["shipment.eta_changed"]
    types = [h.type for m in range(8, 12) for h in trip.look(m, 5.0).happenings]
    assert types.count("shipment.at_risk") == 1
    assert trip.estimate is not None
    assert trip.estimate.at_risk == (1,)
    trip.engine.mps = 20.0
    types = [h.type for m in range(12, 16) for h in trip.look(m, 5.1).happenings]
    assert types.count("shipment.safe") == 1
    assert not trip.look(17, 5.2).estimate.at_risk


def test_who_comes_in_time_was_at_risk_no_longer() -> None:
    trip = Trip(window_end=NOW + timedelta(minutes=30))
    assert trip.look(0, 5.0).happenings[-1].type == "shipment.at_risk"
    arrived = NOW + timedelta(minutes=29)
    stops = trip.record.stops[0], StopRecord(arrived)
    trip.record = Record("at_stop", arrived, stops, NOW, at_stop=1)
    [safe] = trip.look(30, 5.3).happenings
    assert (safe.type, safe.data["estimated"]) == ("shipment.safe", None)


def test_a_look_that_is_repeated_tells_the_same() -> None:
    trip = Trip()
    before = trip.estimate
    first = trip.look(0, 5.0)
    trip.estimate = before
    assert trip.look(0, 5.0) == first


def test_an_estimate_says_nothing_of_another_plan_nor_when_it_is_old() -> None:
    trip = Trip()
    estimate = trip.look(0, 5.0).estimate
    quiet = timedelta(minutes=15)

    def state(version: int = 1, *, final: bool = False, minutes: float = 0) -> str:
        now = NOW + timedelta(minutes=minutes)
        return expected(estimate, version, final=final, now=now, stale_after=quiet).state

    assert state() == "expected"
    assert state(2) == "unknown"
    assert state(final=True) == "over"
    assert (state(minutes=15), state(minutes=16)) == ("expected", "last_seen")
    late = expected(estimate, 1, final=False, now=NOW + timedelta(minutes=16), stale_after=quiet)
    assert late.of(1, NOW) is None


def test_what_should_have_come_is_not_told_in_the_past() -> None:
    trip = Trip()
    estimate = trip.look(0, 5.0).estimate
    now = NOW + timedelta(minutes=40, seconds=20)
    still = expected(estimate, 1, final=False, now=now, stale_after=timedelta(hours=1))
    shop = still.of(1, now)
    assert shop is not None
    assert shop.arrive == NOW + timedelta(minutes=40)
    assert shop.early <= shop.arrive <= shop.late
    assert shop.p10 == shop.p50 == shop.p90 == now


def test_near_stops_are_looked_at_often_and_far_ones_seldom() -> None:
    assert Trip().look(0, 5.0).next_s == pytest.approx(LEG_S / 20, rel=0.01)
    assert Trip().look(0, 5.29).next_s == 10.0
    assert Trip().look(0, 3.0).next_s == 120.0
