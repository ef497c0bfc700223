"""GeoJSON: a FeatureCollection, a Feature, or a bare geometry."""

from collections.abc import Iterator

import msgspec

from geofence.faults import ShapeError
from geofence.formats.draft import Draft, FormatError, draft

_GEOMETRIES = {
    "Polygon",
    "MultiPolygon",
    "Point",
    "LineString",
    "MultiLineString",
    "GeometryCollection",
    "Circle",
    "Corridor",
    "Cells",
}


def read(data: bytes, *, name: str) -> Iterator[Draft]:
    """A draft for each feature, in the file's order.

    Raises:
        FormatError: it is no GeoJSON, or has coordinates that are not lon, lat.
    """
    document = json_of(data, name)
    _refuse_projected(document, name)
    kind, features = document.get("type"), document.get("features")
    if kind == "FeatureCollection" and isinstance(features, list):
        return (_feature(f, f"features[{i}]") for i, f in enumerate(features))
    if kind == "Feature":
        return iter([_feature(document, name)])
    if kind in _GEOMETRIES:
        return iter([draft(document, {}, where=name)])
    raise FormatError(f"{name} is JSON, but {kind!r} is no type of GeoJSON with an area")


def json_of(data: bytes, name: str) -> dict[str, object]:
    """A file's JSON object.

    Raises:
        FormatError: it holds none.
    """
    try:
        document = msgspec.json.decode(data.removeprefix(b"\xef\xbb\xbf"))
    except (msgspec.DecodeError, UnicodeDecodeError) as exc:
        raise FormatError(f"{name} is not whole JSON: {exc}") from None
    except RecursionError:
        raise FormatError(f"{name} is nested too deeply") from None
    if not isinstance(document, dict):
        raise FormatError(f"{name} is JSON, but no object")
    return document


def _feature(feature: object, where: str) -> Draft:
    if not isinstance(feature, dict) or feature.get("type") != "Feature":
        return Draft(None, where, where, error=ShapeError("not a Feature", where))
    properties = feature.get("properties")
    return draft(
        feature.get("geometry"),
        properties if isinstance(properties, dict) else {},
        id_=feature.get("id"),
        where=where,
    )


def _refuse_projected(document: dict[str, object], name: str) -> None:
    """The GeoJSON of 2008 could be in any reference system, and old files still say so."""
    crs = document.get("crs")
    properties = crs.get("properties") if isinstance(crs, dict) else None
    system = properties.get("name") if isinstance(properties, dict) else None
    if isinstance(system, str) and not system.upper().endswith(("CRS84", ":4326")):
        raise FormatError(f"{name} is in {system}; give it in WGS 84 (EPSG:4326), lon, lat")
