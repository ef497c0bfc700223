"""Fences and places to look for in them: made ones of every density, and real ones."""

import contextlib
import gzip
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import shapely
from numpy.typing import NDArray

from geofence.faults import ShapeError
from geofence.formats import read
from geofence.shapes import shape_of
from tests.benchmarks.processes import ROOT

Floats = NDArray[np.float64]
Objects = NDArray[np.object_]

# A city of 56 by 42 km.
_CITY_DEG = 0.5
_LON, _LAT = -74.0, 40.5
_M_PER_DEGREE = 111_000.0
_CORNERS = (8, 32)


@dataclass(frozen=True, slots=True)
class Town:
    """Fences, and places: `draw(n)` gives lon, lat in rows, always the same.

    `wanted` is the goal over a bulk STRtree.
    """

    name: str
    fences: Objects
    draw: Callable[[int], Floats]
    wanted: float


def made_towns() -> Iterator[Town]:
    """Random outlines in a city: few, many, overlapping, spread out, large."""
    for name, n, radius_m, side_deg, wanted in (
        ("1,000", 1_000, (50, 350), _CITY_DEG, 1.0),
        ("10,000", 10_000, (50, 350), _CITY_DEG, 1.0),
        ("100,000 overlapping", 100_000, (50, 350), _CITY_DEG, 2.0),
        ("100,000 spread out", 100_000, (50, 350), _CITY_DEG * 10**0.5, 2.0),
        ("2,000 large", 2_000, (400, 3_600), _CITY_DEG, 2.0),
    ):
        yield Town(name, _outlines(n, radius_m, side_deg), _square(side_deg), wanted)


def real_towns() -> Iterator[Town]:
    """Zones of New York and counties of the United States, where the recordings are."""
    default = ROOT.parent / "shared"
    folder = Path(os.environ.get("WAYMARK_TEST_DATA", default)).resolve() / "data"
    zones = folder / "nyc_taxi_zones" / "taxi_zones.geojson.gz"
    if zones.is_file():
        fences = _fences(zones)
        yield Town("NYC zones", fences, _around(fences), 2.0)
    counties = folder / "us_counties" / "counties-10m.topojson.gz"
    if counties.is_file():
        fences = _fences(counties)
        # Places are drawn on the mainland.
        west, _, _, north = shapely.bounds(fences).T
        yield Town(
            "counties", fences, _around(fences[(west > -125) & (west < -60) & (north < 50)]), 2.0
        )


def _fences(path: Path) -> Objects:
    fences = []
    for draft in read(gzip.decompress(path.read_bytes()), name=path.name):
        # The file has the states and the nation too. Some counties have no area at this scale.
        if path.name.startswith("counties") and "counties" not in draft.where:
            continue
        with contextlib.suppress(ShapeError):
            fences.append(shape_of(draft.definition or {})[0].geometry)
    return np.array(fences)


def _outlines(n: int, radius_m: tuple[float, float], side_deg: float) -> Objects:
    rng = np.random.default_rng(1)
    corners = rng.integers(*_CORNERS, n, endpoint=True)
    of = np.repeat(np.arange(n), corners)
    step = np.arange(len(of)) - np.repeat(np.cumsum(corners) - corners, corners)
    angle = (step + 0.6 * rng.random(len(of))) / corners[of] * 2 * np.pi
    radius_deg = np.exp(rng.uniform(np.log(radius_m[0]), np.log(radius_m[1]), n)) / _M_PER_DEGREE
    radius_deg = radius_deg[of] * rng.uniform(0.6, 1, len(of))
    centre = np.array([_LON, _LAT]) + rng.random((n, 2)) * side_deg
    x = centre[of, 0] + radius_deg * np.cos(angle) / np.cos(np.radians(_LAT))
    y = centre[of, 1] + radius_deg * np.sin(angle)
    rings = shapely.linearrings(np.stack([x, y], axis=1), indices=of)
    return np.asarray(shapely.polygons(rings), object)


def _square(side_deg: float) -> Callable[[int], Floats]:
    def draw(n: int) -> Floats:
        return np.array([_LON, _LAT]) + np.random.default_rng(2).random((n, 2)) * side_deg

    return draw


def _around(fences: Objects) -> Callable[[int], Floats]:
    west, south, east, north = shapely.total_bounds(fences)

    def draw(n: int) -> Floats:
        unit = np.random.default_rng(2).random((n, 2))
        result: Floats = np.array([west, south]) + unit * [east - west, north - south]
        return result

    return draw
