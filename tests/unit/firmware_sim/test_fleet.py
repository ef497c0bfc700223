from collections import Counter
from functools import cache
from itertools import pairwise
from math import atan2, cos, degrees, hypot, radians

import pytest
from shapely.geometry import Point, Polygon

from firmware_sim import Options, Reading, plan
from firmware_sim.fleet import Vehicle
from firmware_sim.roads import ARTERIAL_MPS, City

_M_PER_DEG = 111_195.0


@cache
def tracks() -> list[list[Reading]]:
    """Ten vehicles for fifteen minutes, a fix per second."""
    made = plan(Options(devices=10, readers=0, sensors=0, duration_s=900))
    return [device.readings for device in made.devices.values()]


def moved(a: Reading, b: Reading) -> tuple[float, float]:
    """Metres east and north from a to b."""
    east = (b.body["lon"] - a.body["lon"]) * _M_PER_DEG * cos(radians(a.body["lat"]))
    return east, (b.body["lat"] - a.body["lat"]) * _M_PER_DEG


def turn_deg(a: float, b: float) -> float:
    return abs((b - a + 180) % 360 - 180)


def test_no_vehicle_is_faster_than_the_fastest_street() -> None:
    fastest = max(
        hypot(*moved(a, b)) / (b.made_ms - a.made_ms) * 1000
        for track in tracks()
        for a, b in pairwise(track)
    )
    assert ARTERIAL_MPS * 0.95 < fastest < ARTERIAL_MPS * 1.01


def test_the_reported_speed_is_the_distance_covered() -> None:
    for track in tracks():
        for a, b in pairwise(track):
            step_s = (b.made_ms - a.made_ms) / 1000
            if b.body["speed_mps"] == 0:
                # It stopped in between, slow already.
                assert hypot(*moved(a, b)) <= a.body["speed_mps"] * step_s + 0.6
                continue
            # A corner cut between two fixes is shorter than the way driven, by a few metres.
            assert hypot(*moved(a, b)) <= b.body["speed_mps"] * step_s + 0.6
            if turn_deg(a.body["course_deg"], b.body["course_deg"]) < 15:
                assert hypot(*moved(a, b)) == pytest.approx(b.body["speed_mps"] * step_s, abs=0.6)


def test_vehicles_accelerate_and_brake_like_vehicles() -> None:
    for track in tracks():
        for a, b in pairwise(track):
            change = (b.body["speed_mps"] - a.body["speed_mps"]) / (b.made_ms - a.made_ms) * 1000
            assert -8 < change < 1.6


def test_the_course_is_where_the_vehicle_goes() -> None:
    straight = 0
    for track in tracks():
        for a, b in pairwise(track):
            if (
                min(a.body["speed_mps"], b.body["speed_mps"]) > 3
                and turn_deg(a.body["course_deg"], b.body["course_deg"]) < 15
            ):
                straight += 1
                gone_deg = degrees(atan2(*moved(a, b)))
                assert turn_deg(gone_deg, b.body["course_deg"]) < 15
    assert straight > 3_000


def test_a_fleet_drives_and_stops_and_parks() -> None:
    doing = Counter[str]()
    for track in tracks():
        for reading in track:
            ignition = reading.body["attrs"]["ignition"]
            moving = reading.body["speed_mps"] > 1
            doing["drives" if moving else "waits" if ignition else "parks"] += 1
            assert not (moving and not ignition)
    total = doing.total()
    assert 0.4 < doing["drives"] / total < 0.9
    assert doing["waits"] / total > 0.01  # at lights
    assert doing["parks"] / total > 0.1


def test_vehicles_come_home_to_the_depots_that_are_told() -> None:
    city = City(1, 13.3777, 52.5163)
    yards = [Polygon(depot.ring) for depot in city.depots]
    homes = set()
    for number, track in enumerate(tracks()):
        home = yards[number % len(yards)]
        inside = [home.contains(Point(r.body["lon"], r.body["lat"])) for r in track]
        if True in inside and False in inside:
            homes.add(number)
    assert len(homes) >= 6


def test_a_vehicle_meets_its_depot_door_when_it_crosses_the_fence() -> None:
    city = City(1, 13.3777, 52.5163)
    vehicle = Vehicle(0, 1, city, 1.0)
    fixes = vehicle.observe(1_800_000)
    yard = Polygon(city.depots[0].ring)
    crossed = [
        (b.at_ms, yard.contains(Point(b.body["lon"], b.body["lat"])))
        for a, b in pairwise(fixes)
        if yard.contains(Point(a.body["lon"], a.body["lat"]))
        != yard.contains(Point(b.body["lon"], b.body["lat"]))
    ]
    assert len(crossed) >= 2
    assert [inbound for _, inbound in crossed] == [p.inbound for p in vehicle.passages]
    for (at_ms, _), passage in zip(crossed, vehicle.passages, strict=True):
        assert abs(at_ms - passage.at_ms) < 5_000


@pytest.mark.parametrize("interval_s", [0.2, 1.0, 7.5, 30.0])
def test_any_interval_keeps_the_limits(interval_s: float) -> None:
    vehicle = Vehicle(3, 9, City(9, 2.35, 48.86), interval_s)
    fixes = vehicle.observe(900_000)
    assert len(fixes) == pytest.approx(900 / interval_s, abs=1)
    assert max(fix.body["speed_mps"] for fix in fixes) <= ARTERIAL_MPS


@pytest.mark.parametrize("center", [(179.99, 10.0), (-180.0, -45.0), (0.0, 0.0), (15.6, 78.2)])
def test_a_city_may_lie_anywhere(center: tuple[float, float]) -> None:
    lon, lat = center
    made = plan(Options(devices=5, center_lon=lon, center_lat=lat, duration_s=30))
    for device in made.devices.values():
        for reading in device.readings:
            if reading.channel == "pos":
                assert -180 <= reading.body["lon"] < 180
                assert turn_deg(reading.body["lon"], lon) * cos(radians(lat)) < 0.05
                assert abs(reading.body["lat"] - lat) < 0.05
