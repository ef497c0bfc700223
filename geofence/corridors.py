"""The ground of corridors as polygons: one that lies inside it, one that holds it."""

from itertools import pairwise

import numpy as np
import shapely
from shapely.geometry.base import BaseGeometry

from geofence.geodesy import Floats
from geofence.metric import metres_per_degree

# Within a band of latitude a metre is taken to be equally many degrees; this much it may vary.
_VARIES = 0.02
# From here on to the pole only the outer polygon has ground: all of it.
_POLE_LAT = 89.9
# The polygon of 32 corners in a circle leaves out this much of the radius at most.
_CORNERS = 1.005


def between(line: BaseGeometry, radius_m: float) -> tuple[BaseGeometry, BaseGeometry]:
    """Polygons inside and around all places within `radius_m` of a line.

    The distance is measured at the place itself, in its local plane; edges are straight in lon,
    lat. Longitudes are the line's; the outer polygon reaches round the Earth near a pole.
    """
    inner: list[BaseGeometry] = []
    outer: list[BaseGeometry] = []
    for part in _bands(line):
        west, south, east, north = part.bounds
        tall = radius_m / float(metres_per_degree(np.array(0.0))[1])
        lats = np.clip([south - tall, north + tall, 0.0], -90.0, 90.0)
        lats = lats if south - tall < 0.0 < north + tall else lats[:2]
        if float(np.abs(lats).max()) >= _POLE_LAT:
            middle = (west + east) / 2.0
            outer.append(shapely.box(middle - 180.0, lats.min(), middle + 180.0, lats.max()))
            continue
        metres = np.array(metres_per_degree(lats))
        inner.append(_around(part, radius_m, metres.max(axis=1)))
        outer.append(_around(part, radius_m * _CORNERS, metres.min(axis=1)))
    return shapely.union_all(inner), shapely.union_all(outer)


def _around(part: BaseGeometry, radius_m: float, metres: Floats) -> BaseGeometry:
    flat = shapely.transform(part, lambda places: places * metres)
    ground = shapely.buffer(flat, radius_m, quad_segs=8)
    return shapely.transform(ground, lambda places: places / metres)


def _bands(line: BaseGeometry) -> list[BaseGeometry]:
    """The line cut at parallels so close together that a degree is about as wide throughout."""
    west, south, east, north = line.bounds
    steepest = np.tan(np.radians(min(max(abs(south), abs(north)), _POLE_LAT)))
    step = float(np.degrees(_VARIES / max(steepest, 0.02)))
    count = int(np.ceil((north - south) / step)) or 1
    if count == 1:
        return [line]
    edges = np.linspace(south, north, count + 1)
    boxes = [
        shapely.box(west - 1.0, low, east + 1.0, high) for low, high in pairwise(edges.tolist())
    ]
    return [part for box in boxes if not (part := shapely.intersection(line, box)).is_empty]
