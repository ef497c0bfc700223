"""One point in `Tiles`: plain Python over the same memory.

A round of numpy calls costs 40 us whatever the number of points; this 0.5 us where nothing is
near and 2 to 4 in a crowd. Hence the closure, whose variables are found fastest.
"""

from collections.abc import Callable, Sequence

from geofence.grid import FAN
from geofence.outlines import DOUBT
from geofence.tiles import CIRCLE, KIND, KIND_BITS, ODD, Tiles

# Slots a point is in, ascending (twice, perhaps, where tiles wrap); slots to be decided by the
# shape itself.
Finder = Callable[[float, float], tuple[list[int], Sequence[int]]]

_NONE: Sequence[int] = ()


def finder_of(tiles: Tiles) -> Finder:
    """What looks a point (lon, lat) up in tiles."""
    grid = tiles.grid
    lon0, lat0, per_lon, per_lat = map(float, grid[:4])
    columns, rows, width = grid.columns, grid.rows, grid.columns + 2
    firsts, blocks, entries = map(memoryview, (tiles.first, tiles.block, tiles.entry))
    borders, row_firsts, row_counts = map(
        memoryview, (tiles.border, tiles.row_first, tiles.row_count)
    )
    cells = memoryview(tiles.rows.ravel())

    def find(lon: float, lat: float) -> tuple[list[int], Sequence[int]]:
        u, v = (lon - lon0) * per_lon, (lat - lat0) * per_lat
        if not (0.0 <= u < columns and 0.0 <= v < rows):
            return [], _NONE
        column, row = int(u), int(v)
        node = (row + 1) * width + column + 1
        found = entries[firsts[node] : firsts[node + 1]].tolist()
        block = blocks[node]
        if block < 0 and (not found or found[0] >= 0):
            return found, _NONE
        open_: list[int] = []
        met = found
        found = []
        while True:
            u, v = u - column, v - row
            for entry in met:
                if entry >= 0:
                    found.append(entry)
                    continue
                code = borders[~entry]
                if code & KIND >= CIRCLE:
                    open_.append(code >> KIND_BITS)
                    continue
                odd = cast(~entry, u, v)
                if odd is None:
                    open_.append(code >> KIND_BITS)
                elif odd != (code & KIND == ODD):
                    found.append(code >> KIND_BITS)
            if block < 0:
                found.sort()
                return found, open_
            u, v = u * FAN, v * FAN
            column, row = min(int(u), FAN - 1), min(int(v), FAN - 1)
            node = block + row * FAN + column
            met = entries[firsts[node] : firsts[node + 1]].tolist()
            block = blocks[node]

    def cast(border: int, u: float, v: float) -> bool | None:
        """As `Tiles._cast`; None in doubt."""
        low, high = v - DOUBT, v + DOUBT
        odd = False
        first = 5 * row_firsts[border]
        for i in range(first, first + 5 * row_counts[border], 5):
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

    return find
