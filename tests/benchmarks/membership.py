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
# The goals of each town: over the bulk STRtree, over the STRtree place by place, over PostGIS.
_SINGLE_WANTED, _POSTGIS_WANTED = 3.0, 15.0
_BUILD_WANTED_S, _EDIT_WANTED_MS = 2.0, 10.0
_EDITS = 200


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
    pieces = list(town.places(batches * _BATCH).reshape(batches, _BATCH, 2))
    ours, theirs = _bulk(index), _bulk_of(tree)
    hits = sum(map(_agree(ours, theirs, town.name), pieces)) / (batches * _BATCH)
    # In turns, so that a busy moment of the machine hurts both.
    spent = {"ours": [], "theirs": [], "one": [], "their one": []}  # type: dict[str, list[float]]
    for piece in pieces:
        spent["ours"].append(_seconds(ours, piece))
        spent["theirs"].append(_seconds(theirs, piece))
        spent["one"].append(_seconds(_singly(index), piece))
        spent["their one"].append(_seconds(_singly_of(tree), piece[:400]) * _BATCH / 400)
    rate = {name: _BATCH / sorted(s)[len(s) // 2] for name, s in spent.items()}
    edit_ms, late_edit_ms = _edits(index, town.fences)
    result.rows += [
        Row(
            town.name,
            "waymark",
            {
                "points_per_s": rate["ours"],
                "single_per_s": rate["one"],
                "hits": hits,
                "build_s": build_s,
                "edit_ms": edit_ms,
                "edit_200_ms": late_edit_ms,
                "mbyte": index.nbytes / 1e6,
            },
        ),
        Row(
            f"{town.name}: STRtree",
            "peer",
            {
                "points_per_s": rate["theirs"],
                "single_per_s": rate["their one"],
                "build_s": tree_s,
            },
        ),
    ]
    _goals(result, town, rate, late_edit_ms, build_s)
    if server is not None:
        server.load(town.fences)
        some = pieces[:3]
        spent_s = [_seconds(lambda piece: server.members(*piece.T), piece) for piece in some]
        rate_there = _BATCH / sorted(spent_s)[len(spent_s) // 2]
        result.rows.append(
            Row(f"{town.name}: PostGIS", "peer", {"points_per_s": rate_there})
        )
        over = rate["ours"] / rate_there
        result.goals.append(Goal(f"{town.name}, over PostGIS", over, _POSTGIS_WANTED))


def _goals(
    result: Result, town: Town, rate: dict[str, float], edit_ms: float, build_s: float
) -> None:
    bulk, single = rate["ours"] / rate["theirs"], rate["one"] / rate["their one"]
    result.goals.append(Goal(f"{town.name}, over bulk STRtree", bulk, town.wanted))
    result.goals.append(Goal(f"{town.name}, single over STRtree", single, _SINGLE_WANTED))
    if len(town.fences) >= 100_000:
        result.goals += [
            Goal(f"{town.name}, build s", build_s, _BUILD_WANTED_S, at_most=True),
            Goal(f"{town.name}, edit ms", edit_ms, _EDIT_WANTED_MS, at_most=True),
        ]


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


def _agree(
    ours: Callable[[Floats], Any], theirs: Callable[[Floats], Any], name: str
) -> Callable[[Floats], int]:
    def pairs(piece: Floats) -> int:
        found, wanted = ours(piece), theirs(piece)
        order = np.lexsort((wanted[1], wanted[0]))
        same = np.array_equal(found.point, wanted[0][order])
        assert same and np.array_equal(found.zone, wanted[1][order]), f"{name}: not the same"
        return len(found.point)

    return pairs


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
