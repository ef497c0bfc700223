"""One point in `Tiles`: plain Python over the same memory.

A round of numpy calls costs 40 us whatever the number of points; this 0.5 us where nothing is
near and 2 to 4 in a crowd. Hence closures: their variables are found fastest.
"""

from collections.abc import Callable, Sequence

from geofence.grid import FAN
from geofence.outlines import DOUBT
from geofence.tiles import CIRCLE, KIND, KIND_BITS, ODD, Tiles

# Slots a point is in, ascending (twice, perhaps, where tiles wrap); slots to be decided by the
# shape itself.
Answer = tuple[list[int], Sequence[int]]
Finder = Callable[[float, float], Answer]

_NONE: Sequence[int] = ()


def finder_of(tiles: Tiles) -> Finder:
    """What looks a point (lon, lat) up in tiles."""
    grid = tiles.grid
    lon0, lat0, per_lon, per_lat = map(float, grid[:4])
    columns, rows, width = grid.columns, grid.rows, grid.columns + 2
    firsts, blocks, entries = tiles.first.data, tiles.block.data, tiles.entry.data
    descend = _descender(tiles)

    def find(lon: float, lat: float) -> Answer:
        u, v = (lon - lon0) * per_lon, (lat - lat0) * per_lat
        if not (0.0 <= u < columns and 0.0 <= v < rows):
            return [], _NONE
        column, row = int(u), int(v)
        node = (row + 1) * width + column + 1
        met = entries[firsts[node] : firsts[node + 1]].tolist()
        if blocks[node] < 0 and (not met or met[0] >= 0):
            return met, _NONE
        return descend(node, u - column, v - row)

    return find


def _descender(tiles: Tiles) -> Callable[[int, float, float], Answer]:
    """What goes through a node and those cut out of it, to the place (u, v) in it."""
    firsts, blocks, entries = tiles.first.data, tiles.block.data, tiles.entry.data
    borders = tiles.border.data
    cast = _caster(tiles)

    def descend(node: int, u: float, v: float) -> Answer:
        found: list[int] = []
        open_: list[int] = []
        while True:
            for entry in entries[firsts[node] : firsts[node + 1]].tolist():
                if entry >= 0:
                    found.append(entry)
                    continue
                code = borders[~entry]
                odd = None if code & KIND >= CIRCLE else cast(~entry, u, v)
                if odd is None:
                    open_.append(code >> KIND_BITS)
                elif odd != (code & KIND == ODD):
                    found.append(code >> KIND_BITS)
            block = blocks[node]
            if block < 0:
                found.sort()
                return found, open_
            u, v = u * FAN, v * FAN
            column, row = min(int(u), FAN - 1), min(int(v), FAN - 1)
            node = block + row * FAN + column
            u, v = u - column, v - row

    return descend


def _caster(tiles: Tiles) -> Callable[[int, float, float], bool | None]:
    """As `Tiles._cast`; None in doubt."""
    firsts, counts, cells = tiles.row_first.data, tiles.row_count.data, tiles.rows.ravel().data

    def cast(border: int, u: float, v: float) -> bool | None:
        low, high = v - DOUBT, v + DOUBT
        odd = False
        first = 5 * firsts[border]
        for i in range(first, first + 5 * counts[border], 5):
            y0, y1 = cells[i], cells[i + 1]
            # Most rows are above or below: 0.1 us each.
            if y0 < low:
                if y1 < low:
                    continue
            elif y0 > high and y1 > high:
                continue
            side = cells[i + 2] * u + cells[i + 3] * v + cells[i + 4]
            if side > DOUBT:
                if (y0 > v) != (y1 > v):
                    odd = not odd
            elif side >= -DOUBT:
                return None
        return odd

    return cast
