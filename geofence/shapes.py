"""What a fence may be, in one normal form.

Longitudes are *unwrapped*: ground that crosses the antimeridian runs on beyond 180 degrees, its
westernmost longitude is in [-180, 180). So a place with a longitude in [-180, 180) is in a polygon
if it, or the same place at `lon + 360`, lies in it, its border included; edges are straight in lon,
lat, as in GeoJSON. A polygon round a pole lies between -180 and 180 and is closed over the pole.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from math import asin, cos, degrees, radians, sin

import numpy as np
import shapely
from shapely.affinity import translate
from shapely.geometry.base import BaseGeometry

from geofence.cells import outline_of
from geofence.faults import ShapeError, at
from geofence.geodesy import Floats
from geofence.measure import MEAN_RADIUS_M, polygon_area_m2, polygon_inradii_m
from geofence.metric import metres_per_degree
from geofence.polygons import gathered, multipolygon, polygon, windowed
from geofence.rings import MAX_VERTICES, line, number, position

__all__ = [
    "Kind",
    "Shape",
    "ShapeError",
    "area_m2",
    "bounds",
    "definition_of",
    "from_columns",
    "inradii_m",
    "shape_of",
    "to_columns",
]

MAX_RADIUS_M = 1_000_000.0
MAX_WIDTH_M = 20_000.0
# Smaller ones are mistakes of unit; receivers stray by 3 to 5 m at best, by 25 m in streets.
_MIN_INRADIUS_M = 1.0
_BLUR_M = (5.0, 25.0)
# The ellipsoid's smallest radius of curvature: no arc of a given length spans a larger angle.
_MIN_CURVATURE_M = 6_335_000.0
# East of its meridians a metre is this many degrees or more: all of them count as touched.
_POLE_LAT = 89.99


class Kind(StrEnum):
    """The kinds of fences."""

    POLYGON = "polygon"
    CIRCLE = "circle"
    CORRIDOR = "corridor"
    CELLS = "cells"


@dataclass(frozen=True, slots=True)
class Shape:
    """One fence's ground.

    `geometry` is a valid Polygon or MultiPolygon (polygon, and cells as their outline), a Point
    (circle) or a LineString or MultiLineString (corridor). `radius_m` is a circle's radius, in
    metres over ground, and half a corridor's width; 0 for the others.
    """

    kind: Kind
    geometry: BaseGeometry
    radius_m: float = 0.0


def shape_of(definition: Mapping[str, object], *, where: str = "") -> tuple[Shape, list[str]]:
    """The shape that a fence's JSON means, and what was mended or is doubtful about it.

    Taken are GeoJSON Polygon and MultiPolygon; `Circle` (`center`, `radius_m`) or a Point with a
    `radius_m`; `Corridor` (`coordinates`, `width_m`) or a LineString or MultiLineString with a
    `width_m`; `Cells` (`cells`, hexadecimal H3 indexes).

    Raises:
        ShapeError: it means no shape, or its repair would be a guess. Its field begins at `where`.
    """
    kind = definition.get("type")
    read = _READERS.get(kind) if isinstance(kind, str) else None
    if read is None:
        known = ", ".join(_READERS)
        raise ShapeError(f"{kind!r} is none of {known}", at(where, "type"))
    notes: list[str] = []
    shape = read(definition, where, notes)
    inradius_m = float(inradii_m([shape])[0])
    if inradius_m < _MIN_INRADIUS_M:
        raise ShapeError(f"no circle of {_MIN_INRADIUS_M:.0f} m radius fits into it", where)
    if inradius_m < _BLUR_M[1]:
        small = "too small for GPS" if inradius_m < _BLUR_M[0] else "small for GPS"
        place = f"{where}: " if where else ""
        notes.append(
            f"{place}{small}: the largest circle inside has a radius of {inradius_m:.1f} m"
        )
    return shape, notes


def definition_of(shape: Shape) -> dict[str, object]:
    """JSON that `shape_of` takes for the same ground; polygons as RFC 7946 wants them.

    Cells come as the polygon of their outline: a shape does not know its cells.
    """
    if shape.kind is Kind.CIRCLE:
        lon, lat = shape.geometry.coords[0]
        center = [lon - 360.0 if lon >= 180.0 else lon, lat]
        return {"type": "Circle", "center": center, "radius_m": shape.radius_m}
    if shape.kind is Kind.CORRIDOR:
        lines = [part for run in shapely.get_parts(shape.geometry) for part in _cut(run)]
        nested = [shapely.get_coordinates(part).tolist() for part in lines]
        flat = nested[0] if len(nested) == 1 else nested
        return {"type": "Corridor", "coordinates": flat, "width_m": 2.0 * shape.radius_m}
    parts = shapely.get_parts(shapely.orient_polygons(windowed(shape.geometry)))
    polygons = [
        [shapely.get_coordinates(run).tolist() for run in shapely.get_rings(part)] for part in parts
    ]
    if len(polygons) == 1:
        return {"type": "Polygon", "coordinates": polygons[0]}
    return {"type": "MultiPolygon", "coordinates": polygons}


def bounds(shape: Shape) -> tuple[float, float, float, float]:
    """West, south, east, north in degrees of its ground; east exceeds 180 where that crosses.

    A circle's and a corridor's are up to 0.7 % of the radius too wide, never too narrow.
    """
    west, south, east, north = (float(edge) for edge in shape.geometry.bounds)
    if shape.radius_m == 0.0:
        return west, south, east, north
    tall = degrees(shape.radius_m / _MIN_CURVATURE_M)
    lat = max(abs(south), abs(north))
    south, north = max(south - tall, -90.0), min(north + tall, 90.0)
    if shape.kind is Kind.CIRCLE:
        wide = _circle_half_width(lat, tall)
    else:
        # A corridor's distances are measured at the place asked about, so at up to this latitude.
        wide = tall / cos(radians(min(lat + tall, _POLE_LAT)))
    if east - west + 2.0 * wide >= 360.0 or lat + tall >= _POLE_LAT:
        return -180.0, south, 180.0, north
    turn = 360.0 * ((west - wide + 180.0) // 360.0)
    return west - wide - turn, south, east + wide - turn, north


def area_m2(shape: Shape) -> float:
    """Area over ground. A corridor's counts its width where it turns or meets itself twice."""
    if shape.kind is Kind.CIRCLE:
        return _cap_m2(shape.radius_m)
    if shape.kind is Kind.CORRIDOR:
        length_m = 0.0
        for part in shapely.get_parts(shape.geometry):
            places = shapely.get_coordinates(part)
            step = np.diff(places, axis=0)
            east, north = metres_per_degree((places[1:, 1] + places[:-1, 1]) / 2.0)
            length_m += float(np.hypot(step[:, 0] * east, step[:, 1] * north).sum())
        return length_m * 2.0 * shape.radius_m + _cap_m2(shape.radius_m)
    return polygon_area_m2(shape.geometry)


def inradii_m(shapes: Sequence[Shape]) -> Floats:
    """Radius of the largest circle inside each: exact for circles and corridors.

    Of polygons as `polygon_inradii_m` says; 10 us for each small one, 1 ms for 8,000 vertices.
    """
    result = np.array([shape.radius_m for shape in shapes], np.float64)
    areal = np.flatnonzero(result == 0.0)
    if len(areal):
        geometries = np.empty(len(areal), object)
        geometries[:] = [shapes[i].geometry for i in areal.tolist()]
        result[areal] = polygon_inradii_m(geometries)
    return result


def to_columns(shapes: Sequence[Shape]) -> tuple[list[str], list[bytes], list[float]]:
    """Kinds, geometries as well-known binary, and radii."""
    geometries = np.empty(len(shapes), object)
    geometries[:] = [shape.geometry for shape in shapes]
    wkbs: list[bytes] = shapely.to_wkb(geometries).tolist()
    return [shape.kind.value for shape in shapes], wkbs, [shape.radius_m for shape in shapes]


def from_columns(
    kinds: Sequence[str], wkbs: Sequence[bytes], radii: Sequence[float]
) -> list[Shape]:
    """The shapes of `to_columns`, without checking them again; 100,000 in some 0.2 s."""
    named = {kind.value: kind for kind in Kind}
    geometries = shapely.from_wkb(np.array(wkbs, object)).tolist()
    return [
        Shape(named[kind], geometry, float(radius))
        for kind, geometry, radius in zip(kinds, geometries, radii, strict=True)
    ]


def _polygon(definition: Mapping[str, object], where: str, notes: list[str]) -> Shape:
    read = polygon if definition["type"] == "Polygon" else multipolygon
    geometry = read(definition.get("coordinates"), at(where, "coordinates"), notes)
    return Shape(Kind.POLYGON, geometry)


def _circle(definition: Mapping[str, object], where: str, notes: list[str]) -> Shape:
    key = "center" if definition["type"] == "Circle" else "coordinates"
    given = definition.get(key)
    lon, lat = position(given, at(where, key))
    if isinstance(given, list | tuple) and len(given) > 2:
        notes.append(f"{at(where, key)}: heights dropped")
    radius_m = _within(definition, "radius_m", MAX_RADIUS_M, where)
    return _from_west(Shape(Kind.CIRCLE, shapely.Point(lon, lat), radius_m))


def _corridor(definition: Mapping[str, object], where: str, notes: list[str]) -> Shape:
    field = at(where, "coordinates")
    given = definition.get("coordinates")
    nested = isinstance(given, list | tuple) and bool(given) and _is_nested(given[0])
    if nested and isinstance(given, list | tuple):
        runs = [line(part, at(field, i), notes) for i, part in enumerate(given)]
    else:
        runs = [line(given, field, notes)]
    if sum(len(run.lon) for run in runs) > MAX_VERTICES:
        raise ShapeError(f"more than {MAX_VERTICES:,} vertices", field)
    for run in runs:
        if float(np.ptp(run.lon)) > 360.0:
            raise ShapeError("spans more than 360 degrees of longitude", run.where)
    parts = gathered([shapely.LineString(run.coordinates) for run in runs])
    places = [shapely.get_coordinates(part) for part in parts]
    geometry = parts[0] if len(parts) == 1 else shapely.MultiLineString(places)
    width_m = _within(definition, "width_m", MAX_WIDTH_M, where)
    return _from_west(Shape(Kind.CORRIDOR, geometry, width_m / 2.0))


def _cells(definition: Mapping[str, object], where: str, notes: list[str]) -> Shape:
    coordinates = outline_of(definition.get("cells"), at(where, "cells"), notes)
    # Its rings are ours, so what is done to them is no news.
    return Shape(Kind.CELLS, multipolygon(coordinates, at(where, "cells"), []))


_READERS: dict[str, Callable[[Mapping[str, object], str, list[str]], Shape]] = {
    "Polygon": _polygon,
    "MultiPolygon": _polygon,
    "Circle": _circle,
    "Point": _circle,
    "Corridor": _corridor,
    "LineString": _corridor,
    "MultiLineString": _corridor,
    "Cells": _cells,
}


def _within(definition: Mapping[str, object], key: str, most: float, where: str) -> float:
    if key not in definition:
        raise ShapeError(f"a {definition['type']} needs a {key}", where)
    value = number(definition[key], at(where, key))
    if not 0.0 < value <= most:
        raise ShapeError(f"{value:.10g} m is not above 0 and up to {most:,.0f} m", at(where, key))
    return value


def _is_nested(value: object) -> bool:
    return isinstance(value, list | tuple) and bool(value) and isinstance(value[0], list | tuple)


def _from_west(shape: Shape) -> Shape:
    """Moved by whole turns so that its ground's westernmost longitude is in [-180, 180)."""
    west, _, east, _ = bounds(shape)
    middle = shape.geometry.bounds[0] / 2.0 + shape.geometry.bounds[2] / 2.0
    turns = round(((west + east) / 2.0 - middle) / 360.0)
    if not turns:
        return shape
    return Shape(shape.kind, translate(shape.geometry, 360.0 * turns), shape.radius_m)


def _circle_half_width(lat: float, tall: float) -> float:
    sine = sin(radians(tall)) / max(cos(radians(lat)), 1e-12)
    return 180.0 if lat + tall >= 90.0 or sine >= 1.0 else degrees(asin(sine))


def _cap_m2(radius_m: float) -> float:
    """Of a circle on the sphere of 6,371 km, which differs by up to 0.7 %."""
    return 4.0 * np.pi * (MEAN_RADIUS_M * sin(radius_m / MEAN_RADIUS_M / 2.0)) ** 2


def _cut(run: BaseGeometry) -> list[BaseGeometry]:
    """A line's pieces between -180 and 180."""
    west, _, east, _ = run.bounds
    if west >= -180.0 and east <= 180.0:
        return [run]
    world = shapely.box(-180.0, -90.0, 180.0, 90.0)
    turns = range(-int((east + 180.0) // 360.0), int((180.0 - west) // 360.0) + 1)
    pieces = [shapely.intersection(translate(run, 360.0 * k), world) for k in turns]
    return [q for p in pieces for q in shapely.get_parts(p) if q.length > 0.0]
