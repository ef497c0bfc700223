"""Which zones places are in, on one core: batches, single places, builds and edits.

Peers: shapely's STRtree with prepared geometries, in bulk and place by place, and PostGIS. All
begin with lon, lat as numbers and end with pairs, and all must find the same.
"""

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray

from geofence.index import Index
from geofence.shapes import Kind, Shape
from tests.benchmarks.postgis import PostGis, postgis
from tests.benchmarks.result import Goal, Result, Row
from tests.benchmarks.towns import Town, made_towns, real_towns

Floats = NDArray[np.float64]
Objects = NDArray[np.object_]

_BATCH = 2_000
# The goals of every town; that over the bulk STRtree is the town's.
_SINGLE_WANTED, _POSTGIS_WANTED = 3.0, 15.0
_BUILD_WANTED_S, _EDIT_WANTED_MS = 60.0, 10.0
_EDITS = 200
# The tree is asked for this many single places of a batch.
_FEW = 400


def run(*, quick: bool) -> Result:
    """Every town in turn, ours and the peers beside each other."""
    result = Result(
        "membership",
        "places among fences, one core",
        {"batch": _BATCH, "batches": 5 if quick else 20},
    )
    with postgis() as server:
        result.conditions["postgis"] = "measured" if server else "none on this machine"
        for town in [*made_towns(), *real_towns()]:
            _measure(result, town, server, batches=5 if quick else 20)
    return result


def _measure(result: Result, town: Town, server: PostGis | None, batches: int) -> None:
    started_s = time.process_time()
    index = Index.build(dict(enumerate(Shape(Kind.POLYGON, one) for one in town.fences)))
    build_s = time.process_time() - started_s
    started_s = time.process_time()
    tree = shapely.STRtree(town.fences)
    shapely.prepare(town.fences)
    tree_s = time.process_time() - started_s
    pieces = list(town.draw(batches * _BATCH).reshape(batches, _BATCH, 2))
    hits = sum(_agreed(index, tree, town.name, piece) for piece in pieces)
    ours, theirs = _rates(index, tree, pieces)
    edit_ms, late_edit_ms = _edits(index, town.fences)
    more = {
        "hits": hits / (batches * _BATCH),
        "build_s": build_s,
        "edit_ms": edit_ms,
        "edit_200_ms": late_edit_ms,
        "mbyte": index.nbytes / 1e6,
    }
    result.rows.append(Row(town.name, "waymark", ours | more))
    result.rows.append(Row(f"{town.name}: STRtree", "peer", theirs | {"build_s": tree_s}))
    _goals(result, town, ours, theirs)
    if len(town.fences) >= 100_000:
        result.goals += [
            Goal(f"{town.name}, build s", build_s, _BUILD_WANTED_S, at_most=True),
            Goal(f"{town.name}, edit ms", late_edit_ms, _EDIT_WANTED_MS, at_most=True),
        ]
    if server is not None:
        server.load(town.fences)
        spent_s = [_seconds(lambda piece: server.members(*piece.T), piece) for piece in pieces[:3]]
        rate = _BATCH / sorted(spent_s)[1]
        result.rows.append(Row(f"{town.name}: PostGIS", "peer", {"points_per_s": rate}))
        over = ours["points_per_s"] / rate
        result.goals.append(Goal(f"{town.name}, over PostGIS", over, _POSTGIS_WANTED))


def _rates(
    index: Index, tree: shapely.STRtree, pieces: list[Floats]
) -> tuple[dict[str, float], dict[str, float]]:
    """Points a second of ours and of the tree: medians of pieces, measured in turns."""
    cases: list[tuple[Callable[[Floats], object], int]] = [
        (_bulk(index), _BATCH),
        (_bulk_of(tree), _BATCH),
        (_singly(index), _BATCH),
        (_singly_of(tree), _FEW),
    ]
    spent = [[_seconds(work, piece[:n]) / n for work, n in cases] for piece in pieces]
    ours, theirs, one, their_one = (1 / sorted(s)[len(s) // 2] for s in zip(*spent, strict=True))
    return (
        {"points_per_s": ours, "single_per_s": one},
        {"points_per_s": theirs, "single_per_s": their_one},
    )


def _goals(result: Result, town: Town, ours: dict[str, float], theirs: dict[str, float]) -> None:
    bulk = ours["points_per_s"] / theirs["points_per_s"]
    single = ours["single_per_s"] / theirs["single_per_s"]
    result.goals.append(Goal(f"{town.name}, over bulk STRtree", bulk, town.wanted))
    result.goals.append(Goal(f"{town.name}, single over STRtree", single, _SINGLE_WANTED))


def _bulk(index: Index) -> Callable[[Floats], Any]:
    return lambda piece: index.members(piece[:, 0], piece[:, 1])


def _bulk_of(tree: shapely.STRtree) -> Callable[[Floats], Any]:
    return lambda piece: tree.query(shapely.points(piece), predicate="intersects")


def _singly(index: Index) -> Callable[[Floats], object]:
    return lambda piece: [index.at(lon, lat) for lon, lat in piece.tolist()]


def _singly_of(tree: shapely.STRtree) -> Callable[[Floats], object]:
    return lambda piece: [
        tree.query(shapely.Point(lon, lat), predicate="intersects") for lon, lat in piece.tolist()
    ]


def _agreed(index: Index, tree: shapely.STRtree, name: str, piece: Floats) -> int:
    """How many pairs there are, which both found."""
    found, wanted = _bulk(index)(piece), _bulk_of(tree)(piece)
    order = np.lexsort((wanted[1], wanted[0]))
    pairs = np.stack([found.point, found.zone])
    assert np.array_equal(pairs, wanted[:, order]), f"{name}: not the same"
    return len(found.point)


def _edits(index: Index, fences: Objects) -> tuple[float, float]:
    """Milliseconds of one edit, the first and with 200 before it; medians of nine."""
    spent, edited = [], index
    for zone in range(_EDITS):
        moved = shapely.transform(fences[zone], lambda xy: xy + 1e-3)
        started_s = time.process_time()
        edited = edited.replaced({zone: Shape(Kind.POLYGON, moved)})
        spent.append(1e3 * (time.process_time() - started_s))
    return sorted(spent[:9])[4], sorted(spent[-9:])[4]


def _seconds(work: Callable[[Floats], object], piece: Floats) -> float:
    started_s = time.perf_counter()
    work(piece)
    return time.perf_counter() - started_s
