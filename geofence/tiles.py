"""Tiles: cells of a grid and what is known of the shapes in them, compiled for lookup.

A plain grid in lon, lat: the H3 cell of a place alone costs 0.34 us, this whole lookup 0.05 us.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from geofence.columns import spread, starts_of
from geofence.geodesy import Floats
from geofence.grid import FAN, Grid
from geofence.outlines import DOUBT, Rows

Ints = NDArray[np.int64]
Small = NDArray[np.int32]

# What is known of a shape in a tile. Polygons on the border have rows, see `outlines`.
INSIDE, EVEN, ODD, CIRCLE, CORRIDOR = range(5)
# An entry is a slot and, in its lowest bits, that.
KIND_BITS = 3
KIND = (1 << KIND_BITS) - 1


class Found(NamedTuple):
    """Pairs of points and shapes, in no order: known, and to be decided by the shape itself."""

    point: Ints
    slot: Ints
    open_point: Ints
    open_slot: Ints


class Tiles:
    """Compiled lookup; immutable, and safe to share between threads.

    Nodes are the root grid's cells, with a ring of empty ones around, and blocks of FAN by FAN
    cells of those that were cut again. Node n has the entries `first[n] ..< first[n + 1]` of `code`
    and the block of nodes from `block[n]`, if that is not negative. Entry e has the rows
    `row_first[e] ..< row_first[e + 1]`.
    """

    __slots__ = (
        "_at", "_sums", "block", "code", "deep", "first", "grid", "row_first", "rows", "wraps",
    )  # fmt: skip

    def __init__(
        self,
        grid: Grid,
        *,
        first: Small,
        block: Small,
        code: Small,
        row_first: Small,
        rows: Rows,
        wraps: bool,
    ) -> None:
        self.grid = grid
        self.first, self.block = first, block
        self.code, self.row_first, self.rows = code, row_first, rows
        # Whether a shape may be found twice, or lies on the antimeridian.
        self.wraps = wraps
        self.deep = bool((block >= 0).any())
        self._sums: Small | None = None
        # Plain Python numbers out of the same memory, for single points.
        self._at = tuple(map(memoryview, (first, block, code, row_first, rows.ravel())))

    @property
    def nbytes(self) -> int:
        """Bytes held."""
        columns = (self.first, self.block, self.code, self.row_first, self.rows)
        sums = 0 if self._sums is None else self._sums.nbytes
        return sums + sum(column.nbytes for column in columns)

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
        first = self.first[node]
        hot = np.flatnonzero(self.first[node + 1] - first)
        levels = [(hot, node[hot], u[hot], v[hot])]
        if self.deep:
            point = np.arange(len(lon))
            while True:
                block = self.block[node]
                down = np.flatnonzero(block >= 0)
                if not len(down):
                    break
                point, u, v = point[down], u[down] * FAN, v[down] * FAN
                # Rounding may have made 1.0 of a place just west of the next cell.
                column = np.minimum(u.astype(np.int64), FAN - 1)
                row = np.minimum(v.astype(np.int64), FAN - 1)
                node = block[down] + row * FAN + column
                u, v = u - column, v - row
                levels.append((point, node, u, v))
        if len(levels) > 1:
            point, node, u, v = map(np.concatenate, zip(*levels, strict=True))
        else:
            point, node, u, v = levels[0]
        return self._meet(point, node, u, v)

    def _meet(self, point: Ints, node: Ints, u: Floats, v: Floats) -> Found:
        """Go through the entries of each (point, node) with the place (u, v) in the node."""
        first = self.first[node]
        at, entry = spread(first, self.first[node + 1] - first)
        point, code = point[at], self.code[entry]
        slot, kind = code >> KIND_BITS, code & KIND
        keep = kind == INSIDE
        open_ = np.flatnonzero(kind >= CIRCLE)
        border = np.flatnonzero(~keep & (kind < CIRCLE))
        if len(border):
            where = at[border]
            odd, doubt = self._cast(entry[border], u[where], v[where])
            keep[border] = odd ^ (kind[border] == ODD)
            if len(doubt):
                keep[border[doubt]] = False
                open_ = np.concatenate([open_, border[doubt]])
        return Found(point[keep], slot[keep], point[open_], slot[open_])

    def _cast(self, entry: Ints, x: Floats, y: Floats) -> tuple[NDArray[np.bool_], Ints]:
        """Whether the ray to the east crosses an odd number of rows; where that is in doubt."""
        first = self.row_first[entry]
        of, row = spread(first, self.row_first[entry + 1] - first)
        rows = self.rows.take(row, axis=0)
        x, y = x.astype(np.float32)[of], y.astype(np.float32)[of]
        side = rows[:, 2] * x + rows[:, 3] * y + rows[:, 4]
        crossed = (rows[:, 0] > y) != (rows[:, 1] > y)
        crossed &= side > 0
        odd = np.bitwise_xor.reduceat(crossed, starts_of(of))
        near = np.flatnonzero(np.abs(side) <= DOUBT)
        return odd, np.unique(of[near]) if len(near) else near

    def occupied(self, lon0: Floats, lat0: Floats, lon1: Floats, lat1: Floats) -> NDArray[np.bool_]:
        """Whether any cell of the root grid is, in the box between two places.

        Over the antimeridian the answer is yes.
        """
        if self._sums is None:
            self._sums = self._summed()
        grid = self.grid
        west, east = np.minimum(lon0, lon1), np.maximum(lon0, lon1)
        south, north = np.minimum(lat0, lat1), np.maximum(lat0, lat1)
        # Half a millionth of a cell more: what rounding could misplace.
        column0 = self._line(west, grid.lon0, grid.per_lon, grid.columns, -5e-7)
        column1 = self._line(east, grid.lon0, grid.per_lon, grid.columns, 1 + 5e-7)
        row0 = self._line(south, grid.lat0, grid.per_lat, grid.rows, -5e-7)
        row1 = self._line(north, grid.lat0, grid.per_lat, grid.rows, 1 + 5e-7)
        sums, width = self._sums, grid.columns + 1
        row0 *= width
        row1 *= width
        inner = sums[row1 + column1] - sums[row0 + column1]
        inner -= sums[row1 + column0] - sums[row0 + column0]
        result: NDArray[np.bool_] = (inner > 0) | (east - west > 180.0)
        return result

    @staticmethod
    def _line(place: Floats, origin: float, per: float, cells: int, more: float) -> Ints:
        return np.minimum(np.maximum((place - origin) * per + more, 0.0), cells).astype(np.int64)

    def _summed(self) -> Small:
        """Occupied cells of the root grid to the south-west of each of its crosspoints."""
        columns, rows = self.grid.columns, self.grid.rows
        root = (columns + 2) * (rows + 2)
        some = (self.first[1 : root + 1] > self.first[:root]) | (self.block[:root] >= 0)
        sums = np.zeros((rows + 1, columns + 1), np.int32)
        inner = some.reshape(rows + 2, columns + 2)[1:-1, 1:-1]
        sums[1:, 1:] = inner.cumsum(axis=0, dtype=np.int32).cumsum(axis=1, dtype=np.int32)
        return sums.ravel()

    def find_one(self, lon: float, lat: float) -> tuple[list[int], list[int]]:
        """Look one point up: slots it is in, and slots to be decided by the shape itself."""
        firsts, blocks, codes, row_firsts, rows = self._at
        grid = self.grid
        u, v = (lon - grid.lon0) * grid.per_lon, (lat - grid.lat0) * grid.per_lat
        found: list[int] = []
        open_: list[int] = []
        if not (0 <= u < grid.columns and 0 <= v < grid.rows):
            return found, open_
        column, row = int(u), int(v)
        node = (row + 1) * (grid.columns + 2) + column + 1
        while True:
            u, v = u - column, v - row
            low, high = v - DOUBT, v + DOUBT
            first = firsts[node]
            for entry, code in enumerate(codes[first : firsts[node + 1]].tolist(), first):
                kind = code & KIND
                if kind == INSIDE:
                    found.append(code >> KIND_BITS)
                    continue
                if kind >= CIRCLE:
                    open_.append(code >> KIND_BITS)
                    continue
                odd = kind == ODD
                for i in range(5 * row_firsts[entry], 5 * row_firsts[entry + 1], 5):
                    y0, y1 = rows[i], rows[i + 1]
                    # Most rows are above or below: 0.1 us each.
                    if y0 < low:
                        if y1 < low:
                            continue
                    elif y0 > high and y1 > high:
                        continue
                    side = rows[i + 2] * u + rows[i + 3] * v + rows[i + 4]
                    if side > DOUBT:
                        if (y0 > v) != (y1 > v):
                            odd = not odd
                    elif side >= -DOUBT:
                        open_.append(code >> KIND_BITS)
                        odd = False
                        break
                if odd:
                    found.append(code >> KIND_BITS)
            block = blocks[node]
            if block < 0:
                return found, open_
            u, v = u * FAN, v * FAN
            column, row = min(int(u), FAN - 1), min(int(v), FAN - 1)
            node = block + row * FAN + column
