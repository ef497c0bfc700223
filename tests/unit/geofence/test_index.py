"""The index against brute force: shapely for polygons, other ways to measure for the rest."""

import math
from collections.abc import Mapping

import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from shapely.geometry.base import BaseGeometry

from geofence.index import Index
from geofence.shapes import Kind, Shape

Floats = NDArray[np.float64]

A_M, F = 6_378_137.0, 1 / 298.257223563
E2 = F * (2 - F)

_lattice = st.integers(-6, 6).map(float)
_anywhere = st.floats(-6, 6)
# Where polygons are put, and how they are stretched: (lon, lat, lon scale, lat scale).
_frames = st.sampled_from(
    [
        (0.0, 0.0, 1.0, 1.0),
        (13.4, 52.5, 0.01, 0.01),
        (13.4, 52.5, 1e-7, 1e-7),
        (-60.0, -33.0, 2.0, 1e-9),  # slivers
        (178.0, 10.0, 1.0, 1.0),  # over the antimeridian
        (-174.0, 10.0, 1.0, 1.0),
        (0.0, 84.0, 30.0, 1.0),  # up to a pole, all around
        (0.0, -84.0, 30.0, 1.0),
        (0.0, 0.0, 30.0, 15.0),
        (179.5, 45.0, 0.1, 0.1),
    ]
)


@st.composite
def _polygons(draw: st.DrawFn, frame: tuple[float, float, float, float]) -> BaseGeometry:
    """What remains of a random ring made valid: holes, several parts, touching corners."""
    coordinate = draw(st.sampled_from([_lattice, _lattice, _anywhere]))
    ring = draw(st.lists(st.tuples(coordinate, coordinate), min_size=3, max_size=9))
    lon, lat, dx, dy = frame
    placed = [(lon + x * dx, lat + y * dy) for x, y in ring]
    mended = shapely.make_valid(shapely.Polygon(placed), method="structure")
    parts = [part for part in shapely.get_parts(mended) if part.geom_type == "Polygon"]
    whole = shapely.MultiPolygon(parts)
    if not parts or not whole.is_valid:
        whole = shapely.MultiPolygon([shapely.box(lon, lat, lon + dx, lat + dy)])
    return _unwrapped(whole)


def _unwrapped(geometry: BaseGeometry) -> BaseGeometry:
    """The same place with its westernmost longitude in [-180, 180)."""
    turns = math.floor((geometry.bounds[0] + 180.0) / 360.0)
    return shapely.transform(geometry, lambda xy: xy - [360.0 * turns, 0.0])


@st.composite
def _scenes(draw: st.DrawFn) -> tuple[dict[int, Shape], Floats]:
    """Zones, and places near, on and beside them."""
    frame = draw(_frames)
    geometries = draw(st.lists(_polygons(frame), min_size=1, max_size=6))
    numbers = draw(
        st.lists(
            st.integers(0, 2**31 - 1),
            min_size=len(geometries), max_size=len(geometries), unique=True,
        )
    )  # fmt: skip
    zones = {
        number: Shape(Kind.POLYGON, one) for number, one in zip(numbers, geometries, strict=True)
    }
    lon, lat, dx, dy = frame
    places = [
        (lon + x * dx, lat + y * dy)
        for x, y in draw(st.lists(st.tuples(_anywhere | _lattice, _anywhere | _lattice)))
    ]
    corners = shapely.get_coordinates(geometries)
    for i, fraction in draw(
        st.lists(st.tuples(st.integers(0, len(corners) - 2), st.floats(0, 1)), max_size=20)
    ):
        (x0, y0), (x1, y1) = corners[i].tolist(), corners[i + 1].tolist()
        x, y = x0 + (x1 - x0) * fraction, y0 + (y1 - y0) * fraction
        places += [
            (x, y), (math.nextafter(x, 1e9), y), (x, math.nextafter(y, -90)),
            (x, math.nextafter(y, 90)), (math.nextafter(x, -1e9), y),
        ]  # fmt: skip
    found = np.concatenate([corners, np.array(places).reshape(-1, 2)])
    found[:, 1] = np.clip(found[:, 1], -90, 90)
    return zones, _wrapped(found)


def _wrapped(places: Floats) -> Floats:
    result = places.copy()
    while (result[:, 0] > 180.0).any():
        result[result[:, 0] > 180.0, 0] -= 360.0
    while (result[:, 0] < -180.0).any():
        result[result[:, 0] < -180.0, 0] += 360.0
    return result


def _brute(zones: Mapping[int, Shape], places: Floats) -> set[tuple[int, int]]:
    lon, lat = places.T
    lon = np.where(lon == 180.0, -180.0, lon)  # one meridian
    found = set()
    for number, shape in zones.items():
        here = shapely.intersects_xy(shape.geometry, lon, lat)
        here |= shapely.intersects_xy(shape.geometry, lon + 360.0, lat)
        found |= {(i, number) for i in np.flatnonzero(here).tolist()}
    return found


def _pairs(index: Index, places: Floats) -> list[tuple[int, int]]:
    found = index.members(*np.ascontiguousarray(places.T))
    return list(zip(found.point.tolist(), found.zone.tolist(), strict=True))


@settings(max_examples=200, deadline=None)
@given(_scenes())
def test_members_are_those_shapely_finds_on_borders_too(
    scene: tuple[dict[int, Shape], Floats],
) -> None:
    zones, places = scene
    index = Index.build(zones)
    wanted = sorted(_brute(zones, places))
    assert _pairs(index, places) == wanted
    for i, (lon, lat) in enumerate(places.tolist()[:40]):
        assert index.at(lon, lat) == [zone for point, zone in wanted if point == i]


@settings(max_examples=50, deadline=None)
@given(_scenes(), _scenes(), st.randoms(use_true_random=False))
def test_an_edited_index_answers_as_one_built_anew(
    scene: tuple[dict[int, Shape], Floats],
    other: tuple[dict[int, Shape], Floats],
    random: "np.random.Generator",
) -> None:
    zones, places = scene
    changes: dict[int, Shape | None] = dict(other[0])
    for zone in zones:
        if random.random() < 0.5:
            changes[zone] = random.choice([None, *other[0].values()])  # type: ignore[arg-type]
    places = np.concatenate([places, other[1]])
    before = Index.build(zones)
    edited = before
    for zone, shape in changes.items():
        edited = edited.replaced({zone: shape})
    now = {z: s for z, s in {**zones, **changes}.items() if s is not None}
    wanted = sorted(_brute(now, places))
    assert _pairs(edited, places) == wanted
    assert _pairs(edited.compact(), places) == wanted
    assert _pairs(before, places) == sorted(_brute(zones, places))
    assert len(edited) == len(edited.compact()) == len(now)
    assert {zone for zone in {*zones, *changes} if zone in edited} == set(now)
    assert edited.at(*places[0].tolist()) == [zone for point, zone in wanted if point == 0]


def _stars(n: int, seed: int, radius_deg: tuple[float, float], corners: int) -> list[BaseGeometry]:
    rng = np.random.default_rng(seed)
    angle = np.sort(rng.random((n, corners)), axis=1) * 2 * np.pi
    radius = rng.uniform(*radius_deg, (n, 1)) * rng.uniform(0.3, 1, (n, corners))
    xy = rng.random((n, 1, 2)) + np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=2)
    return [one for one in np.asarray(shapely.make_valid(shapely.polygons(xy))) if one.area > 0]


@pytest.mark.parametrize(
    ("count", "radius_deg", "corners"),
    [
        pytest.param(3_000, (0.001, 0.01), 12, id="small"),
        pytest.param(300, (0.05, 0.2), 40, id="large"),
        pytest.param(8, (0.1, 0.5), 2_500, id="of many corners"),
        pytest.param(2_000, (1e-5, 0.3), 10, id="of all sizes"),
    ],
)
def test_many_zones_give_what_a_bulk_query_gives(
    count: int, radius_deg: tuple[float, float], corners: int
) -> None:
    geometries = _stars(count, 7, radius_deg, corners)
    zones = {i: Shape(Kind.POLYGON, one) for i, one in enumerate(geometries)}
    rng = np.random.default_rng(8)
    vertices = rng.permutation(shapely.get_coordinates(geometries))[:2_000]
    places = np.concatenate([rng.random((20_000, 2)) * 1.2 - 0.1, vertices])
    shapely.prepare(geometries)
    point, zone = shapely.STRtree(geometries).query(shapely.points(places), predicate="intersects")
    wanted = sorted(zip(point.tolist(), zone.tolist(), strict=True))
    index = Index.build(zones)
    assert _pairs(index, places) == wanted
    singles = [(i, zone) for i in range(1_000) for zone in index.at(*places[i].tolist())]
    assert singles == [pair for pair in wanted if pair[0] < 1_000]


def _along(lon: Floats, lat: Floats, azimuth: Floats, way_m: Floats) -> tuple[Floats, Floats]:
    """Walk on the ellipsoid without turning: the equation of motion, by Runge and Kutta."""
    phi, lam, alpha = np.radians(lat), np.radians(lon), np.radians(azimuth)
    normal = A_M / np.sqrt(1 - E2 * np.sin(phi) ** 2)
    x = np.stack([
        normal * np.cos(phi) * np.cos(lam), normal * np.cos(phi) * np.sin(lam),
        normal * (1 - E2) * np.sin(phi),
    ])  # fmt: skip
    north = np.stack([-np.sin(phi) * np.cos(lam), -np.sin(phi) * np.sin(lam), np.cos(phi)])
    east = np.stack([-np.sin(lam), np.cos(lam), 0 * lam])
    v = np.cos(alpha) * north + np.sin(alpha) * east
    weight = np.array([[1.0], [1.0], [1 / (1 - E2)]])

    def pull(x: Floats, v: Floats) -> Floats:
        gradient = weight * x
        bend = (v * weight * v).sum(axis=0) / (gradient**2).sum(axis=0)
        result: Floats = -gradient * bend
        return result

    h = way_m / 400
    for _ in range(400):
        k1, l1 = v, pull(x, v)
        k2, l2 = v + h / 2 * l1, pull(x + h / 2 * k1, v + h / 2 * l1)
        k3, l3 = v + h / 2 * l2, pull(x + h / 2 * k2, v + h / 2 * l2)
        k4, l4 = v + h * l3, pull(x + h * k3, v + h * l3)
        x = x + h / 6 * (k1 + 2 * k2 + 2 * k3 + k4)
        v = v + h / 6 * (l1 + 2 * l2 + 2 * l3 + l4)
    end_lat = np.degrees(np.arctan2(x[2], (1 - E2) * np.hypot(x[0], x[1])))
    return np.degrees(np.arctan2(x[1], x[0])), end_lat


@pytest.mark.parametrize("radius_m", [1.0, 150.0, 5_000.0, 25_000.0, 400_000.0, 3_000_000.0])
def test_circles_hold_what_is_two_millimetres_within_a_walk_over_ground(radius_m: float) -> None:
    rng = np.random.default_rng(int(radius_m))
    n = 120
    lon, lat = rng.uniform(-180, 180, n), np.degrees(np.arcsin(rng.uniform(-1, 1, n)))
    lon[:4], lat[:4] = 180, [0, 40, -89.9999, 90]
    zones = {
        i: Shape(Kind.CIRCLE, shapely.Point(x, y), radius_m)
        for i, (x, y) in enumerate(zip(lon.tolist(), lat.tolist(), strict=True))
    }
    index = Index.build(zones)
    azimuth = rng.uniform(0, 360, n)
    for off_m in (-0.002, 0.002):
        ends = _along(lon, lat, azimuth, np.full(n, radius_m + off_m))
        found = set(_pairs(index, np.stack(ends, axis=1)))
        assert [(i, i) in found for i in range(n)] == [off_m < 0] * n
        depths = index.depths_m(*ends, np.arange(n))
        assert np.abs(depths + off_m).max() < 0.001
        assert [i in index.at(x, y) for i, (x, y) in enumerate(zip(*ends, strict=True))] == [
            off_m < 0
        ] * n


def _degree_m(lat: float) -> tuple[float, float]:
    w = math.sqrt(1 - E2 * math.sin(math.radians(lat)) ** 2)
    east = A_M / w * math.cos(math.radians(lat))
    return math.radians(east), math.radians(A_M * (1 - E2) / w**3)


def _line_m(geometry: BaseGeometry, lon: float, lat: float) -> float:
    """Distance in the local plane, by shapely, the short way round."""
    kx, ky = _degree_m(lat)
    flat = shapely.transform(geometry, lambda xy: (xy - [lon, lat]) * [kx, ky])
    turns = [shapely.Point(turn * kx, 0.0) for turn in (-360.0, 0.0, 360.0)]
    return float(min(shapely.distance(flat, turn) for turn in turns))


@pytest.mark.parametrize(
    ("lon", "lat"), [(13.4, 52.5), (179.99, -17.0), (-179.98, 66.0), (0.0, 0.0), (25.0, 88.0)]
)
def test_corridors_hold_what_is_within_their_radius_of_the_line(lon: float, lat: float) -> None:
    rng = np.random.default_rng(3)
    zones = {}
    for i in range(8):
        steps = rng.normal(0, 0.01, (rng.integers(2, 30), 2)).cumsum(axis=0) + np.array([lon, lat])
        steps[:, 0] -= 360.0 * math.floor((steps[:, 0].min() + 180.0) / 360.0)
        lines = [steps, steps[:2] + 0.02] if i % 2 else [steps]
        line = shapely.MultiLineString([shapely.LineString(one) for one in lines])
        zones[i] = Shape(Kind.CORRIDOR, line, float(rng.uniform(50, 3_000)))
    index = Index.build(zones)
    places = rng.normal(0, 0.03, (400, 2)) + np.array([lon, lat])
    places = _wrapped(places)
    found = set(_pairs(index, places))
    ends = np.repeat(np.arange(len(places)), len(zones))
    zone = np.tile(np.arange(len(zones)), len(places))
    depths = index.depths_m(places[ends, 0], places[ends, 1], zone).reshape(len(places), -1)
    for i, (x, y) in enumerate(places.tolist()):
        for number, shape in zones.items():
            away_m = _line_m(shape.geometry, x, y)
            assert ((i, number) in found) == (away_m <= shape.radius_m)
            assert (depths[i, number] >= 0) == (away_m <= shape.radius_m)
            wanted_m = max(shape.radius_m - away_m, -1_000.0)
            assert depths[i, number] == pytest.approx(wanted_m, abs=0.001)
    assert len(found) > 50


@pytest.mark.parametrize(
    ("lon", "lat"), [(13.4, 52.5), (180.0, 0.0), (-179.995, -45.0), (100.0, 79.9)]
)
def test_depths_are_metres_to_the_nearest_ring_and_signed_as_membership(
    lon: float, lat: float
) -> None:
    zones = {}
    for i, star in enumerate(_stars(12, 11, (0.005, 0.02), 300)):
        placed = shapely.transform(star, lambda xy: (xy - 0.5) * 0.03 + [lon, lat])
        holed = placed.difference(placed.centroid.buffer(1e-4))
        zones[i] = Shape(Kind.POLYGON, _unwrapped(holed))
    index = Index.build(zones)
    rng = np.random.default_rng(12)
    places = rng.normal(0, 0.008, (300, 2)) + np.array([lon, lat])
    places = _wrapped(places)
    inside = _brute(zones, places)
    pairs = [(i, zone) for i in range(len(places)) for zone in zones]
    at = np.array([i for i, _ in pairs])
    zone = np.array([zone for _, zone in pairs])
    depths = index.depths_m(places[at, 0], places[at, 1], zone)
    for (i, number), depth_m in zip(pairs, depths.tolist(), strict=True):
        away_m = _line_m(zones[number].geometry.boundary, *places[i].tolist())
        assert abs(depth_m) == pytest.approx(min(away_m, 1_000.0), abs=0.001)
        assert (depth_m > 0) == ((i, number) in inside)
    for k in range(0, len(pairs), 97):
        one = index.depths_m(places[at[k : k + 1], 0], places[at[k : k + 1], 1], zone[k : k + 1])
        assert one[0] == depths[k], "a pair's depth must not depend on the pairs beside it"


def test_a_belt_around_the_earth_and_a_polar_cap_have_no_border_where_the_map_ends() -> None:
    zones = {
        1: Shape(Kind.POLYGON, shapely.box(-180, -10, 180, 10)),
        2: Shape(Kind.POLYGON, shapely.box(-180, 89, 180, 90)),
    }
    index = Index.build(zones)
    lon, lat = np.array([180.0, -180.0, 0.0, 77.0]), np.array([0.0, 9.999, 90.0, 89.9999])
    zone = np.array([1, 1, 2, 2])
    depths = index.depths_m(lon, lat, zone)
    assert depths[[0, 2, 3]].tolist() == [1_000.0] * 3
    assert depths[1] == pytest.approx(110.57, abs=0.1)
    assert index.at(180.0, 0.0) == index.at(-180.0, 0.0) == [1]


def test_chords_cross_what_they_enter_and_leave_between_fixes() -> None:
    square = shapely.box(13.40, 52.50, 13.41, 52.51)
    index = Index.build(
        {
            1: Shape(Kind.POLYGON, square),
            2: Shape(Kind.CIRCLE, shapely.Point(13.45, 52.505), 100.0),
            3: Shape(Kind.CORRIDOR, shapely.LineString([(13.43, 52.49), (13.43, 52.52)]), 60.0),
        }
    )
    lon0 = np.array([13.39, 13.39, 13.405, 13.39, 13.3999, 13.60, 13.39])
    lat0 = np.array([52.505, 52.505, 52.505, 52.5099, 52.5001, 52.505, 52.505])
    lon1 = np.array([13.42, 13.405, 13.42, 13.42, 13.4001, 13.70, 13.47])
    lat1 = np.array([52.505, 52.505, 52.505, 52.5099, 52.4999, 52.505, 52.505])
    found = index.crossings(lon0, lat0, lon1, lat1)
    assert list(zip(found.segment.tolist(), found.zone.tolist(), strict=True)) == [
        (0, 1), (6, 1), (6, 2), (6, 3),
    ]  # fmt: skip
    kx, _ = _degree_m(52.505)
    assert found.depth_m == pytest.approx([0.005 * kx, 0.005 * kx, 100.0, 60.0], abs=1.0)
    assert found.fraction[0] == pytest.approx(0.5, abs=0.01)
    assert found.fraction[2:] == pytest.approx([0.75, 0.5], abs=0.01)


def test_chords_cross_what_close_samples_of_them_are_in() -> None:
    zones = {
        i: Shape(Kind.POLYGON, shapely.transform(one, lambda xy: xy * 0.05 + [179.98, 40.0]))
        for i, one in enumerate(_stars(40, 21, (0.02, 0.2), 9))
    }
    index = Index.build(zones)
    corner = np.array([179.98, 40.0])
    rng = np.random.default_rng(22)
    start = rng.random((150, 2)) * 0.05
    end = start + rng.normal(0, 0.008, (150, 2))
    found = index.crossings(*_wrapped(start + corner).T, *_wrapped(end + corner).T)
    got = {
        (s, z): (d, f) for s, z, d, f in zip(*(column.tolist() for column in found), strict=True)
    }
    wanted = {}
    for i in range(150):
        way = np.linspace(start[i], end[i], 1_001)
        places = _wrapped(way + corner)
        inside = _brute(zones, places)
        for zone in {zone for _, zone in inside}:
            if (0, zone) in inside or (1_000, zone) in inside:
                continue
            depth = index.depths_m(places[:, 0], places[:, 1], np.full(1_001, zone))
            wanted[i, zone] = float(depth.max())
    clear = {pair for pair, depth_m in wanted.items() if abs(depth_m - 20) > 1}
    assert {pair for pair in clear if wanted[pair] > 20} == set(got) & clear
    assert len(got) > 20
    for pair, (depth_m, _) in got.items():
        assert depth_m == pytest.approx(wanted[pair], abs=1.0)


def test_the_inradius_is_that_of_the_largest_circle_inside() -> None:
    kx, ky = _degree_m(52.5)
    box = shapely.box(13.4, 52.5 - 50 / ky, 13.4 + 1_000 / kx, 52.5 + 50 / ky)
    index = Index.build(
        {
            1: Shape(Kind.POLYGON, box),
            2: Shape(Kind.CIRCLE, shapely.Point(1, 1), 70.0),
            3: Shape(Kind.CORRIDOR, shapely.LineString([(1, 1), (2, 2)]), 25.0),
        }
    )
    assert index.inradius_m(1) == pytest.approx(50, rel=0.02)
    assert [index.inradius_m(2), index.inradius_m(3)] == [70.0, 25.0]
    assert index.replaced({2: Shape(Kind.CIRCLE, shapely.Point(1, 1), 9.0)}).inradius_m(2) == 9.0


def test_an_empty_index_knows_nothing_and_takes_zones() -> None:
    index = Index.build({})
    assert _pairs(index, np.array([[1.0, 2.0], [180.0, 90.0]])) == []
    assert index.at(1.0, 2.0) == []
    assert len(index) == 0
    assert 7 not in index
    found = index.crossings(*np.array([[1.0], [2.0], [1.01], [2.0]]))
    assert len(found.segment) == 0
    circle = Shape(Kind.CIRCLE, shapely.Point(1, 2), 100.0)
    grown = index.replaced({7: circle})
    assert grown.at(1.0, 2.0) == [7]
    assert grown.changed == 1
    assert grown.compact().changed == 0


def test_depths_of_a_removed_zone_are_refused() -> None:
    index = Index.build({7: Shape(Kind.CIRCLE, shapely.Point(1, 2), 100.0)}).replaced({7: None})
    with pytest.raises(KeyError, match="7"):
        index.depths_m(np.array([1.0]), np.array([2.0]), np.array([7]))
    with pytest.raises(KeyError, match="7"):
        index.inradius_m(7)


def test_zone_numbers_beyond_32_bits_are_refused() -> None:
    shape = Shape(Kind.CIRCLE, shapely.Point(1, 2), 100.0)
    with pytest.raises(ValueError, match="zone numbers"):
        Index.build({-1: shape})
    with pytest.raises(ValueError, match="zone numbers"):
        Index.build({2**31: shape})


def test_neighbours_on_one_street_pay_for_their_own_border_only() -> None:
    index = Index.build(
        {
            i: Shape(Kind.POLYGON, shapely.Point(i % 100 / 100, i // 100 / 100).buffer(0.001))
            for i in range(10_000)
        }
    )
    per_zone = index.nbytes / len(index)
    assert per_zone < 8_000, "memory is stated, and bounded"
