"""What every format gives: drafts of fences, and what a file's properties say about one."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from geofence.faults import ShapeError

# Members of a fence that properties may give, and the type that tells them from others' data.
_OPTIONS: dict[str, type | tuple[type, ...]] = {
    "layer": str,
    "buffers": dict,
    "dwell_s": float,
    "speed_limit_mps": float,
    "schedule": dict,
    "applies_to": dict,
    "normal": str,
    "crossed": bool,
    "effective_from": str,
}
_BUFFERS = {"enter_buffer_m": "enter_m", "exit_buffer_m": "exit_m", "min_fixes": "min_fixes"}
_SIZES = ("radius_m", "width_m")
_NAMES = ("name", "Name", "NAME", "title")
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")
_PARTS = {
    "Polygon": "MultiPolygon",
    "MultiPolygon": "MultiPolygon",
    "LineString": "MultiLineString",
    "MultiLineString": "MultiLineString",
}


class FormatError(ValueError):
    """A file that as a whole cannot be read as fences; the sentence says why."""


@dataclass(frozen=True, slots=True)
class Draft:
    """One fence of a file, its shape not checked yet: `shape_of` takes the `definition`.

    `options` are members of a fence, `attrs` all other properties; `where` is the place in the
    file. A feature that holds no shape at all has an `error` and no definition; others are good
    without it.
    """

    id: str | None
    name: str
    where: str
    definition: dict[str, object] | None = None
    options: dict[str, object] = field(default_factory=dict)
    attrs: dict[str, object] = field(default_factory=dict)
    error: ShapeError | None = None


def draft(
    geometry: object,
    properties: Mapping[str, object],
    *,
    id_: object = None,
    where: str,
    error: ShapeError | None = None,
) -> Draft:
    """The fence that a geometry like GeoJSON's, and properties, mean; or why there is none.

    `id` and `name` are those of the properties where the feature has none; a `radius_m` makes a
    Point a circle, a `width_m` a line a corridor.
    """
    rest = dict(properties)
    own_id = rest.pop("id", None)
    fence_id = _label(own_id if id_ is None else id_)
    name = next((text for key in _NAMES if (text := _label(rest.get(key)))), None)
    if _label(rest.get("name")) == name:
        rest.pop("name", None)
    sizes = {key: _numeric(rest.pop(key)) for key in _SIZES if key in rest}
    options = _options(rest)
    definition: dict[str, object] | None = None
    try:
        definition = {**sizes, **_geometry(geometry, where)} if error is None else None
    except ShapeError as exc:
        error = exc
    except RecursionError:
        error = ShapeError("nested too deeply", where)
    return Draft(fence_id, name or fence_id or where, where, definition, options, rest, error)


def text_of(data: bytes, name: str) -> str:
    """A file's text.

    Raises:
        FormatError: it is not UTF-8.
    """
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as exc:
        raise FormatError(f"{name} is not text in UTF-8, at byte {exc.start}") from None


def _geometry(geometry: object, where: str) -> dict[str, object]:
    if not isinstance(geometry, Mapping):
        raise ShapeError("it has no geometry" if geometry is None else "not a geometry", where)
    if geometry.get("type") == "GeometryCollection":
        return _collected(geometry.get("geometries"), where)
    return dict(geometry)


def _collected(geometries: object, where: str) -> dict[str, object]:
    """Several geometries as one, if all are polygons or all are lines."""
    parts = geometries if isinstance(geometries, list) else []
    kinds: set[str] = set()
    coordinates: list[object] = []
    for part in parts:
        single = _geometry(part, where)
        kind = str(single.get("type"))
        kinds.add(_PARTS.get(kind, kind))
        given = single.get("coordinates")
        coordinates += given if kind in _PARTS.values() and isinstance(given, list) else [given]
    if len(kinds) != 1 or not kinds <= set(_PARTS.values()):
        found = ", ".join(sorted(kinds)) or "nothing"
        raise ShapeError(f"a fence is of polygons or of lines, this is of {found}", where)
    return {"type": kinds.pop(), "coordinates": coordinates}


def _options(rest: dict[str, object]) -> dict[str, object]:
    """The members of a fence among properties, taken out of them."""
    options: dict[str, object] = {}
    for key, kind in _OPTIONS.items():
        if key not in rest:
            continue
        value = _numeric(rest[key]) if kind is float else _boolean(rest[key], kind)
        if isinstance(value, kind) and not (key == "normal" and value not in {"inside", "outside"}):
            options[key] = value
            del rest[key]
    buffers = {ours: _numeric(rest.pop(key)) for key, ours in _BUFFERS.items() if key in rest}
    fixes = buffers.get("min_fixes")
    if isinstance(fixes, float) and fixes.is_integer():
        buffers["min_fixes"] = int(fixes)
    if buffers:
        nested = options.get("buffers")
        options["buffers"] = {**(nested if isinstance(nested, dict) else {}), **buffers}
    return options


def _numeric(value: object) -> object:
    """A number where text spells one, as the values of XML do."""
    if isinstance(value, str) and _NUMBER.fullmatch(value.strip()):
        return float(value)
    return float(value) if isinstance(value, int) and not isinstance(value, bool) else value


def _boolean(value: object, kind: object) -> object:
    return {"true": True, "false": False}.get(str(value).lower()) if kind is bool else value


def _label(value: object) -> str | None:
    """A name or id: text, or a whole number as others' files have it."""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return None
    if isinstance(value, float):
        return f"{value:.17g}"
    return str(value).strip() or None
