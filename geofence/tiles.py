"""Tiles: cells of a grid and what is known of the shapes in them, compiled for lookup.

A plain grid in lon, lat: the H3 cell of a place alone costs 0.34 us, this whole lookup 0.1 us.
"""

from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from geofence.columns import spread, starts_of
from geofence.geodesy import Floats
from geofence.grid import FAN, Grid
from geofence.outlines import DOUBT, Rows

Ints = NDArray[np.int64]
Small = NDArray[np.int32]

# What is on the border in a tile. Polygons have rows, see `outlines`.
EVEN, ODD, CIRCLE, CORRIDOR = range(4)
KIND_BITS = 2
KIND = (1 << KIND_BITS) - 1


class Found(NamedTuple):
    """Pairs of points and shapes, in no order: known, and to be decided by the shape itself."""

    point: Ints
    slot: Ints
    open_point: Ints
    open_slot: Ints


@dataclass(frozen=True, eq=False)
class Tiles:
    """Compiled lookup; immutable, and safe to share between threads.

    Nodes are the root grid's cells, with a ring of empty ones around, and blocks of FAN by FAN
    cells of those that were cut again: the block of node n begins at `block[n]`, if that is not
    negative. Node n has the entries `first[n] ..< first[n + 1]`, which ascend: ~b for border b,
    then the slots of shapes it is wholly inside. Border b is a slot and in its lowest bits its
    kind, and has `row_count[b]` rows from `row_first[b]`.
    """

    grid: Grid
    first: Small
    block: Small
    entry: Small
    border: Small
    row_first: Small
    row_count: Small
    rows: Rows
    wraps: bool  # a shape may be found twice, or lies on the antimeridian
    _deep: bool = field(init=False)
    _sums: Small = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_deep", bool((self.block >= 0).any()))
        object.__setattr__(self, "_sums", self._summed())

    @property
    def nbytes(self) -> int:
        """Bytes held."""
        return sum(
            column.nbytes for column in vars(self).values() if isinstance(column, np.ndarray)
        )

    def find(self, lon: Floats, lat: Floats) -> Found:
        """Look many points up."""
        grid = self.grid
        u = (lon - (grid.lon0 - 1 / grid.per_lon)) * grid.per_lon
        v = (lat - (grid.lat0 - 1 / grid.per_lat)) * grid.per_lat
        # Beside the grid, the ring is hit.
        u = np.minimum(np.maximum(u, 0.0), grid.columns + 1.5)
        v = np.minimum(np.maximum(v, 0.0), grid.rows + 1.5)
        column, row = u.astype(np.int64), v.astype(np.int64)
        node = row * (grid.columns + 2) + column
        u -= column
        v -= row
        hot = np.flatnonzero(self.first[node + 1] - self.first[node])
        levels = [(hot, node[hot], u[hot], v[hot])]
        point = np.arange(len(lon) if self._deep else 0)
        while len(point):
            block = self.block[node]
            down = np.flatnonzero(block >= 0)
            point, u, v = point[down], u[down] * FAN, v[down] * FAN
            # Rounding may have made 1.0 of a place just west of the next cell.
            column = np.minimum(u.astype(np.int64), FAN - 1)
            row = np.minimum(v.astype(np.int64), FAN - 1)
            node = block[down] + row * FAN + column
            u, v = u - column, v - row
            levels.append((point, node, u, v))
        if len(levels) == 1:
            return self._meet(*levels[0])
        return self._meet(*map(np.concatenate, zip(*levels, strict=True)))

    def _meet(self, point: Ints, node: Ints, u: Floats, v: Floats) -> Found:
        """Go through the entries of each (point, node) with the place (u, v) in the node."""
        first = self.first[node].astype(np.int64)
        at, entry = spread(first, self.first[node + 1] - first)
        point, slot = point[at], self.entry[entry].astype(np.int64)
        known = slot >= 0
        near = np.flatnonzero(~known)
        border = ~slot[near]
        code = self.border[border]
        slot[near] = code >> KIND_BITS
        kind = code & KIND
        open_ = near[kind >= CIRCLE]
        if len(open_) < len(near):
            outlined = np.flatnonzero(kind <= ODD)
            near, where = near[outlined], at[near[outlined]]
            odd, doubt = self._cast(border[outlined], u[where], v[where])
            known[near] = odd ^ (kind[outlined] == ODD)
            if len(doubt):
                known[near[doubt]] = False
                open_ = np.concatenate([open_, near[doubt]])
        return Found(point[known], slot[known], point[open_], slot[open_])

    def _cast(self, border: Ints, x: Floats, y: Floats) -> tuple[NDArray[np.bool_], Ints]:
        """Whether the ray to the east crosses an odd number of rows; where that is in doubt."""
        of, row = spread(self.row_first[border], self.row_count[border])
        # A row in one piece: a third of the time that five columns take.
        rows = self.rows.take(row, axis=0)
        px, py = x.astype(np.float32)[of], y.astype(np.float32)[of]
        side = rows[:, 2] * px + rows[:, 3] * py + rows[:, 4]
        crossed = (rows[:, 0] > py) != (rows[:, 1] > py)
        crossed &= side > 0
        odd = np.bitwise_xor.reduceat(crossed, starts_of(of))
        near = np.flatnonzero(np.abs(side) <= DOUBT)
        return odd, np.unique(of[near]) if len(near) else near

    def occupied(self, lon0: Floats, lat0: Floats, lon1: Floats, lat1: Floats) -> NDArray[np.bool_]:
        """Whether any cell of the root grid is, in the box between two places.

        Over the antimeridian the answer is yes.
        """
        grid = self.grid
        west, east = np.minimum(lon0, lon1), np.maximum(lon0, lon1)
        south, north = np.minimum(lat0, lat1), np.maximum(lat0, lat1)
        # Half a millionth of a cell more: what rounding could misplace.
        column0 = _line(west, grid.lon0, grid.per_lon, grid.columns, -5e-7)
        column1 = _line(east, grid.lon0, grid.per_lon, grid.columns, 1 + 5e-7)
        row0 = _line(south, grid.lat0, grid.per_lat, grid.rows, -5e-7)
        row1 = _line(north, grid.lat0, grid.per_lat, grid.rows, 1 + 5e-7)
        sums, width = self._sums, grid.columns + 1
        row0 *= width
        row1 *= width
        inner = sums[row1 + column1] - sums[row0 + column1]
        inner -= sums[row1 + column0] - sums[row0 + column0]
        result: NDArray[np.bool_] = (inner > 0) | (east - west > 180.0)
        return result

    def _summed(self) -> Small:
        """Occupied cells of the root grid to the south-west of each of its crosspoints."""
        columns, rows = self.grid.columns, self.grid.rows
        root = (columns + 2) * (rows + 2)
        some = (self.first[1 : root + 1] > self.first[:root]) | (self.block[:root] >= 0)
        sums = np.zeros((rows + 1, columns + 1), np.int32)
        inner = some.reshape(rows + 2, columns + 2)[1:-1, 1:-1]
        sums[1:, 1:] = inner.cumsum(axis=0, dtype=np.int32).cumsum(axis=1, dtype=np.int32)
        return sums.ravel()


def _line(place: Floats, origin: float, per: float, cells: int, more: float) -> Ints:
    return np.minimum(np.maximum((place - origin) * per + more, 0.0), cells).astype(np.int64)
