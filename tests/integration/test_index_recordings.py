"""Every fix of the recordings among real shapes: the index says what shapely says, pair by pair."""

import contextlib
import csv
import gzip
import json
from collections.abc import Callable, Iterable
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import shapely
from numpy.typing import NDArray
from shapely.affinity import translate

from geofence.formats import read
from geofence.index import Index
from geofence.shapes import Shape, ShapeError, shape_of

Places = NDArray[np.float64]  # of shape (n, 2): lon, lat

# Fixes looked up at a time: as many as a large batch of the worker has.
_BATCH = 5_000


def capmetro(folder: Path) -> Iterable[tuple[float, float]]:
    for path in sorted((folder / "capmetro_austin").glob("20*.csv.gz")):
        with gzip.open(path, "rt") as lines:
            for row in csv.DictReader(lines):
                yield float(row["longitude"]), float(row["latitude"])


def porto(folder: Path) -> Iterable[tuple[float, float]]:
    with gzip.open(folder / "porto_taxi" / "train.csv.gz", "rt") as lines:
        for row in csv.DictReader(lines):
            yield from map(tuple, json.loads(row["POLYLINE"]))


def ais(folder: Path) -> Iterable[tuple[float, float]]:
    with gzip.open(folder / "ais_suez" / "boat-positions.csv.gz", "rt", encoding="utf-8-sig") as f:
        for row in csv.DictReader(f):
            yield float(row["longitude"]), float(row["latitude"])


RECORDINGS: dict[str, Callable[[Path], Iterable[tuple[float, float]]]] = {
    "capmetro": capmetro,
    "porto": porto,
    "ais": ais,
}


@cache
def places(name: str, shared: Path) -> Places:
    """Every fix of a recording, repeated ones included."""
    return np.array(list(RECORDINGS[name](shared / "data")))


@cache
def shapes(shared: Path, file: str) -> tuple[Shape, ...]:
    """The fences of a file that have ground."""
    path = shared / "data" / file
    found = []
    for draft in read(gzip.decompress(path.read_bytes()), name=path.name):
        # The file of the counties has the states and the nation too.
        if "topojson" in file and "counties" not in draft.where:
            continue
        with contextlib.suppress(ShapeError):
            found.append(shape_of(draft.definition or {})[0])
    return tuple(found)


def moved(given: Iterable[Shape], to: Places) -> list[Shape]:
    """The shapes, with the middle of all where the middle of the places is."""
    given = list(given)
    west, south, east, north = shapely.total_bounds([shape.geometry for shape in given])
    lon, lat = np.median(to, axis=0)
    return [
        Shape(
            shape.kind,
            translate(shape.geometry, lon - (west + east) / 2, lat - (south + north) / 2),
        )
        for shape in given
    ]


def differences(given: list[Shape], where: Places) -> tuple[int, int]:
    """Pairs in which the index and shapely differ, and pairs in all."""
    index = Index.build(dict(enumerate(given)))
    geometries = [shape.geometry for shape in given]
    shapely.prepare(geometries)
    tree = shapely.STRtree(geometries)
    differ = n = 0
    for start in range(0, len(where), _BATCH):
        lon, lat = where[start : start + _BATCH].T.copy()
        members = index.members(lon, lat)
        ours = set(zip(members.point.tolist(), members.zone.tolist(), strict=True))
        theirs: set[tuple[int, int]] = set()
        # Shapes over the antimeridian run on beyond 180 degrees.
        for turn in (0.0, 360.0):
            found = tree.query(shapely.points(lon + turn, lat), predicate="intersects")
            theirs |= set(zip(*found.tolist(), strict=True))
        differ += len(ours ^ theirs)
        n += len(theirs)
    return differ, n


@pytest.mark.timeout(300)
@pytest.mark.parametrize("name", RECORDINGS)
def test_every_fix_is_in_just_the_city_zones_it_is_in(name: str, shared_data: Path) -> None:
    where = places(name, shared_data)
    zones = moved(shapes(shared_data, "nyc_taxi_zones/taxi_zones.geojson.gz"), where)
    assert len(zones) == 263
    differ, n = differences(zones, where)
    assert differ == 0
    assert n > len(where) / 10, "the zones lie where the fixes are"


@pytest.mark.timeout(300)
@pytest.mark.parametrize("name", RECORDINGS)
def test_every_fix_is_in_just_the_county_it_is_in(name: str, shared_data: Path) -> None:
    counties = list(shapes(shared_data, "us_counties/counties-10m.topojson.gz"))
    assert len(counties) == 3_230, "of 3,231, of which one has no ground at this scale"
    where = places(name, shared_data)
    assert differences(counties, where)[0] == 0
    # The same fixes, spread over all of them: the Aleutians, which cross the antimeridian, too.
    west, south, east, north = -190.0, 15.0, -65.0, 72.0
    low, high = np.percentile(where, 1, axis=0), np.percentile(where, 99, axis=0)
    spread = (where - low) / (high - low) * [east - west, north - south] + [west, south]
    spread[:, 0] = (spread[:, 0] + 180.0) % 360.0 - 180.0
    spread = spread[np.abs(spread[:, 1]) <= 90.0]
    differ, n = differences(counties, spread)
    assert differ == 0
    assert n > len(where) / 20
