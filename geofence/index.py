"""Which zones a place is in, how deep, and which zones a way passes through."""

from collections.abc import Mapping
from typing import NamedTuple, Self

import numpy as np
import shapely
from numpy.typing import NDArray

from geofence.borders import Borders, Segments
from geofence.chords import Chords, Crossings, crossings
from geofence.geodesy import Floats
from geofence.metric import metres_per_degree
from geofence.shapes import Kind, Shape

Ints = NDArray[np.int64]


class Members(NamedTuple):
    """Every (point, zone) with the point in the zone, sorted by point, then zone."""

    point: Ints
    zone: Ints


class Index:
    """A first version."""

    def __init__(self, shapes: dict[int, Shape]) -> None:
        self._shapes = shapes
        self._zones = np.array(sorted(shapes), np.int64)
        listed = [shapes[zone] for zone in self._zones.tolist()]
        self._slots = {zone: slot for slot, zone in enumerate(self._zones.tolist())}
        self._borders = Borders(listed, Segments(listed))
        self._geometries = np.array([shape.geometry for shape in listed], object)
        self._polygon = np.array(
            [shape.kind in {Kind.POLYGON, Kind.CELLS} for shape in listed], bool
        )
        bounds = shapely.bounds(self._geometries).reshape(-1, 4)
        radius = np.array([shape.radius_m for shape in listed]) * 1.02
        dy = radius / 110_500.0
        top = np.minimum(np.maximum(np.abs(bounds[:, 1]), np.abs(bounds[:, 3])) + dy, 89.99)
        kx, _ = metres_per_degree(top)
        dx = np.where(top > 89.9, 360.0, radius / kx)
        boxes = shapely.box(
            bounds[:, 0] - dx, bounds[:, 1] - dy, bounds[:, 2] + dx, bounds[:, 3] + dy
        )
        self._tree = shapely.STRtree(boxes)
        self.nbytes = self._borders.nbytes
        self._inradius: dict[int, float] = {}

    @classmethod
    def build(cls, shapes: Mapping[int, Shape]) -> Self:
        return cls(dict(shapes))

    def replaced(self, changes: Mapping[int, Shape | None]) -> Self:
        shapes = self._shapes | {z: s for z, s in changes.items() if s is not None}
        for zone, shape in changes.items():
            if shape is None:
                shapes.pop(zone, None)
        return type(self)(shapes)

    def compact(self) -> Self:
        return self

    def members(self, lon: Floats, lat: Floats) -> Members:
        found = []
        for shift in (-360.0, 0.0, 360.0):
            points = shapely.points(lon + shift, lat)
            point, slot = self._tree.query(points, predicate="intersects")
            polygon = self._polygon[slot]
            ok = np.zeros(len(point), np.bool_)
            at = np.flatnonzero(polygon)
            if shift >= 0:
                ok[at] = shapely.intersects_xy(
                    self._geometries[slot[at]], lon[point[at]] + shift, lat[point[at]]
                )
            at = np.flatnonzero(~polygon)
            p, s = point[at], slot[at]
            ok[at] = self._borders.depths_m(lon[p], lat[p], s, np.ones(len(p), np.bool_)) >= 0
            found.append(np.stack([point[ok], self._zones[slot[ok]]], axis=1))
        pairs = np.unique(np.concatenate(found), axis=0)
        return Members(pairs[:, 0], pairs[:, 1])

    def at(self, lon: float, lat: float) -> list[int]:
        return self.members(np.array([lon]), np.array([lat])).zone.tolist()

    def depths_m(self, lon: Floats, lat: Floats, zone: Ints) -> Floats:
        slot = np.array([self._slots[z] for z in zone.tolist()], np.int64)
        point, found = self.members(lon, lat)
        inside = np.zeros(len(zone), np.bool_)
        inside[point[found == zone[point]]] = True
        return self._borders.depths_m(lon, lat, slot, inside)

    def crossings(self, lon0: Floats, lat0: Floats, lon1: Floats, lat1: Floats) -> Crossings:
        chords = Chords(lon0, lat0, lon1, lat1)
        return crossings(chords, np.arange(len(lon0)), self.members, self.depths_m)

    def inradius_m(self, zone: int) -> float:
        found = self._inradius.get(zone)
        if found is None:
            found = self._inradius[zone] = self._measure(self._shapes[zone])
        return found

    @staticmethod
    def _measure(shape: Shape) -> float:
        if shape.radius_m:
            return shape.radius_m
        west, south, east, north = shape.geometry.bounds
        kx, ky = (float(k[0]) for k in metres_per_degree(np.array([(south + north) / 2])))
        flat = shapely.transform(shape.geometry, lambda xy: xy * [kx, ky])
        span = max((east - west) * kx, (north - south) * ky)
        flat = shapely.simplify(flat, span / 1000)
        return float(shapely.length(shapely.maximum_inscribed_circle(flat, tolerance=span / 200)))

    def __len__(self) -> int:
        return len(self._shapes)

    def __contains__(self, zone: object) -> bool:
        return zone in self._shapes
