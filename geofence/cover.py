"""H3 cells that cover a fence: those wholly inside it, and those on its border.

Two notions of "a place is in a cell" differ by a sixth of the cell's edge: `latlng_to_cell` at the
cell's resolution, and the ancestor of a finer cell of the place. A cover holds for both, and for
any finer cell: each cell is tested as its hexagon enlarged about its middle. 144,000 places near
the edges of cells of resolutions 0 to 10, a third of them by pentagons and a third by the edges of
the icosahedron, lay within 1.19 times the hexagon; the rest of the factor pays for edges that are
arcs, not straight in lon, lat.
"""

from itertools import chain
from math import ceil, cos, radians
from typing import NamedTuple, Protocol

import numpy as np
import shapely
from h3.api import numpy_int as h3
from numpy.typing import NDArray
from shapely.affinity import translate
from shapely.geometry.base import BaseGeometry

from geofence.corridors import between
from geofence.geodesy import Floats, ecef
from geofence.h3bits import children, ranges_at, resolutions
from geofence.shapes import Kind, Shape, bounds

Cells = NDArray[np.uint64]
Bools = NDArray[np.bool_]

__all__ = ["Cover", "cell_ranges", "cover"]

# The resolution of the cell stored with each position.
STORED_RESOLUTION = 10
_ENLARGED = 1.25
# A cell whose angular radius times tan(lat) is more is tested as a box, its outline in lon, lat
# being too far from a hexagon's.
_CURVED = 0.1
# The first cells are those around the middle at the coarsest resolution whose edge goes this often
# into the shape's radius: a disc then has 22 cells.
_RADIUS_EDGES = 3.0
_EDGES_M = [h3.average_hexagon_edge_length(r, unit="m") for r in range(16)]
# Chords of the ellipsoid against arcs, and against the plane, of up to 1,000 km.
_CHORD_SLACK = 0.003


class Cover(NamedTuple):
    """Cells of one resolution. A place in one of `inside` is in the shape; a place in the shape is
    in one of `inside` or `border`.
    """  # noqa: D205 -- one contract

    resolution: int
    inside: Cells
    border: Cells


def cover(shape: Shape, *, target_cells: int = 40) -> Cover:
    """The cells that cover a shape, at the first resolution with half of `target_cells` or more.

    So between half of it and 3 times; fewer only for fences of a metre. A target below 40 gives no
    fewer cells. Takes 0.2 to 0.6 ms for a fence of a few corners.
    """
    ground: _Ground = _Circle(shape) if shape.kind is Kind.CIRCLE else _Area(shape)
    cells = _first(shape)
    resolution = h3.get_resolution(int(cells[0]))
    inside = np.empty(0, np.uint64)
    while True:
        touched, within = ground.test(_corners(cells))
        inside = np.concatenate((inside, cells[within]))
        border = cells[touched & ~within]
        enough = len(inside) + len(border) >= target_cells // 2
        # Without a border there is nothing to cut: the whole world is 122 cells.
        if enough or not len(border) or resolution == 15:
            return Cover(resolution, np.sort(inside), np.sort(border))
        resolution += 1
        cells, inside = children(border), children(inside)


def cell_ranges(cells: Cells) -> list[tuple[int, int]]:
    """Ranges, ends included, of stored cells that hold every place of the given cells of covers.

    Finer cells than the stored become the stored one they are in and its neighbours: a place may be
    in a fine cell, and in another stored cell than that one's ancestor.
    """
    fine = resolutions(cells) > STORED_RESOLUTION
    stored = {h3.cell_to_parent(cell, STORED_RESOLUTION) for cell in cells[fine].tolist()}
    around = [h3.grid_disk(cell, 1) for cell in stored]
    return ranges_at(STORED_RESOLUTION, np.concatenate([cells[~fine], *around]).astype(np.uint64))


class _Corners(NamedTuple):
    """The corners of cells, one row each; the last repeated where others have more."""

    lon: Floats
    lat: Floats
    regular: bool  # all have six


class _Ground(Protocol):
    """A shape as cells are tested against it."""

    def test(self, corners: _Corners) -> tuple[Bools, Bools]:
        """Of each cell: whether it may touch the ground; whether it is surely inside."""


class _Circle:
    """In the plane that touches the Earth at the circle's centre."""

    def __init__(self, shape: Shape) -> None:
        lon, lat = shape.geometry.coords[0]
        self.radius_m = shape.radius_m
        self.centre = np.array(ecef(np.array(lon), np.array(lat)))
        phi, lam = np.radians(lat), np.radians(lon)
        east = [-np.sin(lam), np.cos(lam), 0.0]
        north = [-np.sin(phi) * np.cos(lam), -np.sin(phi) * np.sin(lam), np.cos(phi)]
        self.axes = np.array([east, north]).T

    def test(self, corners: _Corners) -> tuple[Bools, Bools]:
        places = np.stack(ecef(corners.lon, corners.lat), axis=-1) - self.centre
        places = _enlarged(places)
        chord_m = np.sqrt((places**2).sum(axis=-1))
        plane = places @ self.axes
        # Turned into the plane, a corner keeps its distance.
        plane *= (chord_m / np.maximum(np.sqrt((plane**2).sum(axis=-1)), 1e-9))[..., None]
        nearest_m = _distance_from_origin(plane)
        touched = nearest_m * (1.0 - _CHORD_SLACK) <= self.radius_m
        return touched, chord_m.max(axis=1) * (1.0 + _CHORD_SLACK) <= self.radius_m


class _Area:
    """In lon, lat, as polygons."""

    def __init__(self, shape: Shape) -> None:
        inner = outer = shape.geometry
        if shape.kind is Kind.CORRIDOR:
            inner, outer = between(shape.geometry, shape.radius_m)
        west, _, east, _ = outer.bounds
        if east - west > 180.0:  # cells on its far side may have to be met a turn further
            inner, outer = _everywhere(inner), _everywhere(outer)
        self.middle = (west + east) / 2.0
        self.inner, self.outer = inner, outer
        shapely.prepare(outer)
        shapely.prepare(inner)

    def test(self, corners: _Corners) -> tuple[Bools, Bools]:
        outlines = self._outlines(corners)
        touched = shapely.intersects(self.outer, outlines)
        within = np.zeros(len(outlines), bool)
        within[touched] = shapely.contains_properly(self.inner, outlines[touched])
        return touched, within

    def _outlines(self, corners: _Corners) -> NDArray[np.object_]:
        lat = corners.lat
        lon = corners.lon - 360.0 * np.round((corners.lon - corners.lon[:, :1]) / 360.0)
        lon -= 360.0 * np.round((lon.mean(axis=1, keepdims=True) - self.middle) / 360.0)
        places = _enlarged(np.stack((lon, lat), axis=-1))
        radius = np.radians(np.ptp(lat, axis=1))
        boxed = radius * np.tan(np.radians(np.abs(lat).max(axis=1))) > _CURVED
        for row in np.flatnonzero(boxed).tolist():
            places[row] = _box(corners.lon[row], lat[row], self.middle)
        outlines = np.asarray(shapely.polygons(places), object)
        return outlines if corners.regular else np.asarray(shapely.convex_hull(outlines), object)


def _first(shape: Shape) -> Cells:
    """Cells of one resolution that surely hold the shape."""
    lon, lat, reach_m = _extent(shape)
    fitting = [r for r in range(16) if reach_m >= _RADIUS_EDGES * _EDGES_M[r]]
    resolution = fitting[0] if fitting else 15
    edges = reach_m / _EDGES_M[resolution]
    # From any place in the middle cell to the outside of `steps` rings are 0.75 * (1.5 * steps -
    # 0.5) average edges or more, wherever on Earth (3.87 for 4), less a sixth for descendants.
    steps = ceil(((edges + 0.2) / 0.75 + 0.5) / 1.5)
    if resolution == 0:
        return np.array(sorted(h3.get_res0_cells()), np.uint64)
    middle = h3.latlng_to_cell(lat, lon, resolution)
    return np.asarray(h3.grid_disk(middle, steps), np.uint64)


def _extent(shape: Shape) -> tuple[float, float, float]:
    """A place, and how far from it the shape reaches at most."""
    if shape.kind is Kind.CIRCLE:
        lon, lat = shape.geometry.coords[0]
        return lon, lat, shape.radius_m
    west, south, east, north = bounds(shape)
    lon, lat = (west + east) / 2.0, (south + north) / 2.0
    nearest = 0.0 if south < 0.0 < north else min(abs(south), abs(north))
    east_m, north_m = 111_400.0 * cos(radians(nearest)), 111_700.0
    # Along the meridian and then along a parallel.
    reach_m = east_m * (east - west) / 2.0 + north_m * (north - south) / 2.0
    if reach_m < 100_000.0:  # small enough for a plane
        away = (shapely.get_coordinates(shape.geometry) - (lon, lat)) * (east_m, north_m)
        flat_m = 1.01 * float(np.hypot(away[:, 0], away[:, 1]).max()) + 1.01 * shape.radius_m
        reach_m = min(reach_m, flat_m)
    return lon, lat, reach_m


def _corners(cells: Cells) -> _Corners:
    rows = list(map(h3.cell_to_boundary, cells.tolist()))
    counts = set(map(len, rows))
    most = max(counts)
    if counts != {most}:
        rows = [row + row[-1:] * (most - len(row)) for row in rows]
    flat = chain.from_iterable(chain.from_iterable(rows))
    table = np.fromiter(flat, np.float64, 2 * most * len(rows)).reshape(-1, most, 2)
    return _Corners(table[..., 1], table[..., 0], counts == {6})


def _enlarged(places: Floats) -> Floats:
    middle = places.mean(axis=1, keepdims=True)
    result: Floats = middle + _ENLARGED * (places - middle)
    return result


def _distance_from_origin(corners: Floats) -> Floats:
    """Of convex polygons, a row of corners each, as (x, y); 0 where the origin is inside."""
    edge = np.roll(corners, -1, axis=1) - corners
    length_2 = np.maximum((edge**2).sum(axis=-1), 1e-12)
    share = np.clip(-(corners * edge).sum(axis=-1) / length_2, 0.0, 1.0)
    nearest_2 = ((corners + share[..., None] * edge) ** 2).sum(axis=-1).min(axis=1)
    side = corners[..., 0] * edge[..., 1] - corners[..., 1] * edge[..., 0]
    holds = (side >= 0.0).all(axis=1) | (side <= 0.0).all(axis=1)
    return np.where(holds, 0.0, np.sqrt(nearest_2))


def _box(lon: Floats, lat: Floats, middle: float) -> Floats:
    """A box in lon, lat that holds the cap around a cell, its corners repeated to as many."""
    phi, lam = np.radians(lat), np.radians(lon)
    places = np.array([np.cos(phi) * np.cos(lam), np.cos(phi) * np.sin(lam), np.sin(phi)]).T
    centre = places.mean(axis=0)
    centre /= np.sqrt((centre**2).sum())
    cap = _ENLARGED * float(np.arccos(np.clip(places @ centre, -1.0, 1.0)).max())
    mid_lat = float(np.arcsin(centre[2]))
    sine = np.sin(cap) / max(np.cos(mid_lat), 1e-12)
    wide = 180.0 if abs(mid_lat) + cap >= np.pi / 2 else float(np.degrees(np.arcsin(sine)))
    mid_lon = float(np.degrees(np.arctan2(centre[1], centre[0])))
    mid_lon = middle if wide == 180.0 else mid_lon + 360.0 * round((middle - mid_lon) / 360.0)
    south, north = np.clip(np.degrees([mid_lat - cap, mid_lat + cap]), -90.0, 90.0)
    west, east = mid_lon - wide, mid_lon + wide
    ring = [[west, south], [east, south], [east, north], [west, north]]
    return np.array(ring + ring[-1:] * (len(lon) - 4))


def _everywhere(geometry: BaseGeometry) -> BaseGeometry:
    return shapely.union_all([translate(geometry, turn) for turn in (-360.0, 0.0, 360.0)])
