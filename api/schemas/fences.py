"""What the api takes about fences: query parameters, and bodies, which msgspec decodes.

Pydantic takes twenty times as long for ten thousand fences; the bodies' JSON schemas for the
OpenAPI document come from the same types.
"""

from typing import Annotated, Any, Literal, TypeVar

import msgspec
from msgspec import Meta
from pydantic import Field

from api.conventions.answers import Many
from api.conventions.problems import Problem
from api.schemas.parameters import Box, Paged, Query, Selected, Text, Time
from tracking.fence_bulk import BulkItem
from tracking.fence_input import FenceInput, Labels, Name, explained

MAX_FENCES = 10_000
MAX_DEVICES = 1_000
MAX_POINTS = 10_000

T = TypeVar("T")


class FenceQuery(Paged):
    """Which fences."""

    id: Text | None = Field(None, description="Prefix of the id")
    name: Text | None = Field(None, description="Part of the name, in any case")
    layer: Text | None = None
    bbox: Box | None = Field(None, description="minlon,minlat,maxlon,maxlat their bounds meet")
    deleted: bool = Field(default=False, description="Those that were deleted instead")


class VersionQuery(Selected):
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


class BulkCounts(msgspec.Struct, frozen=True):
    """How many became what; `repaired` counts those that came with notes."""

    created: int
    changed: int
    unchanged: int
    refused: int
    repaired: int


class FencesSaved(Many[BulkItem], frozen=True):
    """What became of each of many fences; `revision` counts the edits of all fences."""

    counts: BulkCounts
    revision: int


class FenceBrief(msgspec.Struct, frozen=True):
    """Which fence, in which version."""

    id: str
    name: str
    version: int
    layer: str | None


class Located(msgspec.Struct, frozen=True):
    """A place, and the fences it is in."""

    lon: float
    lat: float
    fences: list[FenceBrief]


class LocatedAll(msgspec.Struct, frozen=True):
    """The places in the order they were asked for; `revision` counts the edits of all fences."""

    items: list[Located]
    revision: int


class DeviceInput(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What to change of a device; what is left out stays."""

    groups: Labels | None = None
    tags: Labels | None = None
    attrs: dict[str, Any] | None = None


class NamedDeviceInput(DeviceInput, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Which device, and what to change of it."""

    name: Name


class DevicesInput(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Changes of many devices."""

    devices: Annotated[list[NamedDeviceInput], Meta(max_length=MAX_DEVICES)]


class BulkSchema(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`BulkInput` as it is described: each fence is decoded alone, so that each fault is told."""

    fences: Annotated[list[FenceInput], Meta(max_length=MAX_FENCES)]


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
