"""Well-known text: a geometry a line, as `WKT`, `id;WKT` or `id;name;WKT`, with or without SRID."""

import re
from collections.abc import Iterator

from geofence.faults import ShapeError
from geofence.formats.draft import Draft, draft, text_of

_SYSTEM = re.compile(r"SRID\s*=\s*(\d+)", re.IGNORECASE)
_GEOMETRY = re.compile(r"([A-Z]+?)\s*(?:ZM|Z|M)?\s*(\(.*\))", re.IGNORECASE)
_TYPES = {
    kind.upper(): kind
    for kind in ("Point", "LineString", "MultiLineString", "Polygon", "MultiPolygon")
}
_PLACE = re.compile(r"[^\s,()]+(?:\s+[^\s,()]+)*")


def read(data: bytes, *, name: str) -> Iterator[Draft]:
    """A draft for each line; empty ones, and those that begin with #, are passed over.

    Raises:
        FormatError: it is no text.
    """
    lines = text_of(data, name).splitlines()
    return (
        _draft(line.strip(), f"line {number}")
        for number, line in enumerate(lines, start=1)
        if line.strip() and not line.lstrip().startswith("#")
    )


def looks_like(start: bytes) -> bool:
    """Whether a file that begins so holds WKT."""
    lines = start.decode("utf-8", "replace").splitlines()
    first = next((line for line in lines if line.strip() and line.lstrip()[:1] != "#"), "")
    word = re.match(r"[A-Za-z]*", first.rpartition(";")[2].lstrip())
    kind = word[0].upper() if word else ""
    return kind in _TYPES or kind.removesuffix("M").removesuffix("Z") in _TYPES


def _draft(line: str, where: str) -> Draft:
    *before, text = (part.strip() for part in line.split(";"))
    system = _SYSTEM.fullmatch(before[-1]) if before else None
    if system:
        before.pop()
    properties: dict[str, object] = dict(zip(("id", "name"), before, strict=False))
    geometry: object = None
    error: ShapeError | None = None
    if len(before) > 2:
        error = ShapeError("more than an id, a name and WKT on the line", where)
    elif system and system[1] != "4326":
        error = ShapeError(f"SRID {system[1]}; give WGS 84 (4326), lon, lat", where)
    else:
        try:
            geometry = _geometry(text, where)
        except ShapeError as exc:
            error = exc
    return draft(geometry, properties, where=where, error=error)


def _geometry(text: str, where: str) -> dict[str, object]:
    found = _GEOMETRY.fullmatch(text)
    kind = _TYPES.get(found[1].upper()) if found else None
    if found is None or kind is None:
        known = ", ".join(_TYPES)
        raise ShapeError(f"{text[:40]!r} is not WKT of a {known}", where)
    coordinates = _nested(found[2], where)
    return {"type": kind, "coordinates": coordinates[0] if kind == "Point" else coordinates}


def _nested(text: str, where: str) -> list[object]:
    """Brackets as lists, and places of numbers as lists of them."""
    stack: list[list[object]] = [[]]
    end = 0
    for token in re.finditer(r"[(),]|" + _PLACE.pattern, text):
        if text[end : token.start()].strip():
            break
        end = token.end()
        match token[0]:
            case "(":
                stack.append([])
            case ")":
                inner = stack.pop()
                if not stack:
                    break
                stack[-1].append(inner)
            case ",":
                pass
            case place:
                stack[-1].append(_place(place, where))
    if len(stack) != 1 or len(stack[0]) != 1 or not isinstance(stack[0][0], list):
        raise ShapeError("brackets that do not match", where)
    return stack[0][0]


def _place(text: str, where: str) -> list[float]:
    try:
        return [float(part) for part in text.split()]
    except ValueError:
        raise ShapeError(f"{text[:40]!r} are no coordinates", where) from None
