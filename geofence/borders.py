"""How far a place is from the border of a zone, over ground in metres.

The border of a polygon are its rings, that of a corridor is judged from its middle line. Segments
lie in runs of neighbours with a box around each, so that a county of 1,000 corners costs a pair
about as much as a square.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import shapely
from numpy.typing import NDArray

from geofence.columns import offsets, spread, starts_of
from geofence.discs import Discs, discs_of
from geofence.geodesy import Floats
from geofence.metric import distances_m, metres_per_degree
from geofence.shapes import Kind, Shape

Ints = NDArray[np.int64]

# Distances to lines are exact below this; beyond, all that is said is that it is as far.
FAR_M = 1_000.0


class Segments:
    """The straight pieces of each shape's rings or lines: x0, y0, x1, y1 in unwrapped degrees.

    `of` is the shape each belongs to, ascending. Circles have none.
    """

    __slots__ = ("of", "xy")

    def __init__(self, shapes: Sequence[Shape]) -> None:
        geometries = np.array([shape.geometry for shape in shapes], object)
        lines = np.array([shape.kind is not Kind.CIRCLE for shape in shapes], bool)
        parts, part_of = shapely.get_parts(geometries[lines], return_index=True)
        is_ring = shapely.get_type_id(parts) == shapely.GeometryType.POLYGON
        part_of = np.flatnonzero(lines)[part_of]
        rings, ring_of = shapely.get_rings(parts[is_ring], return_index=True)
        rings = np.concatenate([rings, parts[~is_ring]])
        owners = np.concatenate([part_of[is_ring][ring_of], part_of[~is_ring]])
        order = np.argsort(owners, kind="stable")
        xy, line = shapely.get_coordinates(rings[order], return_index=True)
        joined = np.flatnonzero(line[1:] == line[:-1])
        self.xy = np.concatenate([xy[joined], xy[joined + 1]], axis=1)
        self.of: Ints = owners[order][line[joined]]


class _Places(NamedTuple):
    """Places, and the metres of a degree of longitude and of latitude there."""

    x: Floats
    y: Floats
    kx: Floats
    ky: Floats


class Borders:
    """The borders of shapes, by their position among `shapes`."""

    def __init__(self, shapes: Sequence[Shape], segments: Segments) -> None:
        self._circle = np.array([shape.kind is Kind.CIRCLE for shape in shapes], bool)
        self._has_circles = bool(self._circle.any())
        self._radius_m = np.array([shape.radius_m for shape in shapes])
        bounds = shapely.bounds(np.array([shape.geometry for shape in shapes], object))
        self._middle = bounds[:, [0, 1]] / 2 + bounds[:, [2, 3]] / 2
        shown = ~_seams(segments, bounds)
        self._xy = segments.xy[shown]
        count = np.bincount(segments.of[shown], minlength=len(shapes))
        self._lay_runs(count)

    def _lay_runs(self, count: Ints) -> None:
        # Runs of about the square root: as many boxes to look at as segments behind one of them.
        size = np.clip(np.exp2(np.ceil(np.log2(np.maximum(count, 1)) / 2)), 8, 128).astype(np.int64)
        runs = -(-count // size)
        self._run_first = offsets(runs)
        of, position = spread(np.zeros_like(runs), runs)
        first = offsets(count)
        self._segment_first = np.append(first[of] + position * size[of], first[-1])
        self._boxes = np.empty((len(of), 4))
        if len(of):
            low = np.minimum(self._xy[:, :2], self._xy[:, 2:])
            high = np.maximum(self._xy[:, :2], self._xy[:, 2:])
            self._boxes[:, :2] = np.minimum.reduceat(low, self._segment_first[:-1])
            self._boxes[:, 2:] = np.maximum.reduceat(high, self._segment_first[:-1])

    @property
    def nbytes(self) -> int:
        """Bytes held."""
        return sum(
            column.nbytes for column in vars(self).values() if isinstance(column, np.ndarray)
        )

    def depths_m(self, lon: Floats, lat: Floats, slot: Ints, inside: NDArray[np.bool_]) -> Floats:
        """Of pairs of a place and a shape; `inside` is taken for polygons only."""
        depth = np.empty(len(slot))
        circle = self._circle[slot] if self._has_circles else np.zeros(len(slot), np.bool_)
        if self._has_circles and circle.any():
            at = np.flatnonzero(circle)
            depth[at] = self.circle_depths_m(lon[at], lat[at], slot[at])
        at = np.flatnonzero(~circle)
        if len(at):
            radius_m = self._radius_m[slot[at]]
            away_m = self._distances_m(lon[at], lat[at], slot[at], radius_m + FAR_M)
            polygon = np.where(inside[at], away_m, -away_m)
            depth[at] = np.where(radius_m > 0, radius_m - away_m, polygon)
        return depth

    def circle_depths_m(self, lon: Floats, lat: Floats, slot: Ints) -> Floats:
        """`depths_m` where all shapes are circles."""
        centre = self._middle[slot]
        away_m = distances_m(centre[:, 0], centre[:, 1], lon, lat)
        result: Floats = self._radius_m[slot] - away_m
        return result

    def discs(self) -> Discs:
        """The circles, for single points."""
        if not self._has_circles:
            return lambda _lon, _lat, slots: ([], slots)
        return discs_of(self._middle, np.where(self._circle, self._radius_m, np.nan))

    def _distances_m(self, lon: Floats, lat: Floats, slot: Ints, reach_m: Floats) -> Floats:
        """To the nearest segment of each pair's shape, at most `reach_m`."""
        kx, ky = metres_per_degree(lat)
        px = lon + 360.0 * np.rint((self._middle[slot, 0] - lon) / 360.0)
        best = reach_m * reach_m
        first = self._run_first[slot]
        pair, run = spread(first, self._run_first[slot + 1] - first)
        if len(pair) > len(slot):
            near = self._near(_Places(px, lat, kx, ky), pair, run, best)
            pair, run = pair[near], run[near]
        first = self._segment_first[run]
        of, segment = spread(first, self._segment_first[run + 1] - first)
        if len(of):
            of = pair[of]
            d_2 = _to_segments_2(px[of], lat[of], kx[of], ky[of], self._xy[segment])
            starts = starts_of(of)
            at = of[starts]
            best[at] = np.minimum(best[at], np.minimum.reduceat(d_2, starts))
        result: Floats = np.sqrt(best)
        return result

    def _near(self, places: _Places, pair: Ints, run: Ints, best: Floats) -> NDArray[np.bool_]:
        """Which runs' boxes may hold the nearest segment of their pair."""
        x, y, mx, my = (column[pair] for column in places)
        box = self._boxes[run]
        dx = np.maximum(np.maximum(box[:, 0] - x, x - box[:, 2]), 0.0) * mx
        dy = np.maximum(np.maximum(box[:, 1] - y, y - box[:, 3]), 0.0) * my
        corner = self._xy[self._segment_first[run]]
        cx, cy = (corner[:, 0] - x) * mx, (corner[:, 1] - y) * my
        starts = starts_of(pair)
        limit = best.copy()
        limit[pair[starts]] = np.minimum.reduceat(cx * cx + cy * cy, starts)
        # A hair more than the nearest corner: its own run must survive rounding.
        near: NDArray[np.bool_] = dx * dx + dy * dy <= np.minimum(limit, best)[pair] * (1 + 1e-9)
        return near


def _to_segments_2(px: Floats, py: Floats, kx: Floats, ky: Floats, xy: Floats) -> Floats:
    ax, ay = (xy[:, 0] - px) * kx, (xy[:, 1] - py) * ky
    ex, ey = (xy[:, 2] - px) * kx - ax, (xy[:, 3] - py) * ky - ay
    along = -(ax * ex + ay * ey) / np.maximum(ex * ex + ey * ey, 1e-300)
    along = np.minimum(np.maximum(along, 0.0), 1.0)
    dx, dy = ax + along * ex, ay + along * ey
    result: Floats = dx * dx + dy * dy
    return result


def _seams(segments: Segments, bounds: Floats) -> NDArray[np.bool_]:
    """Segments that are no border on the ground: along a pole, or where a belt meets itself."""
    x0, y0, x1, y1 = segments.xy.T
    pole = (y0 == y1) & (np.abs(y0) == 90.0)
    west, east = bounds[segments.of, 0], bounds[segments.of, 2]
    seam = (east - west == 360.0) & (x0 == x1) & ((x0 == west) | (x0 == east))
    result: NDArray[np.bool_] = pole | seam
    return result
