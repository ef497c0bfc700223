"""Polygons cut on a grid: which cells are wholly inside, and what decides in those on the border.

A cell on the border of a polygon gets *rows*: y0, y1, nx, ny, c in units of the cell. A place
(x, y) of the cell is inside if the number of rows with (y0 > y) != (y1 > y) and
nx x + ny y + c > 0 is odd, or even in an `odd` cell: the ray to the east, as far as just beyond
the cell, where it is known whether that is inside. Rows are exact to about 1e-7 of the cell; so
within `DOUBT` of one of their lines they do not decide.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from geofence.columns import offsets, spread
from geofence.geodesy import Floats
from geofence.grid import FAN, Window

Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]
Rows = NDArray[np.float32]

# Three roundings to 24 bits of numbers up to 1.5, and the place's own; with as much to spare.
DOUBT = 2e-6
# The place whose side of the border is known for a cell: beyond its corner, so that no place of
# the cell is near it. Unequal, or diagonals would pass through it.
_BEYOND_X, _BEYOND_Y = 0.00123, 0.00217
# Lines this near a cell belong to it. More than the above: what is inside beyond the corner of a
# cell without a line is inside in the whole of it.
_REACH = 0.005
_NEVER = -1e30


class Cut(NamedTuple):
    """What tasks (a polygon in a window) become. Flat cells are window cells in order."""

    inside: Ints  # flat cells wholly inside
    border: Ints  # flat cells on the border, ascending
    odd: Bools  # of each of those
    row_count: Ints  # of each of those
    rows: Rows
    edge_count: Ints  # of each of those
    edge: Ints  # which edges they were made of


class Edges(NamedTuple):
    """Straight pieces in units of a grid, and the task of each, ascending."""

    ax: Floats
    ay: Floats
    bx: Floats
    by: Floats
    task: Ints
    id: Ints


def cut(edges: Edges, window: Window, odd: Bools | None = None) -> Cut:
    """Cut each task's polygon in its window's cells.

    Without `odd`, windows hold whole polygons. With it, each window is a border cell cut in FAN by
    FAN, `edges` are that cell's and `odd` says whether it was odd.
    """
    first = offsets(window.sizes())
    parity = _parities(edges, window, first, nested=odd is not None)
    if odd is not None:
        parity ^= np.repeat(odd, window.sizes())
    piece, column, row = _touched(edges, window)
    task = edges.task[piece]
    flat = first[task] + (row - window.row[task]) * window.columns[task]
    flat += column - window.column[task]
    order = np.argsort(flat)
    piece, column, row, flat = piece[order], column[order], row[order], flat[order]
    fresh = np.ones(len(flat), np.bool_)
    fresh[1:] = flat[1:] != flat[:-1]
    cells, cell = flat[fresh], np.cumsum(fresh) - 1
    row_cell, rows = _rows(edges, piece, column, row, cell)
    row_count = np.bincount(row_cell, minlength=len(cells))
    some = row_count > 0
    on_border = np.zeros(len(parity), np.bool_)
    on_border[cells[some]] = True
    inside = np.flatnonzero(parity & ~on_border)
    kept = some[cell]
    edge_count = np.bincount(cell[kept], minlength=len(cells))[some]
    return Cut(
        inside, cells[some], parity[cells[some]], row_count[some], rows,
        edge_count, edges.id[piece[kept]],
    )  # fmt: skip


def _parities(edges: Edges, window: Window, first: Ints, *, nested: bool) -> Bools:
    """Whether the place beyond the corner of each flat cell is inside."""
    task = edges.task
    low, high = np.minimum(edges.ay, edges.by), np.maximum(edges.ay, edges.by)
    top = window.row + window.rows
    from_row = np.maximum(_first_beyond(low, _BEYOND_Y), window.row[task])
    to_row = np.minimum(_first_beyond(high, _BEYOND_Y), top[task])
    piece, row = spread(from_row, np.maximum(to_row - from_row, 0))
    of = task[piece]
    x = _crossing_x(edges, piece, row + (1 + _BEYOND_Y))
    count = _first_beyond(x, _BEYOND_X) - window.column[of]
    columns = window.columns[of]
    at = first[of] + (row - window.row[of]) * columns + np.minimum(count, columns) - 1
    chosen = count > 0
    if nested:
        chosen &= x <= window.column[of] + FAN * (1 + _BEYOND_X)
        at = np.concatenate([at[chosen], _flips_from_above(edges, window, first)])
    else:
        at = at[chosen]
    marks = np.bincount(at, minlength=int(first[-1]) + 1)
    # A crossing flips all cells of its row to its west.
    total = np.cumsum(marks)
    row_cells = np.repeat(window.columns, window.rows)
    ends = np.cumsum(row_cells)
    to_end = np.repeat(total[ends - 1] if len(ends) else ends, row_cells)
    result: Bools = ((to_end - total[:-1] + marks[:-1]) & 1).astype(np.bool_)
    return result


def _flips_from_above(edges: Edges, window: Window, first: Ints) -> Ints:
    """Marks on the last column for crossings of the way down from the corner of the cell cut."""
    east = window.column[edges.task] + FAN * (1 + _BEYOND_X)
    piece = np.flatnonzero((edges.ax > east) != (edges.bx > east))
    task = edges.task[piece]
    y = _crossing_y(edges, piece, east[piece])
    rows = np.clip(_first_beyond(y, _BEYOND_Y) - window.row[task], 0, FAN)
    rows[y > window.row[task] + FAN * (1 + _BEYOND_Y)] = 0
    owner, row = spread(np.zeros_like(rows), rows)
    result: Ints = first[task[owner]] + row * FAN + (FAN - 1)
    return result


def _touched(edges: Edges, window: Window) -> tuple[Ints, Ints, Ints]:
    """Every (edge, column, row) where the edge comes within reach of the cell."""
    task = edges.task
    low, high = np.minimum(edges.ay, edges.by), np.maximum(edges.ay, edges.by)
    from_row, count = _between(low, high, window.row[task], window.rows[task])
    piece, row = spread(from_row, count)
    west = np.minimum(edges.ax, edges.bx)[piece]
    east = np.maximum(edges.ax, edges.bx)[piece]
    # Only the part of the edge in the row's band.
    one = _crossing_x(edges, piece, np.maximum(low[piece], row - _REACH))
    two = _crossing_x(edges, piece, np.minimum(high[piece], row + (1 + _REACH)))
    level = (high - low)[piece] <= 1e-9 * (1 + east - west)
    one, two = np.minimum(one, two), np.maximum(one, two)
    one, two = np.where(level, west, one), np.where(level, east, two)
    of = task[piece]
    from_column, count = _between(one, two, window.column[of], window.columns[of])
    owner, column = spread(from_column, count)
    return piece[owner], column, row[owner]


def _between(low: Floats, high: Floats, first: Ints, count: Ints) -> tuple[Ints, Ints]:
    """First and number of the cells first ..< first + count within reach of [low, high]."""
    start = np.maximum(np.ceil(low - (1 + _REACH)).astype(np.int64), first)
    end = np.minimum(np.floor(high + _REACH).astype(np.int64) + 1, first + count)
    return start, np.maximum(end - start, 0)


def _rows(edges: Edges, piece: Ints, column: Ints, row: Ints, cell: Ints) -> tuple[Ints, Rows]:
    """Rows of (edge, cell) in order of `cell`, and the cell of each."""
    ax, ay = edges.ax[piece] - column, edges.ay[piece] - row
    bx, by = edges.bx[piece] - column, edges.by[piece] - row
    east, north = 1 + _BEYOND_X, 1 + _BEYOND_Y
    a_beyond, b_beyond = ax > east, bx > east
    spans = a_beyond != b_beyond
    y = np.full(len(piece), _NEVER)
    at = np.flatnonzero(spans)
    y[at] = _crossing_y(edges, piece[at], column[at] + east) - row[at]
    rows = np.empty((len(piece), 5), np.float32)
    rows[:, 0] = np.where(a_beyond, y, ay)
    rows[:, 1] = np.where(b_beyond, y, by)
    ex, ey = bx - ax, by - ay
    scale = np.where(ey < 0, -1.0, 1.0) / np.hypot(ex, ey)
    nx, ny = -ey * scale, ex * scale
    rows[:, 2], rows[:, 3], rows[:, 4] = nx, ny, -(nx * ax + ny * ay)
    real = np.flatnonzero(~(a_beyond & b_beyond))
    # The east side of the cell above y is on the other side of the border than below.
    above = y > north
    both = np.flatnonzero(spans & ((ay <= north) != (by <= north)))
    if len(both):
        # Where the corner lies is decided as in `_parities`, or a rounding would be a wrong cell.
        x = _crossing_x(edges, piece[both], row[both] + north)
        falls = (ex[both] > 0) != (ey[both] > 0)
        above[both] = (x > column[both] + east) == falls
    turn = np.flatnonzero(spans & ~above & (y > -_REACH))
    virtual = np.zeros((len(turn), 5), np.float32)
    virtual[:, 0], virtual[:, 1], virtual[:, 4] = y[turn], _NEVER, 1.0
    of = np.concatenate([cell[real], cell[turn]])
    order = np.argsort(of, kind="stable")
    return of[order], np.concatenate([rows[real], virtual])[order]


def _first_beyond(value: Floats, beyond: float) -> Ints:
    """The first line i + 1 + beyond at or east (or north) of the value."""
    result: Ints = np.ceil(value - (1 + beyond)).astype(np.int64)
    return result


def _crossing_x(edges: Edges, piece: Ints, y: NDArray[np.floating]) -> Floats:
    ax, ay = edges.ax[piece], edges.ay[piece]
    bx, by = edges.bx[piece], edges.by[piece]
    x = ax + (y - ay) * ((bx - ax) / np.where(by == ay, 1.0, by - ay))
    result: Floats = np.minimum(np.maximum(x, np.minimum(ax, bx)), np.maximum(ax, bx))
    return result


def _crossing_y(edges: Edges, piece: Ints, x: NDArray[np.floating]) -> Floats:
    ax, ay = edges.ax[piece], edges.ay[piece]
    bx, by = edges.bx[piece], edges.by[piece]
    y = ay + (x - ax) * ((by - ay) / (bx - ax))
    result: Floats = np.minimum(np.maximum(y, np.minimum(ay, by)), np.maximum(ay, by))
    return result
