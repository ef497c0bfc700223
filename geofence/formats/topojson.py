"""TopoJSON: geometries made of shared arcs, plain or quantised."""

from collections.abc import Iterator, Sequence

import numpy as np

from geofence.faults import ShapeError
from geofence.formats.draft import Draft, FormatError, draft
from geofence.formats.geojson import json_of
from geofence.geodesy import Floats

_Place = list[float]


def read(data: bytes, *, name: str) -> Iterator[Draft]:
    """A draft for each geometry of each object, in the file's order.

    Raises:
        FormatError: it is no TopoJSON.
    """
    document = json_of(data, name)
    objects = document.get("objects")
    if document.get("type") != "Topology" or not isinstance(objects, dict):
        raise FormatError(f"{name} is JSON, but no Topology with objects")
    topology = _Topology(document, name)
    return (
        topology.draft(geometry, where)
        for key, top in objects.items()
        for geometry, where in _flat(top, f"objects.{key}")
    )


def _flat(geometry: object, where: str) -> Iterator[tuple[object, str]]:
    members = geometry.get("geometries") if isinstance(geometry, dict) else None
    if not isinstance(members, list):
        yield geometry, where
        return
    for i, member in enumerate(members):
        yield member, f"{where}.geometries[{i}]"


class _Topology:
    """The arcs of a file, in degrees."""

    def __init__(self, document: dict[str, object], name: str) -> None:
        transform = document.get("transform")
        given = document.get("arcs")
        if not isinstance(given, list):
            raise FormatError(f"{name} is a Topology without arcs")
        try:
            self._quantised = isinstance(transform, dict)
            if isinstance(transform, dict):
                self._scale = np.array(transform["scale"], np.float64).reshape(2)
                self._shift = np.array(transform["translate"], np.float64).reshape(2)
            self._arcs = [self._arc(arc) for arc in given]
        except (KeyError, TypeError, ValueError):
            raise FormatError(f"{name} has arcs or a transform that cannot be read") from None

    def draft(self, geometry: object, where: str) -> Draft:
        """The fence that one geometry means."""
        members = geometry if isinstance(geometry, dict) else {}
        properties = members.get("properties")
        known = properties if isinstance(properties, dict) else {}
        shape: object = None
        error: ShapeError | None = None
        try:
            shape = self._geometry(members)
        except (IndexError, TypeError, ValueError, RecursionError):
            error = ShapeError("its arcs or coordinates cannot be read", where)
        return draft(shape, known, id_=members.get("id"), where=where, error=error)

    def _geometry(self, members: dict[str, object]) -> dict[str, object] | None:
        kind, arcs = members.get("type"), members.get("arcs")
        if kind is None:
            return None
        match kind, arcs:
            case "Point", _:
                places = self._degrees(np.array([members.get("coordinates")], np.float64)[:, :2])
                return {"type": kind, "coordinates": places[0].tolist()}
            case "GeometryCollection", _:
                parts = members.get("geometries")
                nested = [self._geometry(part) for part in parts] if isinstance(parts, list) else []
                return {"type": kind, "geometries": nested}
            case "LineString", list():
                return {"type": kind, "coordinates": self._line(arcs)}
            case "Polygon" | "MultiLineString", list():
                return {"type": kind, "coordinates": [self._line(line) for line in arcs]}
            case "MultiPolygon", list():
                rings = [[self._line(line) for line in part] for part in arcs]
                return {"type": kind, "coordinates": rings}
        raise ValueError(kind)

    def _line(self, arcs: Sequence[int]) -> list[_Place]:
        """Arcs end to end; a number below 0 is the arc of its complement, backwards."""
        places: list[_Place] = []
        for number in arcs:
            arc = self._arcs[number] if number >= 0 else self._arcs[~number][::-1]
            places += arc[1:] if places else arc
        return places

    def _arc(self, arc: object) -> list[_Place]:
        table = np.array(arc, np.float64)[:, :2]
        if self._quantised:
            table = self._degrees(np.cumsum(table, axis=0))
        places: list[_Place] = table.tolist()
        return places

    def _degrees(self, table: Floats) -> Floats:
        return table * self._scale + self._shift if self._quantised else table
