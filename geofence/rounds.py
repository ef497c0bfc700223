"""Circles and corridors cut on a grid: cells wholly within their radius, and cells on the border.

By the triangle inequality: the distance of a cell's middle, more or less half its diagonal. Never
wrong, so a little generous; what decides on the border is the distance of the place itself.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from geofence.columns import offsets, spread
from geofence.geodesy import Floats, chords_m, ecef
from geofence.grid import Grid, Window, windows
from geofence.metric import metres_per_degree

Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

# No degree of latitude, and none of longitude on the equator, is longer.
_DEGREE_MAX_M = 111_700.0
# Nor is a degree of latitude shorter.
_DEGREE_MIN_M = 110_500.0
_RADIUS_MIN_M, _RADIUS_MAX_M = 6_335_000.0, 6_400_000.0


class Rounded(NamedTuple):
    """Cells of tasks: as `Window` cells in order, the task of each and where it is."""

    task: Ints
    column: Ints
    row: Ints
    inside: Bools  # wholly; the others are on the border


def box_around(boxes: Floats, radius_m: Floats) -> Floats:
    """Boxes (west, south, east, north) grown by a radius; all longitudes near a pole."""
    dy = radius_m / _DEGREE_MIN_M
    top = np.maximum(np.abs(boxes[:, 1]), np.abs(boxes[:, 3]))
    # Of a circle's places the easternmost lies nearer to the pole than its centre.
    ratio = np.sin(np.minimum(np.radians(dy), 1.5)) / np.cos(np.radians(np.minimum(top, 89.99)))
    whole = (ratio >= 0.95) | (top + dy >= 89.9)
    dx = np.where(whole, 360.0, 1.02 * np.degrees(np.arcsin(np.minimum(ratio, 0.95))))
    dx = np.where(radius_m > 0, dx, 0.0)
    return np.stack([boxes[:, 0] - dx, boxes[:, 1] - dy, boxes[:, 2] + dx, boxes[:, 3] + dy], 1)


def cells_of(window: Window) -> tuple[Ints, Ints, Ints]:
    """The task, column and row of every cell of windows, in order."""
    task, flat = spread(np.zeros_like(window.rows), window.sizes())
    row, column = np.divmod(flat, window.columns[task])
    return task, window.column[task] + column, window.row[task] + row


class _Cells:
    """Middles of cells, and a bound of how far their corners are from them."""

    def __init__(self, grid: Grid, column: Ints, row: Ints) -> None:
        self.lon = grid.lon0 + (column.astype(np.float64) + 0.5) / grid.per_lon
        self.lat = grid.lat0 + (row.astype(np.float64) + 0.5) / grid.per_lat
        half_lon, half_lat = 0.51 / grid.per_lon, 0.51 / grid.per_lat
        near = np.radians(np.maximum(np.abs(self.lat) - half_lat, 0.0))
        east_m = half_lon * (_DEGREE_MAX_M * np.cos(near) + 1.0)
        north_m = half_lat * _DEGREE_MAX_M
        # Along a parallel, then a meridian, is rigorous; the diagonal will do where it is small.
        small = max(half_lon, half_lat) < 0.5
        self.reach_m = 1.02 * np.hypot(east_m, north_m) if small else east_m + north_m
        self.half_lat = half_lat


def cut_circles(grid: Grid, window: Window, lon: Floats, lat: Floats, radius_m: Floats) -> Rounded:
    """Cut each task's circle in its window's cells."""
    task, column, row = cells_of(window)
    cells = _Cells(grid, column, row)
    x, y, z = ecef(lon, lat)
    chord = chords_m(*ecef(cells.lon, cells.lat), x[task], y[task], z[task])
    half = np.minimum(radius_m / 2, 1e7)
    least = 2 * _RADIUS_MIN_M * np.sin(np.minimum(half / _RADIUS_MIN_M, np.pi / 2))
    inside = chord + cells.reach_m < (least * (1 - 1e-6) - 0.01)[task]
    most = 2 * _RADIUS_MAX_M * np.sin(np.minimum(half / _RADIUS_MAX_M, np.pi / 2))
    touched = chord - cells.reach_m <= (most * (1 + 1e-6) + 0.01)[task]
    return Rounded(task[touched], column[touched], row[touched], inside[touched])


def cut_lines(
    grid: Grid, window: Window, radius_m: Floats, pieces: Floats, piece_task: Ints
) -> Rounded:
    """Cut each task's corridor: the ground within a radius of its pieces, in its window's cells."""
    pieces, piece_task = _shorter(grid, pieces, piece_task, radius_m)
    boxes = np.concatenate(
        [np.minimum(pieces[:, :2], pieces[:, 2:]), np.maximum(pieces[:, :2], pieces[:, 2:])], axis=1
    )
    around = _within(windows(grid, box_around(boxes, radius_m[piece_task])), window, piece_task)
    piece, column, row = cells_of(around)
    task = piece_task[piece]
    cells = _Cells(grid, column, row)
    away_m, slack = _away_m(cells, pieces[piece])
    reach_m = cells.reach_m + (radius_m[task] + 2 * cells.reach_m) * slack + 0.01
    touched = np.flatnonzero(away_m <= radius_m[task] + reach_m)
    inside = away_m[touched] + reach_m[touched] < radius_m[task[touched]]
    task, column, row = task[touched], column[touched], row[touched]
    first = offsets(window.sizes())
    flat = first[task] + (row - window.row[task]) * window.columns[task]
    flat += column - window.column[task]
    # A cell wholly within reach of one piece is inside, whatever the others say of it.
    order = np.lexsort((~inside, flat))
    fresh = np.ones(len(order), np.bool_)
    fresh[1:] = np.diff(flat[order]) != 0
    one = order[fresh]
    return Rounded(task[one], column[one], row[one], inside[one])


def _shorter(grid: Grid, pieces: Floats, piece_task: Ints, radius_m: Floats) -> tuple[Floats, Ints]:
    """Long pieces cut, so that the box of a diagonal one is not mostly empty."""
    longest = np.maximum(2 / min(grid.per_lon, grid.per_lat), radius_m[piece_task] / _DEGREE_MAX_M)
    length = np.abs(pieces[:, 2:] - pieces[:, :2]).max(axis=1)
    parts = np.maximum(np.ceil(length / longest), 1)
    parts = parts.astype(np.int64)
    piece, part = spread(np.zeros_like(parts), parts)
    a, b = pieces[piece, :2], pieces[piece, 2:]
    low, high = (part / parts[piece])[:, None], ((part + 1) / parts[piece])[:, None]
    return np.concatenate([a + (b - a) * low, a + (b - a) * high], axis=1), piece_task[piece]


def _within(inner: Window, outer: Window, outer_of: Ints) -> Window:
    """The common cells of windows."""
    column = np.maximum(inner.column, outer.column[outer_of])
    row = np.maximum(inner.row, outer.row[outer_of])
    east = np.minimum(inner.column + inner.columns, (outer.column + outer.columns)[outer_of])
    north = np.minimum(inner.row + inner.rows, (outer.row + outer.rows)[outer_of])
    return Window(column, row, np.maximum(east - column, 0), np.maximum(north - row, 0))


def _away_m(cells: _Cells, pieces: Floats) -> tuple[Floats, Floats]:
    """From middles of cells to pieces in the local plane there, and by how much it varies."""
    kx, ky = metres_per_degree(cells.lat)
    ax, ay = (pieces[:, 0] - cells.lon) * kx, (pieces[:, 1] - cells.lat) * ky
    ex, ey = (pieces[:, 2] - pieces[:, 0]) * kx, (pieces[:, 3] - pieces[:, 1]) * ky
    along = -(ax * ex + ay * ey) / np.maximum(ex * ex + ey * ey, 1e-300)
    along = np.clip(along, 0.0, 1.0)
    nearer = np.cos(np.radians(np.minimum(np.abs(cells.lat) + cells.half_lat, 89.999)))
    wider = np.cos(np.radians(np.maximum(np.abs(cells.lat) - cells.half_lat, 0.0)))
    return np.hypot(ax + along * ex, ay + along * ey), 1.01 * wider / nearer - 1.0
