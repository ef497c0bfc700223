"""The grid tiles are cut on: a root grid over all shapes, and cells cut in 8 by 8 again."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from geofence.geodesy import Floats

Ints = NDArray[np.int64]

FAN = 8
# Cells of the root grid: four bytes each, and a few more for what lies in them.
_CELLS_PER_SHAPE = 64
_CELLS_MIN, _CELLS_MAX = 1 << 11, 1 << 21
# Cells all shapes together may cover in it: beyond, a coarser root that is cut again is better.
_COVER_PER_SHAPE = 100
_COVER_MIN = 1 << 20

# Cells are not cut smaller, in degrees (2 cm): degrees as 64-bit floats are exact to 3e-14, and
# places in a cell must be to some 1e-7 of it.
_SIDE_MIN = 2e-7


class Grid(NamedTuple):
    """Cells of one level: column `floor((lon - lon0) * per_lon)`, row likewise."""

    lon0: float
    lat0: float
    per_lon: float
    per_lat: float
    columns: int
    rows: int

    def finer(self) -> "Grid | None":
        """Every cell cut in FAN by FAN; None where that is too fine."""
        if max(self.per_lon, self.per_lat) * FAN > 1 / _SIDE_MIN:
            return None
        return Grid(
            self.lon0, self.lat0, self.per_lon * FAN, self.per_lat * FAN,
            self.columns * FAN, self.rows * FAN,
        )  # fmt: skip


class Window(NamedTuple):
    """A block of cells of one level, of each task."""

    column: Ints
    row: Ints
    columns: Ints
    rows: Ints

    def sizes(self) -> Ints:
        """Cells in each."""
        return self.columns * self.rows


def root_grid(boxes: Floats) -> Grid:
    """A grid over boxes (west, south, east, north) that suits their sizes and their number."""
    if not len(boxes):
        return Grid(0.0, 0.0, 1.0, 1.0, 1, 1)
    west, south = np.maximum(boxes[:, :2].min(axis=0), (-180.0, -90.0))
    east, north = np.minimum(boxes[:, 2:].max(axis=0), (180.0, 90.0))
    # A little more than what there is: nothing lies on the outermost lines.
    pad = 1e-6 + 1e-4 * max(east - west, north - south)
    width, height = east - west + 2 * pad, north - south + 2 * pad
    square = max(np.cos(np.radians((south + north) / 2)), 0.05)
    cells = float(np.clip(_CELLS_PER_SHAPE * len(boxes), _CELLS_MIN, _CELLS_MAX))
    sizes = boxes[:, 2:] - boxes[:, :2]
    budget = max(_COVER_PER_SHAPE * len(boxes), _COVER_MIN)
    while True:
        side = np.sqrt(width * square * height / cells)
        columns = int(np.clip(width * square / side, 1, width / _SIDE_MIN))
        rows = int(np.clip(height / side, 1, height / _SIDE_MIN))
        covered = (np.minimum(sizes, [width, height]) * [columns / width, rows / height] + 1).prod(
            axis=1
        )
        if covered.sum() <= budget or cells <= 64:
            break
        cells /= 1.25
    return Grid(
        float(west - pad), float(south - pad), columns / width, rows / height, columns, rows
    )


def windows(grid: Grid, boxes: Floats) -> Window:
    """The cells boxes touch, or nearly do."""
    reach = 0.01
    low = (boxes[:, :2] - [grid.lon0, grid.lat0]) * [grid.per_lon, grid.per_lat] - reach
    high = (boxes[:, 2:] - [grid.lon0, grid.lat0]) * [grid.per_lon, grid.per_lat] + reach
    edge = np.array([grid.columns - 1, grid.rows - 1])
    first = np.clip(np.floor(low), 0, edge).astype(np.int64)
    last = np.clip(np.floor(high), -1, edge).astype(np.int64)
    # What lies beside the grid covers nothing.
    count = np.maximum(last - first + 1, 0)
    count[(low > edge + 1).any(axis=1) | (high < 0).any(axis=1)] = 0
    return Window(first[:, 0], first[:, 1], count[:, 0], count[:, 1])
