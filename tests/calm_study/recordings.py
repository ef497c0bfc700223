"""The recordings as tracks in metres, and zones whose sides are the streets they drive on."""

import csv
import gzip
import io
import json
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import shapely
from numpy.typing import NDArray
from shapely.geometry import LineString, Polygon
from shapely.geometry.base import BaseGeometry

from tests.calm_study.pbf import read_extract

Floats = NDArray[np.float64]
Place = tuple[float, float]

# Ways a car drives on; footpaths would cut the city into crumbs.
_DRIVEN = {
    *("motorway", "trunk", "primary", "secondary", "tertiary", "unclassified", "residential"),
    *("living_street", "motorway_link", "trunk_link", "primary_link", "secondary_link"),
    "tertiary_link",
}
_PORTO = (-8.61, 41.15)
_M_PER_DEG_LAT = 111_195.0
# Smaller polygons are traffic islands.
_BLOCK_MIN_M2 = 400.0


@dataclass(frozen=True, slots=True)
class Track:
    """One trip: seconds, metres east and north; times ascend."""

    t: Floats
    x: Floats
    y: Floats


@dataclass(frozen=True, slots=True)
class Town:
    """A recording and the blocks between the streets of its map."""

    tracks: list[Track]
    blocks: Sequence[BaseGeometry]

    def zones(self, side_m: float = 500.0) -> Sequence[BaseGeometry]:
        """The blocks of each square of a grid as one zone: it ends where its streets run."""
        cells: dict[tuple[int, int], list[BaseGeometry]] = {}
        for block in self.blocks:
            inside = block.representative_point()
            cell = (int(inside.x // side_m), int(inside.y // side_m))
            cells.setdefault(cell, []).append(block)
        return [shapely.union_all(blocks) for _, blocks in sorted(cells.items())]

    def depots(self, n: int, seed: int, radius_m: float = 100.0) -> Sequence[BaseGeometry]:
        """Circles whose centres are up to 60 m from a random place of a random track."""
        rng = np.random.default_rng(seed)
        places = []
        for _ in range(n):
            track = self.tracks[rng.integers(len(self.tracks))]
            row, way = rng.integers(len(track.t)), rng.uniform(0.0, 2.0 * np.pi)
            off_m = rng.uniform(0.0, 60.0)
            x, y = track.x[row] + off_m * np.cos(way), track.y[row] + off_m * np.sin(way)
            places.append(shapely.Point(x, y).buffer(radius_m, quad_segs=32))
        return places


def chicago(shared: Path) -> Town:
    """666 trips of a campus shuttle, a fix every 3 s."""
    folder = shared / "data" / "chicago_shuttle"
    tracks = []
    with zipfile.ZipFile(folder / "tracks_chicago_train.zip") as file:
        names = sorted(name for name in file.namelist() if "trip_" in name and "MACOSX" not in name)
        for name in names:
            rows = np.loadtxt(io.StringIO(file.read(name).decode()), ndmin=2)
            tracks.append(_track(rows[:, 2], rows[:, 0], rows[:, 1]))
    with zipfile.ZipFile(folder / "maps_chicago.zip") as file:
        places = {
            int(row[0]): (float(row[1]), float(row[2]))
            for row in _rows(file, "chicago_vertices_osm.txt")
        }
        edges = [
            (places[int(row[1])], places[int(row[2])])
            for row in _rows(file, "chicago_edges_osm.txt")
        ]
    return Town(tracks, _blocks(edges))


def porto(shared: Path) -> Town:
    """1,999 taxi trips, a fix every 15 s; those parts that are on the map of the centre."""
    folder = shared / "data" / "porto_taxi"
    extract = read_extract(folder / "porto.osm.pbf")
    lonlat = np.array(list(extract.nodes.values()))
    places: dict[int, Place] = {
        node: (x, y) for node, (x, y) in zip(extract.nodes, _plane(lonlat).tolist(), strict=True)
    }
    edges = [
        (places[a], places[b])
        for way in extract.ways
        if way.tags.get("highway") in _DRIVEN
        for a, b in pairwise(way.nodes)
        if a in places and b in places
    ]
    tracks = []
    with gzip.open(folder / "train.csv.gz", "rt") as lines:
        for row in csv.DictReader(lines):
            line = json.loads(row["POLYLINE"])
            if len(line) > 1:
                xy = _plane(np.array(line))
                t = np.array([float(row["TIMESTAMP"]) + 15.0 * i for i in range(len(line))])
                tracks.append(_track(t, xy[:, 0], xy[:, 1]))
    return Town(tracks, _blocks(edges))


def _rows(file: zipfile.ZipFile, name: str) -> list[list[str]]:
    return [line.split(",") for line in file.read(name).decode().splitlines()]


def _track(t: Floats, x: Floats, y: Floats) -> Track:
    order = np.argsort(t, kind="stable")
    t, x, y = t[order], x[order], y[order]
    fresh = np.r_[True, np.diff(t) > 0]
    return Track(t[fresh], x[fresh], y[fresh])


def _plane(lonlat: Floats) -> Floats:
    east_m = _M_PER_DEG_LAT * np.cos(np.radians(_PORTO[1]))
    result: Floats = (lonlat - np.array(_PORTO)) * np.array([east_m, _M_PER_DEG_LAT])
    return result


def _blocks(edges: Sequence[tuple[Place, Place]]) -> list[Polygon]:
    """What streets enclose."""
    streets = shapely.union_all([LineString(edge) for edge in edges])
    found = shapely.polygonize([streets])
    return [
        block for block in found.geoms if isinstance(block, Polygon) and block.area >= _BLOCK_MIN_M2
    ]
