"""Polygons from rings: unwrapped, closed over poles, glued at the antimeridian, mended."""

import re
from collections.abc import Sequence

import numpy as np
import shapely
from shapely import MultiPolygon, Polygon
from shapely.affinity import translate
from shapely.geometry.base import BaseGeometry

from geofence.faults import NoAreaError, ShapeError, at
from geofence.rings import MAX_VERTICES, Run, ring

# A mended shape may differ this much in area from what its rings enclose: loops where a line was
# digitised over itself are far smaller, a bow-tie (corners in the wrong order) far larger.
_AREA_CHANGE = 0.01
_WORLD = shapely.box(-180.0, -90.0, 180.0, 90.0)
_TURNED = "rings turned, outer counterclockwise"
_PLACE = re.compile(r"\[(\S+) (\S+?)\]")


def polygon(coordinates: object, where: str, notes: list[str]) -> BaseGeometry:
    """The valid Polygon or MultiPolygon that the coordinates of a GeoJSON Polygon mean.

    Raises:
        ShapeError: they mean none, or more than one.
    """
    rings = _rings(coordinates, where, notes)
    vertices = sum(len(run.lon) for run in rings)
    if vertices > MAX_VERTICES:
        raise ShapeError(f"{vertices:,} vertices, at most {MAX_VERTICES:,}", where)
    if any(run.turns for run in rings):
        return _polar(rings, where, notes)
    outer, *holes = _outer_first(rings, where, notes)
    middle = _middle(outer)
    holes = [hole.shifted(360.0 * round((middle - _middle(hole)) / 360.0)) for hole in holes]
    return westernmost(_mended([outer, *holes], where, notes))


def multipolygon(coordinates: object, where: str, notes: list[str]) -> BaseGeometry:
    """The valid Polygon or MultiPolygon that the coordinates of a GeoJSON MultiPolygon mean.

    Raises:
        ShapeError: they mean none, or more than one.
    """
    if not isinstance(coordinates, list | tuple) or not coordinates:
        raise ShapeError("no polygons" if coordinates == [] else "not a list of polygons", where)
    found: list[str] = []
    parts = []
    for i, part in enumerate(coordinates):
        try:
            parts.append(polygon(part, at(where, i), found))
        except NoAreaError as exc:
            if len(coordinates) == 1:
                raise
            found.append(f"{exc.field}: left out, it encloses no area")
    if not parts:
        raise NoAreaError("encloses no area", where)
    if any(note.endswith(_TURNED) for note in found):  # once, where there may be hundreds
        notes.append(f"{where}: {_TURNED}")
    notes += [note for note in found if not note.endswith(_TURNED)]
    if sum(map(shapely.get_num_coordinates, parts)) > MAX_VERTICES:
        raise ShapeError(f"more than {MAX_VERTICES:,} vertices", where)
    return glued(parts, where, notes)


def westernmost(geometry: BaseGeometry) -> BaseGeometry:
    """The geometry moved by whole turns so that its westernmost longitude is in [-180, 180)."""
    west, _, east, _ = geometry.bounds
    turns = -((west + 180.0) // 360.0)
    # One that spans the Earth stays in its window though 180 is its eastern edge.
    return translate(geometry, 360.0 * turns) if turns and east > west else geometry


def gathered(parts: Sequence[BaseGeometry]) -> list[BaseGeometry]:
    """Parts of one thing side by side: all east of the widest gap between them."""
    bounds = [part.bounds for part in parts]
    order = sorted(range(len(parts)), key=lambda i: bounds[i][0])
    widest, first, reach = -1.0, 0, max(b[2] for b in bounds) - 360.0
    for rank, i in enumerate(order):
        if bounds[i][0] - reach > widest:
            widest, first = bounds[i][0] - reach, rank
        reach = max(reach, bounds[i][2])
    if widest < 1e-9:  # together they go round the Earth
        return [windowed(part) if part.area else part for part in parts]
    behind = set(order[:first])
    return [translate(p, 360.0) if i in behind else p for i, p in enumerate(parts)]


def windowed(geometry: BaseGeometry) -> BaseGeometry:
    """A polygon's ground as it lies between -180 and 180."""
    west, _, east, _ = geometry.bounds
    if west >= -180.0 and east <= 180.0:
        return geometry
    turns = range(-int((east + 180.0) // 360.0), int((180.0 - west) // 360.0) + 1)
    pieces = [shapely.intersection(translate(geometry, 360.0 * k), _WORLD) for k in turns]
    return areal(shapely.union_all(pieces))


def areal(geometry: BaseGeometry) -> BaseGeometry:
    """Only the polygons of a geometry: one, many, or an empty one."""
    parts = [p for p in shapely.get_parts([geometry], return_index=False) if p.area > 0.0]
    flat = [q for p in parts for q in shapely.get_parts(p) if isinstance(q, Polygon)]
    return flat[0] if len(flat) == 1 else MultiPolygon(flat)


def glued(parts: Sequence[BaseGeometry], where: str, notes: list[str]) -> BaseGeometry:
    """Polygons as one shape; those cut apart at the antimeridian, or overlapping, are joined."""
    if len(parts) == 1:
        return parts[0]
    west = min(part.bounds[0] for part in parts)
    placed = gathered(parts)
    polygons = [q for part in placed for q in shapely.get_parts(part)]
    result: BaseGeometry = MultiPolygon(polygons)
    if not result.is_valid:
        result = areal(shapely.union_all(polygons))
        apart = sum(part.area for part in polygons)
        cut = min(part.bounds[0] for part in placed) != west
        word = "that overlap" if result.area < apart * (1.0 - 1e-9) else "that share a border"
        notes.append(f"{where}: polygons {'cut at the antimeridian' if cut else word} joined")
    return westernmost(result)


def _rings(coordinates: object, where: str, notes: list[str]) -> list[Run]:
    if not isinstance(coordinates, list | tuple):
        raise ShapeError("not a list of rings", where)
    if not coordinates:
        raise ShapeError("no rings", where)
    rings = [ring(coordinates[0], at(where, 0), notes)]
    for i, part in enumerate(coordinates[1:], start=1):
        try:
            rings.append(ring(part, at(where, i), notes))
        except NoAreaError as exc:
            notes.append(f"{exc.field}: left out, it encloses no area")
    for run in rings:
        if float(np.ptp(run.lon)) > 360.0 and not run.turns:
            raise ShapeError("spans more than 360 degrees of longitude", run.where)
    return rings


def _outer_first(rings: list[Run], where: str, notes: list[str]) -> list[Run]:
    areas = [run.signed_area for run in rings]
    if any((area > 0.0) != (i == 0) for i, area in enumerate(areas)):
        notes.append(f"{where}: {_TURNED}")
    largest = max(range(len(rings)), key=lambda i: abs(areas[i]))
    if largest and Polygon(rings[largest].coordinates).covers(Polygon(rings[0].coordinates)):
        notes.append(f"{where}: ring {largest} holds the others, so it is the outer one")
        rings = [rings[largest], *rings[:largest], *rings[largest + 1 :]]
    return rings


def _mended(rings: Sequence[Run], where: str, notes: list[str]) -> BaseGeometry:
    drawn = Polygon(rings[0].coordinates, [run.coordinates for run in rings[1:]])
    if drawn.is_valid:
        return shapely.orient_polygons(drawn)
    enclosed = abs(rings[0].signed_area) - sum(abs(run.signed_area) for run in rings[1:])
    field, fault = _fault(rings, str(shapely.is_valid_reason(drawn)))
    mended = areal(shapely.make_valid(drawn, method="structure", keep_collapsed=False))
    if mended.is_empty:
        raise NoAreaError("encloses no area", where)
    if abs(mended.area - enclosed) > _AREA_CHANGE * abs(enclosed):
        raise ShapeError(fault, field or where)
    notes.append(f"{field or where}: {fault}: mended")
    return shapely.orient_polygons(mended)


def _fault(rings: Sequence[Run], reason: str) -> tuple[str, str]:
    """The field that GEOS' reason speaks of, and its words with the place in degrees."""
    found = _PLACE.search(reason)
    if found is None:
        return "", reason.lower()
    lon, lat = float(found[1]), float(found[2])
    point = shapely.Point(lon, lat)
    best = (np.inf, "")
    for run in rings:
        edges = shapely.linestrings(np.stack((run.coordinates[:-1], run.coordinates[1:]), axis=1))
        distances = np.asarray(shapely.distance(edges, point))
        nearest = int(distances.argmin())
        best = min(best, (float(distances[nearest]), at(run.where, int(run.vertex[nearest]))))
    words = reason[: found.start()].lower()
    return best[1], f"{words} at lon {(lon + 180.0) % 360.0 - 180.0:.7g}, lat {lat:.7g}"


def _polar(rings: Sequence[Run], where: str, notes: list[str]) -> BaseGeometry:
    """Rings of which some go round a pole; the result lies between -180 and 180."""
    grounds = [
        windowed(_closed_over_pole(run, notes) if run.turns else _mended([run], run.where, notes))
        for run in rings
    ]
    grounds.sort(key=lambda ground: -ground.area)
    result = areal(shapely.difference(grounds[0], shapely.union_all(grounds[1:])))
    if result.is_empty:
        raise NoAreaError("encloses no area", where)
    return shapely.orient_polygons(result)


def _closed_over_pole(run: Run, notes: list[str]) -> BaseGeometry:
    if abs(run.turns) > 1:
        raise ShapeError("goes round the Earth more than once", run.where)
    if run.lat.min() < 0.0 < run.lat.max():
        raise ShapeError("goes round the Earth and over the equator: which pole?", run.where)
    pole = 90.0 if run.lat.max() > 0.0 else -90.0
    notes.append(f"{run.where}: closed over the {'north' if pole > 0 else 'south'} pole")
    # Cut open where it is nearest to the pole: the meridian from there meets no other edge.
    start = int(np.argmin(np.abs(pole - run.lat[:-1])))
    turn = float(run.lon[-1] - run.lon[0])
    lon = np.concatenate((run.lon[start:-1], run.lon[: start + 1] + turn))
    lat = np.concatenate((run.lat[start:-1], run.lat[: start + 1]))
    lon = np.concatenate((lon, lon[[-1, 0, 0]]))
    lat = np.concatenate((lat, [pole, pole, lat[0]]))
    vertex = np.concatenate((run.vertex[start:-1], run.vertex[: start + 1], [0, 0, 0]))
    return _mended([Run(lon, lat, vertex, run.where)], run.where, notes)


def _middle(run: Run) -> float:
    return float(run.lon.min() + run.lon.max()) / 2.0
