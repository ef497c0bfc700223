"""Covers have no gaps, and their inside is inside, by brute force."""

import gzip
import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import shapely
from h3.api import numpy_int as h3
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.random import Generator, default_rng
from numpy.typing import NDArray

from geofence.cover import STORED_RESOLUTION, Cover, cell_ranges, cover
from geofence.geodesy import Floats, chords_m, ecef
from geofence.metric import metres_per_degree
from geofence.shapes import Kind, Shape, bounds, shape_of

Cells = NDArray[np.uint64]
# Parallels and meridians where something changes: poles, antimeridian, equator, prime meridian.
LATS = [-90.0, -89.99, -75.0, -41.0, 0.0, 0.001, 38.0, 52.5, 66.0, 84.0, 89.0, 89.999, 90.0]
LONS = [-180.0, -179.99, -120.0, 0.0, 13.4, 58.0, 179.9, 180.0]


def members(shape: Shape, lon: Floats, lat: Floats) -> NDArray[np.bool_]:
    """Which of the places are in the shape, by its definition."""
    if shape.kind is Kind.CIRCLE:
        x, y = shape.geometry.coords[0]
        centre = ecef(np.full(len(lon), x), np.full(len(lon), y))
        chord = chords_m(*ecef(lon, lat), *centre)
        sphere_m = 6_371_008.8
        return 2.0 * sphere_m * np.arcsin(chord / 2.0 / sphere_m) <= shape.radius_m
    if shape.kind is not Kind.CORRIDOR:
        shapely.prepare(shape.geometry)
        turns = [shapely.intersects_xy(shape.geometry, lon + turn, lat) for turn in (0.0, 360.0)]
        return np.asarray(turns[0] | turns[1])
    east, north = metres_per_degree(lat)
    nearest = np.full(len(lon), np.inf)
    for part in shapely.get_parts(shape.geometry):
        places = shapely.get_coordinates(part)
        for a, b in pairwise(places):
            for turn in (-360.0, 0.0, 360.0):
                ax, ay = (a[0] - lon - turn) * east, (a[1] - lat) * north
                dx, dy = (b[0] - a[0]) * east, (b[1] - a[1]) * north
                share = np.clip(-(ax * dx + ay * dy) / (dx * dx + dy * dy), 0.0, 1.0)
                nearest = np.minimum(nearest, np.hypot(ax + share * dx, ay + share * dy))
    return nearest <= shape.radius_m


def places_around(rng: Generator, shape: Shape, count: int) -> tuple[Floats, Floats]:
    """Random places in the shape's bounds, and others close to its drawn line."""
    west, south, east, north = bounds(shape)
    lon, lat = rng.uniform(west, east, count), rng.uniform(south, north, count)
    drawn = shapely.get_coordinates(shape.geometry)
    if len(drawn) > 1:
        at = rng.integers(0, len(drawn) - 1, count)
        share = rng.random((count, 1))
        near = drawn[at] * share + drawn[at + 1] * (1.0 - share)
        near += rng.normal(0.0, 1.0, near.shape) * [(east - west) / 200, (north - south) / 200]
        lon, lat = np.append(lon, near[:, 0]), np.append(lat, near[:, 1])
    return (lon + 180.0) % 360.0 - 180.0, np.clip(lat, -90.0, 90.0)


def cells_of(lon: Floats, lat: Floats, resolution: int) -> Cells:
    pairs = zip(lat.tolist(), lon.tolist(), strict=True)
    return np.array([h3.latlng_to_cell(*pair, resolution) for pair in pairs], np.uint64)


def ancestors(cells: Cells, resolution: int) -> Cells:
    return np.array([h3.cell_to_parent(c, resolution) for c in cells.tolist()], np.uint64)


def ways_into(lon: Floats, lat: Floats, resolution: int) -> list[Cells]:
    """The cells of places at a resolution: asked directly, and as ancestors of finer ones."""
    finer = sorted({resolution, min(resolution + 1, 15), max(resolution, STORED_RESOLUTION), 15})
    return [ancestors(cells_of(lon, lat, r), resolution) for r in finer]


def check(shape: Shape, found: Cover, rng: Generator, count: int = 300) -> None:
    lon, lat = places_around(rng, shape, count)
    inside = members(shape, lon, lat)
    both = np.concatenate((found.inside, found.border))
    assert len(np.unique(both)) == len(both)
    ranges = np.array(cell_ranges(both))
    stored = cells_of(lon[inside], lat[inside], STORED_RESOLUTION).astype(np.int64)
    row = np.searchsorted(ranges[:, 0], stored, side="right") - 1
    assert (row >= 0).all()
    assert (stored <= ranges[row, 1]).all()
    for cells in ways_into(lon, lat, found.resolution):
        assert np.isin(cells[inside], both).all()
        assert inside[np.isin(cells, found.inside)].all()


def polygon(rng: Generator, lon: float, lat: float, radius_m: float, flat: float) -> dict[str, Any]:
    """A star around a place in degrees, `flat` times as tall as wide; it may hold a hole."""
    corners = int(rng.integers(3, 12))
    turn = (np.arange(corners) + rng.random(corners) * 0.9) / corners * 2.0 * np.pi
    reach = radius_m / 111_000.0 * rng.uniform(0.6, 1.0, corners)
    wide = np.minimum(reach / max(np.cos(np.radians(lat)), 0.02), 80.0)
    x, y = lon + wide * np.cos(turn), np.clip(lat + flat * reach * np.sin(turn), -90.0, 90.0)
    ring = np.column_stack((x, y))
    hole = np.mean(ring, axis=0) + 0.2 * (ring - np.mean(ring, axis=0))
    rings = [ring.tolist(), hole.tolist()] if rng.random() < 0.3 else [ring.tolist()]
    return {"type": "Polygon", "coordinates": rings}


def shape_or_none(definition: dict[str, Any]) -> Shape | None:
    try:
        return shape_of(definition)[0]
    except ValueError:
        return None  # a random star may be no shape


def places() -> st.SearchStrategy[tuple[float, float]]:
    lon = st.sampled_from(LONS) | st.floats(-180.0, 180.0)
    return st.tuples(lon, st.sampled_from(LATS) | st.floats(-90.0, 90.0))


seeds = st.integers(0, 2**32 - 1)


@settings(max_examples=80, deadline=None)
@given(seeds, places(), st.floats(0.7, 6.4), st.sampled_from([1.0, 0.3, 0.01]))
def test_a_polygons_cover_has_no_gap_and_its_inside_is_inside(
    seed: int, place: tuple[float, float], size: float, flat: float
) -> None:
    rng = default_rng(seed)
    shape = shape_or_none(polygon(rng, *place, 10.0**size, flat))
    if shape is not None:
        check(shape, cover(shape), rng)


@settings(max_examples=80, deadline=None)
@given(seeds, places(), st.floats(0.0, 6.0))
def test_a_circles_cover_has_no_gap_and_its_inside_is_inside(
    seed: int, place: tuple[float, float], size: float
) -> None:
    shape, _ = shape_of({"type": "Circle", "center": list(place), "radius_m": 10.0**size})
    check(shape, cover(shape), default_rng(seed))


@settings(max_examples=20, deadline=None)
@given(seeds, places(), st.floats(-3.5, 1.3), st.floats(0.31, 4.3), st.integers(2, 12))
def test_a_corridors_cover_has_no_gap_and_its_inside_is_inside(
    seed: int, place: tuple[float, float], step: float, width: float, corners: int
) -> None:
    rng = default_rng(seed)
    line = np.cumsum(np.vstack((place, rng.normal(0.0, 10.0**step, (corners - 1, 2)))), axis=0)
    line[:, 1] = np.clip(line[:, 1], -90.0, 90.0)
    shape = shape_or_none(
        {"type": "Corridor", "coordinates": line.tolist(), "width_m": 10.0**width}
    )
    if shape is not None:
        check(shape, cover(shape), rng)


@settings(max_examples=40, deadline=None)
@given(seeds, st.integers(0, 11), st.integers(1, 12), st.floats(-0.5, 1.5))
def test_covers_around_the_pentagons_have_no_gap(
    seed: int, pentagon: int, resolution: int, size: float
) -> None:
    rng = default_rng(seed)
    lat, lon = h3.cell_to_latlng(int(sorted(h3.get_pentagons(resolution))[pentagon]))
    radius_m = h3.average_hexagon_edge_length(resolution, unit="m") * 10.0**size
    shape = shape_or_none(polygon(rng, lon, lat, min(max(radius_m, 10.0), 2e6), 1.0))
    if shape is not None:
        check(shape, cover(shape), rng)


@pytest.mark.parametrize(
    "ring",
    [
        pytest.param([[-90, 60], [0, 60], [90, 60], [180, 60]], id="north-pole"),
        pytest.param([[-90, -89.99], [0, -89.99], [90, -89.99], [180, -89.99]], id="south-pole"),
        pytest.param([[-180, -10], [180, -10], [180, 10], [-180, 10]], id="belt"),
        pytest.param([[170, -60], [-10, -60], [-10, 75], [170, 75]], id="half-the-earth"),
        pytest.param([[0, 0], [0.02, 0], [0.02, 0.00002], [0, 0.00002]], id="sliver"),
        pytest.param([[0, 0], [100, 0.0001], [100, 0.0002], [0, 0.0001]], id="long-sliver"),
        pytest.param([[179.999, -17], [-179.999, -17], [-179.999, -16], [179.999, -16]], id="fiji"),
        pytest.param([[0, 0], [0.00002, 0], [0.00002, 0.00002], [0, 0.00002]], id="two-metres"),
    ],
)
def test_odd_shapes_are_covered_without_a_gap(ring: list[list[float]]) -> None:
    shape, _ = shape_of({"type": "Polygon", "coordinates": [ring]})
    rng = default_rng(1)
    check(shape, cover(shape), rng, count=3_000)


def test_the_number_of_cells_is_about_what_was_asked_for() -> None:
    rng = default_rng(7)
    for size in np.linspace(1.5, 6.0, 60):
        shape, _ = shape_of({"type": "Circle", "center": [9.1, 45.4], "radius_m": 10.0**size})
        for target in (40, 100, 200):
            found = cover(shape, target_cells=target)
            assert target // 2 <= len(found.inside) + len(found.border) <= 3 * target
        check(shape, found, rng)
        assert len(found.inside) > 0.2 * len(found.border)


def test_ranges_hold_every_descendant_and_nothing_else() -> None:
    rng = default_rng(3)
    for resolution in range(5, STORED_RESOLUTION + 1):
        lat, lon = (float(value) for value in rng.uniform(-80.0, 80.0, 2))
        pentagon = int(rng.choice(h3.get_pentagons(resolution)))
        disk = h3.grid_disk(h3.latlng_to_cell(lat, lon, resolution), 2)
        cells = np.append(np.asarray(disk, np.uint64), np.uint64(pentagon))
        expected = np.concatenate(
            [h3.cell_to_children(cell, STORED_RESOLUTION) for cell in cells.tolist()]
        )
        ranges = cell_ranges(cells)
        assert len(ranges) <= len(cells)
        inside = np.zeros(len(expected), bool)
        for low, high in ranges:
            assert h3.is_valid_cell(low)
            assert h3.is_valid_cell(high)
            inside |= (expected >= low) & (expected <= high)
        assert inside.all()
        total = sum(_rank(high) - _rank(low) + 1 for low, high in ranges)
        # A pentagon's numbers leave out one child of each pentagon below it.
        missing = 7 ** (STORED_RESOLUTION - resolution) - h3.cell_to_children_size(
            pentagon, STORED_RESOLUTION
        )
        assert total == len(expected) + missing


def test_siblings_become_one_range() -> None:
    parent = h3.latlng_to_cell(52.5, 13.4, 8)
    children = np.asarray(h3.cell_to_children(parent, 9), np.uint64)
    assert cell_ranges(children) == cell_ranges(np.array([parent], np.uint64))
    assert len(cell_ranges(children)) == 1
    assert cell_ranges(np.empty(0, np.uint64)) == []


def _rank(cell: int) -> int:
    rank = (cell >> 45) & 127
    for resolution in range(1, STORED_RESOLUTION + 1):
        rank = rank * 7 + ((cell >> (3 * (15 - resolution))) & 7)
    return rank


def test_real_zones_are_covered_without_a_gap(shared_data: Path) -> None:
    document = shared_data / "data" / "nyc_taxi_zones" / "taxi_zones.geojson.gz"
    rng = default_rng(5)
    for feature in json.loads(gzip.decompress(document.read_bytes()))["features"]:
        shape, _ = shape_of(feature["geometry"])
        check(shape, cover(shape), rng, count=60)
