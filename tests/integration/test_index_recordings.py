"""The index on real fixes among real shapes: what brute force finds, and nothing else.

Every zone of New York moved to the cities where vehicles were recorded, and every county.
"""

import contextlib
import csv
import gzip
import json
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
import shapely
from numpy.typing import NDArray

from geofence.faults import ShapeError
from geofence.formats import read
from geofence.index import Index
from geofence.shapes import Kind, Shape, shape_of

Floats = NDArray[np.float64]

# Places checked against each zone by itself; all are checked against a tree of all zones.
_SAMPLE = 400


def _capmetro(data: Path) -> Floats:
    places = []
    for path in sorted((data / "capmetro_austin").glob("20*.csv.gz")):
        with gzip.open(path, "rt") as file:
            places += [(row["longitude"], row["latitude"]) for row in csv.DictReader(file)]
    return np.array(places, np.float64)


def _porto(data: Path) -> Floats:
    with gzip.open(data / "porto_taxi" / "train.csv.gz", "rt") as file:
        return np.array(
            [place for row in csv.DictReader(file) for place in json.loads(row["POLYLINE"])],
            np.float64,
        )


def _ais(data: Path) -> Floats:
    with gzip.open(data / "ais_suez" / "boat-positions.csv.gz", "rt", encoding="utf-8-sig") as file:
        rows = list(csv.DictReader(file))
    lon, lat = (
        next(name for name in rows[0] if name.lower().startswith(a)) for a in ("lon", "lat")
    )
    return np.array([(row[lon], row[lat]) for row in rows], np.float64)


_FLEETS: dict[str, Callable[[Path], Floats]] = {
    "capmetro": _capmetro, "porto": _porto, "ais": _ais,
}  # fmt: skip


@pytest.fixture(scope="module")
def data(shared_data: Path) -> Path:
    if not (shared_data / "data" / "us_counties").is_dir():
        pytest.skip(f"no recordings in {shared_data / 'data'}")
    return shared_data / "data"


def _shapes(path: Path, only: str) -> list[Shape]:
    shapes = []
    for draft in read(gzip.decompress(path.read_bytes()), name=path.name):
        # Some counties have no area at this scale.
        if only in draft.where and draft.definition is not None:
            with contextlib.suppress(ShapeError):
                shapes.append(shape_of(draft.definition)[0])
    return shapes


@pytest.fixture(scope="module")
def zones(data: Path) -> list[Shape]:
    return _shapes(data / "nyc_taxi_zones" / "taxi_zones.geojson.gz", "")


@pytest.fixture(scope="module")
def counties(data: Path) -> list[Shape]:
    return _shapes(data / "us_counties" / "counties-10m.topojson.gz", "counties")


def _compared(shapes: Sequence[Shape], places: Floats) -> int:
    """The number of pairs, found alike by the index, a tree and, for a sample, one by one."""
    index = Index.build(dict(enumerate(shapes)))
    lon, lat = np.ascontiguousarray(places.T)
    found = index.members(lon, lat)
    pairs = np.stack([found.point, found.zone], axis=1)
    geometries = np.array([shape.geometry for shape in shapes])
    shapely.prepare(geometries)
    tree = shapely.STRtree(geometries)
    wanted = np.concatenate(
        [
            tree.query(shapely.points(lon + turn, lat), predicate="intersects").T
            for turn in (0.0, 360.0)
        ]
    )
    assert np.array_equal(pairs, np.unique(wanted, axis=0))
    sample = np.random.default_rng(1).choice(len(places), min(_SAMPLE, len(places)), replace=False)
    for i in sample.tolist():
        x, y = float(lon[i]), float(lat[i])
        inside = shapely.intersects_xy(geometries, x, y)
        inside |= shapely.intersects_xy(geometries, x + 360.0, y)
        assert index.at(x, y) == np.flatnonzero(inside).tolist()
    return len(pairs)


@pytest.mark.parametrize("fleet", _FLEETS)
def test_every_fix_is_in_the_zones_of_new_york_moved_there_that_brute_force_finds(
    data: Path, zones: list[Shape], fleet: str
) -> None:
    assert len(zones) == 263
    places = _FLEETS[fleet](data)
    west, south, east, north = shapely.total_bounds([shape.geometry for shape in zones])
    middle = np.median(places, axis=0) - [(west + east) / 2, (south + north) / 2]
    moved = [
        Shape(Kind.POLYGON, shapely.transform(shape.geometry, lambda xy: xy + middle))
        for shape in zones
    ]
    assert len(places) > 20_000
    assert _compared(moved, places) > 0.1 * len(places)


@pytest.mark.parametrize("fleet", _FLEETS)
def test_every_fix_is_in_the_counties_that_brute_force_finds(
    data: Path, counties: list[Shape], fleet: str
) -> None:
    places = _FLEETS[fleet](data)
    pairs = _compared(counties, places)
    assert (pairs > 0.9 * len(places)) == (fleet == "capmetro")


def test_corners_and_middles_of_all_borders_are_in_the_counties_that_brute_force_finds(
    counties: list[Shape],
) -> None:
    assert len(counties) == 3_230
    xy, ring = shapely.get_coordinates([shape.geometry for shape in counties], return_index=True)
    joined = np.flatnonzero(ring[1:] == ring[:-1])
    places = np.concatenate([xy, (xy[joined] + xy[joined + 1]) / 2])
    places[places[:, 0] >= 180.0, 0] -= 360.0
    # A corner is two or three counties', and so is a middle that rounding left on the border.
    assert _compared(counties, places) > 1.5 * len(places)


def test_places_all_around_the_earth_are_in_the_counties_that_brute_force_finds(
    counties: list[Shape],
) -> None:
    rng = np.random.default_rng(2)
    places = np.stack([rng.uniform(-180, 180, 200_000), rng.uniform(-20, 75, 200_000)], axis=1)
    # The Aleutians lie on both sides of the antimeridian.
    places[:20_000] = np.stack([rng.uniform(170, 190, 20_000), rng.uniform(51, 54, 20_000)], axis=1)
    places[places[:, 0] >= 180.0, 0] -= 360.0
    assert _compared(counties, places) > 5_000


def test_chords_of_real_ways_cross_the_zones_that_their_own_line_says(
    data: Path, zones: list[Shape]
) -> None:
    places = _porto(data)[:6_000]
    west, south, east, north = shapely.total_bounds([shape.geometry for shape in zones])
    middle = np.median(places, axis=0) - [(west + east) / 2, (south + north) / 2]
    moved = [shapely.transform(shape.geometry, lambda xy: xy + middle) for shape in zones]
    index = Index.build({i: Shape(Kind.POLYGON, one) for i, one in enumerate(moved)})
    start, end = places[:-2], places[2:]
    found = index.crossings(*start.T.copy(), *end.T.copy())
    got = set(zip(found.segment.tolist(), found.zone.tolist(), strict=True))
    lines = np.asarray(shapely.linestrings(np.stack([start, end], axis=1)), object)
    chord, zone = shapely.STRtree(moved).query(lines, predicate="intersects")
    outside = ~shapely.intersects(np.array(moved)[zone], shapely.points(start[chord]))
    outside &= ~shapely.intersects(np.array(moved)[zone], shapely.points(end[chord]))
    touched = set(zip(chord[outside].tolist(), zone[outside].tolist(), strict=True))
    assert got <= touched
    # What was touched and is not told is shallow: its middle part is near the border.
    for i, number in sorted(touched - got)[:200]:
        within = shapely.intersection(lines[i], moved[number])
        steps = np.linspace(0, 1, 41)
        for part in shapely.get_parts(within):
            xy = shapely.get_coordinates(
                shapely.line_interpolate_point(part, steps, normalized=True)
            )
            depth_m = index.depths_m(xy[:, 0], xy[:, 1], np.full(len(xy), number))
            assert depth_m.max() < 20.5
    assert len(touched) > len(got) > 0
