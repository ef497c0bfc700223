"""A small world of fences for tests of the fold: metres east and north of one place."""

from collections.abc import Sequence
from math import nan
from typing import Any

import numpy as np
import shapely

from geofence.geodesy import ecef
from geofence.shapes import Kind, Shape
from tests.fences import book_of
from tracking.fences import FenceOptions, FenceVersion
from tracking.fold import Fact, Fix, Rules, fold
from tracking.fold.state import DeviceState
from tracking.fold.terrain import Surroundings, Terrain, Who
from tracking.quality import Quality

RULES = Rules()
START_US = 1_700_000_000_000_000
LON, LAT = 13.0, 52.0
# At this latitude a degree of longitude is 68.68 km, one of latitude 111.27 km.
EAST, NORTH = 1 / 68_677.0, 1 / 111_267.0
TRUCK = Who("truck")


def place(east_m: float, north_m: float = 0.0) -> tuple[float, float]:
    """Degrees of a place given in metres."""
    return LON + east_m * EAST, LAT + north_m * NORTH


def at(t_s: float) -> int:
    """Microseconds of a moment `t_s` seconds into the story."""
    return START_US + round(t_s * 1e6)


def box(west_m: float, east_m: float, south_m: float = -500.0, north_m: float = 500.0) -> Shape:
    """A rectangle."""
    return Shape(Kind.POLYGON, shapely.box(*place(west_m, south_m), *place(east_m, north_m)))


def fence(
    number: int,
    shape: Shape,
    *,
    version: int = 1,
    created_us: int = 0,
    from_us: int | None = None,
    to_us: int | None = None,
    **options: Any,  # noqa: ANN401 -- FenceOptions
) -> FenceVersion:
    """A version of a fence; from its creation on and for ever unless said otherwise."""
    return FenceVersion(
        number=number,
        id=f"f{number}",
        name=f"Fence {number}",
        version=version,
        created_us=created_us,
        from_us=created_us if from_us is None else from_us,
        to_us=to_us,
        shape=shape,
        options=FenceOptions(**options),
    )


def fix(
    t_s: float,
    east_m: float,
    north_m: float = 0.0,
    *,
    speed_mps: float = nan,
    accuracy_m: float = nan,
    quality: Quality = Quality.OK,
) -> Fix:
    """A fix of the story."""
    lon, lat = place(east_m, north_m)
    x, y, z = (float(v[0]) for v in ecef(np.array([lon]), np.array([lat])))
    return Fix(at(t_s), -1, quality, lon, lat, speed_mps, accuracy_m, x, y, z)


def tell(
    story: Sequence[Fix], *fences: FenceVersion, who: Who = TRUCK
) -> tuple[DeviceState, list[Fact]]:
    """Fold a story; return the state after it and what it told of fences."""
    terrain = Terrain(book_of(fences))
    state, verdicts = fold(
        DeviceState(), story, RULES, lambda fix: Surroundings.of(terrain, fix, who)
    )
    told = ("fence.", "speed.")
    return state, [f for v in verdicts for f in v.facts if f.type.startswith(told)]


def shown(facts: Sequence[Fact]) -> list[tuple[str, str, float]]:
    """Type, fence and second of each."""
    return [(f.type, f.rule, (f.time_us - START_US) / 1e6) for f in facts]


def drive(
    t_s: float, east_m: float, *, n: int, step_s: float = 10.0, mps: float = 10.0
) -> list[Fix]:
    """Fixes along a straight road to the east."""
    return [fix(t_s + i * step_s, east_m + i * step_s * mps) for i in range(n)]
