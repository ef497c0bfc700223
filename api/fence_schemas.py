"""What the api takes about fences: query parameters, and bodies, which msgspec decodes.

Pydantic takes twenty times as long for ten thousand fences; the bodies' JSON schemas for the
OpenAPI document come from the same types.
"""

from typing import Annotated, Any, Literal, TypeVar

import msgspec
from msgspec import Meta
from pydantic import Field

from api.problems import Problem
from api.schemas import Paged, Query, Text, Time
from tracking.fence_input import FenceInput, Labels, explained

MAX_FENCES = 10_000
MAX_POINTS = 10_000

T = TypeVar("T")


class FenceQuery(Paged):
    """Which fences."""

    id: Text | None = Field(None, description="Prefix of the id")
    name: Text | None = Field(None, description="Part of the name, in any case")
    layer: Text | None = None
    bbox: str | None = Field(None, description="minlon,minlat,maxlon,maxlat their bounds meet")
    deleted: bool = Field(default=False, description="Those that were deleted instead")


class VersionQuery(Query):
    """Which version of a fence."""

    version: int | None = Field(None, ge=1, le=2**31 - 1)


class BulkQuery(Query):
    """How to save many fences."""

    partial: bool = Field(default=False, description="Save the good ones if some are refused")


class ImportQuery(BulkQuery):
    """How to save the fences of a file."""

    layer: Text | None = Field(None, description="The layer of all")
    effective_from: Time | None = Field(
        None, description="Since when those hold that do not say; without it from now on"
    )
    format: Literal["geojson", "topojson", "kml", "kmz", "wkt"] | None = Field(
        None, description="Else told by the content"
    )
    prefix: str = Field(
        "",
        pattern="^([A-Za-z0-9][A-Za-z0-9._:-]{0,63})?$",
        description="Put in front of every id",
    )
    dry_run: bool = Field(default=False, description="Only say what would be saved")


class BulkInput(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Many fences at once."""

    fences: Annotated[list[msgspec.Raw], Meta(max_length=MAX_FENCES)]


Degrees = Annotated[float, Meta(ge=-180, le=180)]
Latitude = Annotated[float, Meta(ge=-90, le=90)]


class LocateInput(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Places, as lon, lat."""

    points: Annotated[list[tuple[Degrees, Latitude]], Meta(max_length=MAX_POINTS)]


class DeviceInput(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What to change of a device; what is left out stays."""

    groups: Labels | None = None
    tags: Labels | None = None
    attrs: dict[str, Any] | None = None


class _BulkSchema(msgspec.Struct):
    fences: list[FenceInput]


def decoded(raw: bytes, kind: type[T]) -> T:
    """A request's body.

    Raises:
        Problem: 422, naming the member at fault.
    """
    try:
        return msgspec.json.decode(raw, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as exc:
        fault = explained(exc)
        raise Problem(422, str(fault), field=fault.field) from None


# The `openapi_extra` of a route that takes a file.
FILE_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            media_type: {"schema": {"type": "string", "format": "binary"}}
            for media_type in (
                "application/geo+json",
                "application/json",
                "application/vnd.google-earth.kml+xml",
                "application/vnd.google-earth.kmz",
                "text/plain",
            )
        },
    }
}


def body_of(kind: type) -> dict[str, Any]:
    """The `openapi_extra` of a route that takes this body."""
    shown = _BulkSchema if kind is BulkInput else kind
    (_,), components = msgspec.json.schema_components([shown])
    schema = _inlined({"$ref": f"#/$defs/{shown.__name__}"}, components)
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": schema}}}}


def _inlined(schema: Any, components: dict[str, Any]) -> Any:  # noqa: ANN401 -- any JSON
    """A schema without references, which FastAPI would not resolve."""
    if isinstance(schema, list):
        return [_inlined(part, components) for part in schema]
    if not isinstance(schema, dict):
        return schema
    if "$ref" in schema:
        return _inlined(components[schema["$ref"].rpartition("/")[2]], components)
    return {name: _inlined(part, components) for name, part in schema.items()}
