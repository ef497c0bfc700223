"""A fixed set of zones, compiled: tiles to find them, borders to say how deep."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import shapely
from numpy.typing import NDArray

from geofence.borders import Borders, Segments
from geofence.finder import finder_of
from geofence.geodesy import Floats
from geofence.metric import metres_per_degree
from geofence.shapes import Kind, Shape
from geofence.tiling import tiles_of

if TYPE_CHECKING:
    from geofence.tiles import Tiles

Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

# A point and a zone in one number, which sorts as the pair does.
ZONE_BITS = 32
_ZONE_END = 1 << 31


class Layer:
    """Zones by slot, their position in ascending order. Never changes, so threads may share it."""

    __slots__ = (
        "_borders", "_find_one", "_geometries", "_inradius_m", "_numbers", "_polygon", "_sift",
        "_tiles", "shapes", "wraps", "zones",
    )  # fmt: skip

    def __init__(self, shapes: Mapping[int, Shape]) -> None:
        self.zones: Ints = np.array(sorted(shapes), np.int64)
        if len(self.zones) and not 0 <= self.zones[0] <= self.zones[-1] < _ZONE_END:
            raise ValueError(f"zone numbers are from 0 to {_ZONE_END - 1}")
        self.shapes: Sequence[Shape] = [shapes[zone] for zone in self.zones.tolist()]
        self._geometries = np.array([shape.geometry for shape in self.shapes], object)
        self._polygon: Bools = np.array(
            [shape.kind in {Kind.POLYGON, Kind.CELLS} for shape in self.shapes], bool
        )
        segments = Segments(self.shapes)
        self._borders = Borders(self.shapes, segments)
        self._tiles: Tiles = tiles_of(self.shapes, segments)
        self.wraps = self._tiles.wraps
        self._inradius_m: dict[int, float] = {}
        self._find_one = finder_of(self._tiles)
        self._sift = self._borders.discs()
        dense = np.array_equal(self.zones, np.arange(len(self.zones)))
        self._numbers = None if dense else self.zones.data  # as Python numbers

    def __len__(self) -> int:
        return len(self.shapes)

    @property
    def nbytes(self) -> int:
        """Bytes held beside the shapes."""
        return self._tiles.nbytes + self._borders.nbytes + self.zones.nbytes + self._polygon.nbytes

    def slot(self, zone: int) -> int:
        """The zone's slot, or -1."""
        slot = int(np.searchsorted(self.zones, zone))
        return slot if slot < len(self.zones) and self.zones[slot] == zone else -1

    def slots(self, zone: Ints) -> Ints:
        """The slots of zones, -1 for those not here."""
        if not len(self.zones):
            return np.full(len(zone), -1)
        slot = np.minimum(np.searchsorted(self.zones, zone), len(self.zones) - 1)
        return np.where(self.zones[slot] == zone, slot, -1)

    def members(self, lon: Floats, lat: Floats) -> tuple[Ints, Ints]:
        """(point, slot) of every point in a zone, in no order, perhaps twice if it `wraps`."""
        found = self._tiles.find(lon, lat)
        if not len(found.open_point):
            return found.point, found.slot
        point, slot = found.open_point, found.open_slot
        within = self._contains(lon[point], lat[point], slot)
        return (
            np.concatenate([found.point, point[within]]),
            np.concatenate([found.slot, slot[within]]),
        )

    def at(self, lon: float, lat: float) -> list[int]:
        """The zones one point is in, ascending."""
        slots, open_ = self._find_one(lon, lat)
        if open_:
            slots = self._decided(lon, lat, slots, open_)
        if self.wraps and len(slots) > 1:
            slots = sorted(set(slots))
        # Slots are in the order of zones, and often are the zones.
        numbers = self._numbers
        return slots if numbers is None else [numbers[slot] for slot in slots]

    def _decided(self, lon: float, lat: float, slots: list[int], open_: Sequence[int]) -> list[int]:
        within, open_ = self._sift(lon, lat, open_)
        slots = sorted([*slots, *within])
        if not open_:
            return slots
        at = np.array(open_)
        decided = self._contains(np.full(len(at), lon), np.full(len(at), lat), at)
        return sorted([*slots, *at[decided].tolist()])

    def may_meet(self, lon0: Floats, lat0: Floats, lon1: Floats, lat1: Floats) -> Bools:
        """Whether there may be a zone in each box between two places."""
        return self._tiles.occupied(lon0, lat0, lon1, lat1)

    def depths_m(self, lon: Floats, lat: Floats, slot: Ints, inside: Bools) -> Floats:
        """As `Borders.depths_m`."""
        return self._borders.depths_m(lon, lat, slot, inside)

    def are_polygons(self, slot: Ints) -> Bools:
        """Whether the depths' sign must be asked from `members`."""
        return self._polygon[slot]

    def inradius_m(self, slot: int) -> float:
        """The radius of the largest circle inside, within some per cent; kept."""
        known = self._inradius_m.get(slot)
        if known is None:
            known = self._inradius_m[slot] = _inradius_m(self.shapes[slot])
        return known

    def _contains(self, lon: Floats, lat: Floats, slot: Ints) -> Bools:
        """Decide pairs by the shapes themselves."""
        polygon = self._polygon[slot]
        within = np.empty(len(slot), np.bool_)
        at = np.flatnonzero(polygon)
        if len(at):
            # shapely's orientation predicates are exact, whatever the coordinates.
            geometry, x, y = self._geometries[slot[at]], lon[at], lat[at]
            within[at] = shapely.intersects_xy(geometry, x, y)
            within[at] |= shapely.intersects_xy(geometry, x + 360.0, y)
        at = np.flatnonzero(~polygon)
        if len(at):
            none = np.zeros(len(at), np.bool_)
            within[at] = self._borders.depths_m(lon[at], lat[at], slot[at], none) >= 0
        return within


def _inradius_m(shape: Shape) -> float:
    if shape.radius_m:
        return shape.radius_m
    west, south, east, north = shape.geometry.bounds
    kx, ky = (float(k[0]) for k in metres_per_degree(np.array([(south + north) / 2])))
    flat: Any = shapely.transform(shape.geometry, lambda xy: xy * [kx, ky])
    # The search takes longer the finer it is, and wiggles cost: 3 ms at most for NYC's zones. A
    # thin shape across its box is looked at once more, as finely as it needs.
    about_m = min((east - west) * kx, (north - south) * ky) / 2
    for _ in range(2):
        plain = shapely.simplify(flat, about_m / 100)
        line = shapely.maximum_inscribed_circle(plain, tolerance=about_m / 50)
        found_m = float(shapely.length(line))
        if found_m > about_m / 2:
            break
        about_m = max(found_m, about_m / 50)
    return found_m
