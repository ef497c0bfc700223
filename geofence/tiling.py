"""Shapes compiled to tiles, level by level: crowded border cells are cut again."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import shapely
from numpy.typing import NDArray

from geofence.borders import Segments
from geofence.columns import offsets, spread
from geofence.geodesy import Floats
from geofence.grid import FAN, Grid, Window, root_grid, windows
from geofence.outlines import Cut, Edges, cut
from geofence.rounds import Rounded, box_around, cells_of, cut_circles, cut_lines
from geofence.shapes import Kind, Shape
from geofence.tiles import CIRCLE, CORRIDOR, EVEN, KIND_BITS, ODD, Tiles

Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]
Small = NDArray[np.int32]
Whole = NDArray[np.signedinteger]
# From (task, column, row) to nodes.
Node = Callable[[Ints, Ints, Ints], Ints]

# A cell with more rows than this is cut: below, a cut costs more memory than it saves time.
_CROWDED = 8
# What a circle or corridor on the border counts for, in rows. A corridor is dear to ask, so its
# cells are cut until they are not much wider than it.
_CIRCLE_ROWS, _CORRIDOR_ROWS, _WIDE_CORRIDOR_ROWS = 2.0, 16.0, 4.0
_DEGREE_M = 111_000.0
# Rows are multiplied by about this when all cells are cut.
_GROWTH = 11
# How many rows cuts may make. A few shapes get few, for borders that coincide, as those of the
# versions of one fence do, cannot be parted by any cut: 25 alike took 2.5 s at 2 million rows.
_ROWS_MIN, _ROWS_PER_SEGMENT = 50_000, 20
_ROWS_MANY, _ROWS_PER_SEGMENT_OF_MANY = 2_000_000, 4
# Segments cut at a time: the columns of one step then fit in the processor's cache.
_CHUNK = 50_000
# An entry while it is sorted: its node, whether it is inside, and its slot or border.
_SLOT_BITS = 32
_INSIDE_BIT = 1 << 31


@dataclass(slots=True)
class _Items:
    """Shapes, and once more those that reach over the antimeridian, moved to its other side."""

    slot: Ints
    shift: Floats  # degrees, added to the longitudes of the shape
    kind: NDArray[np.int8]  # EVEN for polygons
    box: Floats


@dataclass(slots=True)
class _Border:
    """Border cells of one level, one per (node, item).

    Small numbers: 100,000 fences have some millions of them, and fresh memory is a third of the
    time a build takes.
    """

    node: Small
    item: Small
    column: Small
    row: Small
    kind: NDArray[np.int8]
    row_first: Small  # among all rows there are
    row_count: Small
    edge_count: Small
    edge: Small


def tiles_of(shapes: Sequence[Shape], segments: Segments) -> Tiles:
    """Compile shapes; a slot is a position among them."""
    return _Tiling(shapes, segments).compile()


class _Tiling:
    def __init__(self, shapes: Sequence[Shape], segments: Segments) -> None:
        self._shapes = shapes
        self._radius_m = np.array([shape.radius_m for shape in shapes])
        self._items = _items(shapes, self._radius_m)
        self._grid = root_grid(self._items.box)
        self._segments = segments
        self._segment_first = offsets(np.bincount(segments.of, minlength=len(shapes)))
        none = np.empty(0, np.int32)
        # Of borders: node, code, first row, number of rows; of what is inside: node, slot.
        self._kept = [(none, none, none, none)]
        self._inside = [(none, none)]
        self._rows = [np.empty((0, 5), np.float32)]
        self._row_end = 0
        self._nodes = (self._grid.columns + 2) * (self._grid.rows + 2)
        self._blocks: list[tuple[Whole, Ints]] = []
        n = len(segments.of)
        most = max(_ROWS_MANY, _ROWS_PER_SEGMENT_OF_MANY * n)
        self._rows_left = min(max(_ROWS_MIN, _ROWS_PER_SEGMENT * n), most)
        points = np.array([shape.geometry for shape in shapes], object)
        self._points = np.zeros((len(shapes), 2))
        round_ = np.array([shape.kind is Kind.CIRCLE for shape in shapes], bool)
        self._points[round_] = shapely.get_coordinates(points[round_])

    def compile(self) -> Tiles:
        """Cut the root, then what is crowded."""
        border = _joined(list(self._cut_root()))
        grid = self._grid
        while (finer := grid.finer()) is not None:
            crowded = self._crowded(grid, border)
            if not crowded.any():
                break
            self._keep(border, ~crowded)
            grid = finer
            border = _joined(list(self._cut_again(grid, border, crowded)))
        self._keep(border, np.ones(len(border.node), np.bool_))
        return self._pack()

    def _cut_root(self) -> Iterator[_Border]:
        items = self._items
        window = windows(self._grid, items.box)
        for kind in (EVEN, CIRCLE, CORRIDOR):
            chosen = np.flatnonzero((items.kind == kind) & (window.sizes() > 0))
            if not len(chosen):
                continue
            weight = self._segments_of(chosen)[1] + window.sizes()[chosen] // 16
            group = np.cumsum(weight) // _CHUNK
            for part in np.split(chosen, np.flatnonzero(np.diff(group)) + 1):
                mine = Window(*(column[part] for column in window))

                def node(task: Ints, column: Ints, row: Ints) -> Ints:
                    del task
                    return (row + 1) * (self._grid.columns + 2) + column + 1

                if kind == EVEN:
                    first, count = self._segments_of(part)
                    owner, edge = spread(first, count)
                    edges = self._edges(self._grid, part, owner, edge)
                    yield self._outlined(cut(edges, mine), part, mine, node)
                else:
                    yield self._rounded(self._grid, kind, part, mine, node)

    def _cut_again(self, grid: Grid, border: _Border, crowded: Bools) -> Iterator[_Border]:
        """Cut the chosen border cells; `grid` is the finer one."""
        nodes, rank = np.unique(border.node[crowded], return_inverse=True)
        blocks = self._nodes + FAN * FAN * np.arange(len(nodes))
        self._blocks.append((nodes, blocks))
        self._nodes += FAN * FAN * len(nodes)
        block = np.zeros(len(crowded), np.int64)
        block[crowded] = blocks[rank]
        edge_first = offsets(border.edge_count)
        for kind in (EVEN, CIRCLE, CORRIDOR):
            same = border.kind <= ODD if kind == EVEN else border.kind == kind
            chosen = np.flatnonzero(crowded & same)
            if not len(chosen):
                continue
            group = np.cumsum(border.edge_count[chosen] + FAN) // _CHUNK
            for part in np.split(chosen, np.flatnonzero(np.diff(group)) + 1):
                side = np.full(len(part), FAN)
                west, south = (
                    FAN * border.column[part].astype(int),
                    FAN * border.row[part].astype(int),
                )
                mine = Window(west, south, side, side)
                base = block[part] - mine.row * FAN - mine.column

                def node(task: Ints, column: Ints, row: Ints, base: Ints = base) -> Ints:
                    return base[task] + row * FAN + column

                item = border.item[part]
                if kind == EVEN:
                    owner, at = spread(edge_first[part], border.edge_count[part])
                    edges = self._edges(grid, item, owner, border.edge[at])
                    odd = border.kind[part] == ODD
                    yield self._outlined(cut(edges, mine, odd), item, mine, node)
                else:
                    yield self._rounded(grid, kind, item, mine, node)

    def _segments_of(self, item: Whole) -> tuple[Ints, Ints]:
        first = self._segment_first[self._items.slot[item]]
        return first, self._segment_first[self._items.slot[item] + 1] - first

    def _edges(self, grid: Grid, item: Whole, owner: Ints, edge: Whole) -> Edges:
        xy = self._segments.xy[edge]
        west = grid.lon0 - self._items.shift[item][owner]
        ax, bx = (xy[:, 0] - west) * grid.per_lon, (xy[:, 2] - west) * grid.per_lon
        ay, by = (xy[:, 1] - grid.lat0) * grid.per_lat, (xy[:, 3] - grid.lat0) * grid.per_lat
        # A point is no edge.
        real = np.flatnonzero((ax != bx) | (ay != by))
        return Edges(ax[real], ay[real], bx[real], by[real], owner[real], edge[real])

    def _outlined(self, done: Cut, item: Whole, window: Window, node: Node) -> _Border:
        """Keep what is inside; what is on the border is for the caller."""
        first = offsets(window.sizes())
        task, column, row = _places(done.inside, first, window)
        self._keep_inside(node(task, column, row), item[task])
        task, column, row = _places(done.border, first, window)
        kind = np.where(done.odd, ODD, EVEN).astype(np.int8)
        row_first = self._row_end + offsets(done.row_count)
        self._rows.append(done.rows)
        self._row_end = int(row_first[-1])
        return _border(
            node(task, column, row), item[task], column, row, kind,
            row_first[:-1], done.row_count, done.edge_count, done.edge,
        )  # fmt: skip

    def _rounded(self, grid: Grid, kind: int, item: Whole, window: Window, node: Node) -> _Border:
        done = self._cut_round(grid, kind, item, window)
        at = node(done.task, done.column, done.row)
        item = item[done.task]
        self._keep_inside(at[done.inside], item[done.inside])
        on = ~done.inside
        none = np.zeros(int(on.sum()), np.int64)
        kinds = np.full(len(none), kind, np.int8)
        return _border(
            at[on], item[on], done.column[on], done.row[on], kinds, none, none, none, none[:0]
        )

    def _cut_round(self, grid: Grid, kind: int, item: Whole, window: Window) -> Rounded:
        slot, shift = self._items.slot[item], self._items.shift[item]
        if kind == CIRCLE:
            lon, lat = self._points[slot].T
            return cut_circles(grid, window, lon, lat, self._radius_m[slot])
        first, count = self._segments_of(item)
        owner, edge = spread(first, count)
        pieces = self._segments.xy[edge]
        pieces = pieces + np.outer(shift[owner], [1.0, 0.0, 1.0, 0.0])
        return cut_lines(grid, window, self._radius_m[slot], pieces, owner)

    def _crowded(self, grid: Grid, border: _Border) -> Bools:
        """Which border cells to cut: the most crowded, as far as there is room for their rows."""
        if not len(border.node):
            return np.zeros(0, np.bool_)
        weight = border.row_count.astype(np.float64)
        weight[border.kind == CIRCLE] = _CIRCLE_ROWS
        radius_m = self._radius_m[self._items.slot[border.item]]
        wide = radius_m * max(grid.per_lon, grid.per_lat) > _DEGREE_M / 4
        rows = np.where(wide, _WIDE_CORRIDOR_ROWS, _CORRIDOR_ROWS)
        np.copyto(weight, rows, where=border.kind == CORRIDOR)
        lowest = int(border.node.min())
        load = np.bincount(border.node - lowest, weights=weight)
        self._rows_left -= int(weight.sum())
        crowded = np.flatnonzero(load > _CROWDED)
        crowded = crowded[np.argsort(-load[crowded], kind="stable")]
        fits = np.cumsum(load[crowded]) * _GROWTH <= self._rows_left
        chosen = np.zeros(len(load), np.bool_)
        chosen[crowded[fits]] = True
        result: Bools = chosen[border.node - lowest]
        return result

    def _keep(self, border: _Border, chosen: Bools) -> None:
        at = np.flatnonzero(chosen)
        code = (self._items.slot[border.item[at]] << KIND_BITS | border.kind[at]).astype(np.int32)
        self._kept.append((border.node[at], code, border.row_first[at], border.row_count[at]))

    def _keep_inside(self, node: Ints, item: Whole) -> None:
        self._inside.append((node.astype(np.int32), self._items.slot[item].astype(np.int32)))

    def _pack(self) -> Tiles:
        """Everything in order of nodes, and there what is on the border first."""
        node, code, row_first, row_count = map(np.concatenate, zip(*self._kept, strict=True))
        order = np.argsort(node)
        inner, slot = map(np.concatenate, zip(*self._inside, strict=True))
        entries = np.concatenate([node[order], inner], dtype=np.int64) << _SLOT_BITS
        entries[: len(node)] |= np.arange(len(node))
        entries[len(node) :] |= slot
        entries[len(node) :] |= _INSIDE_BIT
        entries.sort()
        at = entries & (_INSIDE_BIT - 1)
        block = np.full(self._nodes, -1, np.int32)
        for nodes, blocks in self._blocks:
            block[nodes] = blocks
        return Tiles(
            grid=self._grid,
            first=offsets(np.bincount(entries >> _SLOT_BITS, minlength=self._nodes)).astype(
                np.int32
            ),
            block=block,
            entry=np.where(entries & _INSIDE_BIT, at, ~at).astype(np.int32),
            border=code[order],
            # Rows stay in the order of shapes: to sort them too took a third of a build.
            row_first=row_first[order],
            row_count=row_count[order],
            rows=np.concatenate(self._rows),
            wraps=bool((self._items.box[:, 0] <= -180).any()),
        )


def _places(flat: Ints, first: Ints, window: Window) -> tuple[Ints, Ints, Ints]:
    """The task, column and row of flat cells."""
    task = np.searchsorted(first, flat, "right") - 1
    row, column = np.divmod(flat - first[task], window.columns[task])
    return task, window.column[task] + column, window.row[task] + row


def _border(  # noqa: PLR0917 -- the columns of one table
    node: Whole,
    item: Whole,
    column: Whole,
    row: Whole,
    kind: NDArray[np.int8],
    row_first: Whole,
    row_count: Whole,
    edge_count: Whole,
    edge: Whole,
) -> _Border:
    def small(values: Whole) -> Small:
        return values.astype(np.int32)

    return _Border(
        small(node), small(item), small(column), small(row), kind,
        small(row_first), small(row_count), small(edge_count), small(edge),
    )  # fmt: skip


def _joined(borders: list[_Border]) -> _Border:
    if not borders:
        none, kinds = np.empty(0, np.int32), np.empty(0, np.int8)
        return _Border(none, none, none, none, kinds, none, none, none, none)
    names = _Border.__slots__
    return _Border(*(np.concatenate([getattr(one, name) for one in borders]) for name in names))


def _items(shapes: Sequence[Shape], radius_m: Floats) -> _Items:
    kinds = {Kind.CIRCLE: CIRCLE, Kind.CORRIDOR: CORRIDOR}
    kind = np.array([kinds.get(shape.kind, EVEN) for shape in shapes], np.int8)
    boxes = shapely.bounds(np.array([shape.geometry for shape in shapes], object))
    box = box_around(boxes.reshape(-1, 4), radius_m)
    east, west = np.flatnonzero(box[:, 2] >= 180), np.flatnonzero(box[:, 0] < -180)
    slot = np.concatenate([np.arange(len(shapes)), east, west])
    shift = np.repeat([0.0, -360.0, 360.0], [len(shapes), len(east), len(west)])
    box = box[slot]
    box[:, [0, 2]] += shift[:, None]
    return _Items(slot, shift, kind[slot], box)


__all__ = ["cells_of", "tiles_of"]
