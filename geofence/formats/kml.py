"""KML 2.x: the placemarks of a document, and KMZ, its zipped form."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from io import BytesIO
from xml.parsers import expat
from zipfile import BadZipFile, ZipFile

from geofence.faults import ShapeError
from geofence.formats.draft import Draft, FormatError, draft

# Far above any real document; a zip can claim any size.
_MAX_BYTES = 256 * 1024 * 1024
_GEOMETRIES = {"Polygon", "LineString", "LinearRing", "Point", "MultiGeometry"}


@dataclass(slots=True)
class _Element:
    """One element of XML, its namespace left off: Google's and OGC's documents differ in it."""

    tag: str
    attributes: dict[str, str] = field(default_factory=dict)
    children: "list[_Element]" = field(default_factory=list)
    pieces: list[str] = field(default_factory=list)

    @property
    def text(self) -> str:
        return "".join(self.pieces).strip()

    def child(self, tag: str) -> "_Element | None":
        return next((child for child in self.children if child.tag == tag), None)

    def all(self, tag: str) -> "Iterator[_Element]":
        """Descendants of that name, in the document's order."""
        pending = self.children[::-1]
        while pending:
            element = pending.pop()
            if element.tag == tag:
                yield element
            pending += element.children[::-1]


def read(data: bytes, *, name: str) -> Iterator[Draft]:
    """A draft for each placemark, in the document's order.

    Raises:
        FormatError: it is no XML, or has a document type (which KML never needs).
    """
    root = _parsed(data, name)
    return (_placemark(p, f"Placemark {i}") for i, p in enumerate(root.all("Placemark"), start=1))


def read_zipped(data: bytes, *, name: str) -> Iterator[Draft]:
    """A draft for each placemark of a KMZ's document.

    Raises:
        FormatError: it is no zip with a KML document of a sane size.
    """
    try:
        with ZipFile(BytesIO(data)) as archive:
            found = [part for part in archive.namelist() if part.lower().endswith(".kml")]
            if not found:
                raise FormatError(f"{name} is a zip without a KML document")
            with archive.open("doc.kml" if "doc.kml" in found else found[0]) as member:
                document = member.read(_MAX_BYTES + 1)
    except (BadZipFile, NotImplementedError, RuntimeError, EOFError, OSError) as exc:
        raise FormatError(f"{name} cannot be unzipped: {exc}") from None
    if len(document) > _MAX_BYTES:
        raise FormatError(f"{name} holds a document of more than {_MAX_BYTES:,} bytes")
    return read(document, name=name)


def _parsed(data: bytes, name: str) -> _Element:
    root = _Element("")
    path = [root]

    def refuse(*_: object) -> None:
        raise FormatError(f"{name} has a document type, which KML never needs")

    def start(tag: str, attributes: dict[str, str]) -> None:
        element = _Element(tag.rpartition(" ")[2], attributes)
        path[-1].children.append(element)
        path.append(element)

    def end(_: str) -> None:
        path.pop()

    def text(piece: str) -> None:
        path[-1].pieces.append(piece)

    # Driven directly, because only expat's own handler can refuse a DTD before it takes effect.
    parser = expat.ParserCreate(namespace_separator=" ")
    parser.buffer_text = True
    parser.StartDoctypeDeclHandler = refuse
    parser.StartElementHandler = start
    parser.EndElementHandler = end
    parser.CharacterDataHandler = text
    try:
        parser.Parse(data, True)  # noqa: FBT003  -- expat takes it by position
    except expat.ExpatError as exc:
        raise FormatError(f"{name} is not well-formed XML ({exc})") from None
    return root


def _placemark(placemark: _Element, where: str) -> Draft:
    properties = _properties(placemark)
    id_ = placemark.attributes.get("id")
    found = [child for child in placemark.children if child.tag in _GEOMETRIES]
    geometry: object = None
    error: ShapeError | None = None
    try:
        geometry = _geometry(found[0], where) if found else None
    except ShapeError as exc:
        error = exc
    except RecursionError:
        error = ShapeError("nested too deeply", where)
    return draft(geometry, properties, id_=id_, where=where, error=error)


def _properties(placemark: _Element) -> dict[str, object]:
    properties: dict[str, object] = {}
    for tag in ("name", "description"):
        element = placemark.child(tag)
        if element is not None and element.text:
            properties[tag] = element.text
    extended = placemark.child("ExtendedData")
    if extended is not None:
        for data in extended.all("Data"):
            value = data.child("value")
            properties[data.attributes.get("name", "")] = value.text if value is not None else ""
        for data in extended.all("SimpleData"):
            properties[data.attributes.get("name", "")] = data.text
    return properties


def _geometry(element: _Element, where: str) -> dict[str, object]:
    match element.tag:
        case "MultiGeometry":
            parts = [_geometry(c, where) for c in element.children if c.tag in _GEOMETRIES]
            return {"type": "GeometryCollection", "geometries": parts}
        case "Polygon":
            borders = [*element.all("outerBoundaryIs"), *element.all("innerBoundaryIs")]
            rings = [_places(ring, where) for b in borders for ring in b.all("LinearRing")]
            return {"type": "Polygon", "coordinates": rings}
        case "LinearRing":
            return {"type": "Polygon", "coordinates": [_places(element, where)]}
        case "LineString":
            return {"type": "LineString", "coordinates": _places(element, where)}
        case _:
            places = _places(element, where)
            return {"type": "Point", "coordinates": places[0] if places else None}


def _places(element: _Element, where: str) -> list[list[float]]:
    coordinates = element.child("coordinates")
    text = "" if coordinates is None else coordinates.text
    try:
        # Heights are the rule in KML and mean nothing for a fence.
        return [[float(part) for part in place.split(",")[:2]] for place in text.split()]
    except ValueError:
        raise ShapeError(f"coordinates that are no numbers: {text[:40]!r}", where) from None
