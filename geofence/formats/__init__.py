"""Files of fences as people have them, each read into drafts; nothing here checks a shape.

`read` takes any of them. A bad feature is a draft with an error, and the others are good without
it; only a file that cannot be read at all raises.
"""

from collections.abc import Iterator
from typing import Protocol

from geofence.formats import geojson, kml, topojson, wkt
from geofence.formats.draft import Draft, FormatError

__all__ = ["FORMATS", "Draft", "FormatError", "detect", "read"]


class _Reader(Protocol):
    def __call__(self, data: bytes, *, name: str) -> Iterator[Draft]: ...


FORMATS: dict[str, _Reader] = {
    "geojson": geojson.read,
    "topojson": topojson.read,
    "kml": kml.read,
    "kmz": kml.read_zipped,
    "wkt": wkt.read,
}
_WKT_SUFFIXES = (".wkt", ".ewkt")


def read(data: bytes, *, name: str, format_name: str | None = None) -> Iterator[Draft]:
    """The fences of a file. `name` is told in messages, and its ending helps to tell the format.

    Raises:
        FormatError: the format is unknown, or the file cannot be read as it.
    """
    chosen = format_name or detect(data, name)
    if chosen not in FORMATS:
        raise FormatError(f"{chosen!r} is none of {', '.join(FORMATS)}")
    return FORMATS[chosen](data, name=name)


def detect(data: bytes, name: str) -> str:
    """The key in `FORMATS` of what a file holds, by its content.

    Raises:
        FormatError: it is none of them.
    """
    start = data[:4096].removeprefix(b"\xef\xbb\xbf").lstrip()
    if not start:
        raise FormatError(f"{name} is empty")
    if start.startswith(b"PK\x03\x04"):
        return "kmz"
    if start.startswith((b"<", b"\xff\xfe", b"\xfe\xff")):
        return "kml"
    if start.startswith(b"{"):
        return "topojson" if geojson.json_of(data, name).get("type") == "Topology" else "geojson"
    if name.lower().endswith(_WKT_SUFFIXES) or wkt.looks_like(start):
        return "wkt"
    raise FormatError(f"{name} is neither GeoJSON, TopoJSON, KML, KMZ nor WKT")
