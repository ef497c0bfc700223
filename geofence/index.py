"""Which zones a place is in, how deep, and which zones a way passes through."""

from collections.abc import Mapping
from typing import NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from geofence.chords import Chords, Crossings, crossings
from geofence.geodesy import Floats
from geofence.layer import ZONE_BITS, Layer
from geofence.shapes import Shape
from geofence.ways import Ways

Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

# Up to this many pairs looking up points one by one is quicker: a round of numpy calls costs as
# much as twelve of them.
_FEW = 12


class Members(NamedTuple):
    """Every (point, zone) with the point in the zone, sorted by point, then zone."""

    point: Ints
    zone: Ints


class Index:
    """Zones by number, compiled for lookup. Never changes, so threads may share it.

    A zone's border belongs to it. Places are finite degrees, longitudes from -180 to 180, zone
    numbers from 0 to 2**31 - 1. An edit gives a new index that shares what was compiled and adds
    a small layer with the zones changed since; `compact` compiles them all again, best in a thread
    and when `changed` has grown to some hundreds.
    """

    __slots__ = ("_base", "_changes", "_dead", "_over", "_ways", "_ways_over")

    def __init__(
        self, base: Layer, changes: Mapping[int, Shape | None], ways: Ways | None = None
    ) -> None:
        self._base = base
        self._ways = Ways(base.shapes) if ways is None else ways
        self._changes = changes
        over = {zone: shape for zone, shape in changes.items() if shape is not None}
        self._over = Layer(over) if over else None
        self._ways_over = None if self._over is None else Ways(self._over.shapes)
        self._dead: Bools | None = None
        if changes and len(base):
            slots = base.slots(np.array(list(changes), np.int64))
            self._dead = np.zeros(len(base), np.bool_)
            self._dead[slots[slots >= 0]] = True

    @classmethod
    def build(cls, shapes: Mapping[int, Shape]) -> Self:
        """Compile zones by number."""
        return cls(Layer(shapes), {})

    def replaced(self, changes: Mapping[int, Shape | None]) -> Self:
        """An index with some zones changed, added or, where None, removed; this one stays valid."""
        return type(self)(self._base, {**self._changes, **changes}, self._ways)

    def compact(self) -> Self:
        """The same zones in one layer."""
        if not self._changes:
            return self
        old = dict(zip(self._base.zones.tolist(), self._base.shapes, strict=True))
        new = {**old, **self._changes}
        return self.build({zone: shape for zone, shape in new.items() if shape is not None})

    @property
    def changed(self) -> int:
        """Zones changed since all were compiled; each costs every later edit some 15 us."""
        return len(self._changes)

    @property
    def nbytes(self) -> int:
        """Bytes held beside the shapes and the trees of their boxes: some kB for each zone."""
        return self._base.nbytes + (0 if self._over is None else self._over.nbytes)

    def __len__(self) -> int:
        dead = 0 if self._dead is None else int(self._dead.sum())
        return len(self._base) - dead + (0 if self._over is None else len(self._over))

    def __contains__(self, zone: object) -> bool:
        if not isinstance(zone, int):
            return False
        if zone in self._changes:
            return self._changes[zone] is not None
        return self._base.slot(zone) >= 0

    def members(self, lon: Floats, lat: Floats) -> Members:
        """Every (point, zone) with the point in the zone, sorted by point, then zone."""
        keys = self._keys(lon, lat)
        return Members(keys >> ZONE_BITS, keys & ((1 << ZONE_BITS) - 1))

    def at(self, lon: float, lat: float) -> list[int]:
        """The zones one point is in, ascending."""
        if lon == 180.0:
            lon = -180.0
        zones = self._base.at(lon, lat)
        if not self._changes:
            return zones
        zones = [zone for zone in zones if zone not in self._changes]
        return zones if self._over is None else sorted(zones + self._over.at(lon, lat))

    def depths_m(self, lon: Floats, lat: Floats, zone: Ints) -> Floats:
        """Of each pair, metres to the zone's border, positive inside: `members` has its sign.

        Holes have borders too. Measured in the local plane at the place (WGS 84 radii of
        curvature), to the millimetre up to 1,000 m from a polygon or a corridor and 1,000 there
        from where it is further. Of a circle, the way over ground. What is only a border on the
        map, along a pole or where a belt around the earth meets itself, is none here; within some
        kilometres of a pole the plane is a poor likeness and depths are rough.
        """
        depths = np.empty(len(zone))
        left = np.ones(len(zone), np.bool_)
        for layer, hidden in ((self._over, None), (self._base, self._dead)):
            if layer is None or not len(layer):
                continue
            slot = layer.slots(zone)
            mine = left & (slot >= 0)
            if hidden is not None:
                mine &= ~hidden[slot]
            at = np.flatnonzero(mine)
            if len(at):
                slot, x, y = slot[at], lon[at], lat[at]
                inside = layer.are_polygons(slot)
                if inside.any():
                    inside &= self._holds(x, y, zone[at])
                depths[at] = layer.depths_m(x, y, slot, inside)
                left[at] = False
        if left.any():
            raise KeyError(int(zone[left][0]))
        return depths

    def crossings(self, lon0: Floats, lat0: Floats, lon1: Floats, lat1: Floats) -> Crossings:
        """Chords that pass through a zone, both ends outside, at least 20 m deep.

        `depth_m` is that of the deepest point, to half a metre.
        """
        near = np.zeros(len(lon0), np.bool_)
        for layer in (self._base, self._over):
            if layer is not None:
                near |= layer.may_meet(lon0, lat0, lon1, lat1)
        at = np.flatnonzero(near)
        at = at[self._may_pass(lon0[at], lat0[at], lon1[at], lat1[at])]
        chords = Chords(lon0[at], lat0[at], lon1[at], lat1[at])
        found = crossings(chords, self.members, self.depths_m)
        return found._replace(segment=at[found.segment])

    def _may_pass(self, lon0: Floats, lat0: Floats, lon1: Floats, lat1: Floats) -> Ints:
        """The ways whose box meets that of a zone neither end is in.

        Sampling a way of 1 km costs 7 us; this costs 2, and few are left.
        """
        ways, zones = [], []
        for layer, tree, hidden in (
            (self._base, self._ways, self._dead),
            (self._over, self._ways_over, None),
        ):
            if layer is None or tree is None or not len(layer):
                continue
            way, slot = tree.near(lon0, lat0, lon1, lat1)
            if hidden is not None:
                alive = ~hidden[slot]
                way, slot = way[alive], slot[alive]
            ways.append(way)
            zones.append(layer.zones[slot])
        if not ways:
            return np.empty(0, np.int64)
        way, zone = np.concatenate(ways), np.concatenate(zones)
        for lon, lat in ((lon0, lat0), (lon1, lat1)):
            # Most have an end inside, and most of those their first.
            of, at = np.unique(way, return_inverse=True)
            outside = ~np.isin(at << ZONE_BITS | zone, self._keys(lon[of], lat[of]))
            way, zone = way[outside], zone[outside]
        result: Ints = np.unique(way)
        return result

    def inradius_m(self, zone: int) -> float:
        """The radius of the largest circle inside the zone, about; for a corridor half its width.

        Computed when first asked: 10 us for a simple shape, milliseconds for a wild one.
        """
        if self._over is not None and (slot := self._over.slot(zone)) >= 0:
            return self._over.inradius_m(slot)
        if zone not in self:
            raise KeyError(zone)
        return self._base.inradius_m(self._base.slot(zone))

    def _keys(self, lon: Floats, lat: Floats) -> Ints:
        """Members as sorted numbers: point, then zone."""
        wraps = self._base.wraps or (self._over is not None and self._over.wraps)
        if wraps:
            lon = np.where(lon == 180.0, -180.0, lon)
        point, slot = self._base.members(lon, lat)
        if self._dead is not None:
            alive = np.flatnonzero(~self._dead[slot])
            point, slot = point[alive], slot[alive]
        keys = point << ZONE_BITS | self._base.zones[slot]
        if self._over is not None:
            point, slot = self._over.members(lon, lat)
            keys = np.concatenate([keys, point << ZONE_BITS | self._over.zones[slot]])
        keys.sort()
        if wraps and len(keys):
            fresh = np.ones(len(keys), np.bool_)
            fresh[1:] = keys[1:] != keys[:-1]
            keys = keys[fresh]
        return keys

    def _holds(self, lon: Floats, lat: Floats, zone: Ints) -> Bools:
        """Whether each place is in its zone."""
        if len(zone) <= _FEW:
            places = zip(lon.tolist(), lat.tolist(), zone.tolist(), strict=True)
            return np.array([z in self.at(x, y) for x, y, z in places], bool)
        keys = self._keys(lon, lat)
        wanted = np.arange(len(zone)) << ZONE_BITS | zone
        if not len(keys):
            return np.zeros(len(zone), np.bool_)
        at = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
        result: Bools = keys[at] == wanted
        return result
