"""What a fence may be, in one normal form.

Longitudes are *unwrapped*: a shape that crosses the antimeridian runs on beyond 180 degrees, its
westernmost longitude is in [-180, 180). So a place is in a polygon if it, or the same place at
`lon + 360`, lies in it, its border included; edges are straight in lon, lat, as in GeoJSON.
"""

from dataclasses import dataclass
from enum import StrEnum

from shapely.geometry.base import BaseGeometry


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
