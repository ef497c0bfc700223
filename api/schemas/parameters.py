"""What the api takes: query parameters, each refused by name when wrong, unknown ones too."""

from datetime import datetime
from typing import Annotated, Literal

import msgspec
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints

from api.conventions.problems import Problem
from tracking.store.devices import Bbox, Sort

MAX_ITEMS = 1_000
MAX_POSITIONS = 10_000

# PostgreSQL refuses NUL in text; no name has control characters.
Text = Annotated[str, StringConstraints(min_length=1, max_length=256, pattern=r"^[^\x00-\x1f]+$")]


def _parse_time(value: object) -> datetime:
    text = str(value)
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise ValueError(
            f"{text!r} is not a time like 2026-03-08T06:30:00Z (write + as %2B)"
        ) from None
    if moment.tzinfo is None:
        raise ValueError(f"{text!r} has no time zone: add Z, or an offset with + as %2B")
    if not 1970 <= moment.year < 9999:
        raise ValueError("times reach from 1970 to 9998")
    return moment


Time = Annotated[
    datetime, BeforeValidator(_parse_time), Field(json_schema_extra={"format": "date-time"})
]


_FIELDS = r"^[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*(,[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*)*$"


QualityName = Literal[
    "ok",
    "invalid",
    "null_island",
    "future",
    "stale",
    "inaccurate",
    "duplicate",
    "impossible_speed",
    "static",
]

# minlon,minlat,maxlon,maxlat; `parse_bbox` says what is wrong with one that is none.
_NUMBER = r"-?[0-9]{1,3}(\.[0-9]+)?"
Box = Annotated[
    str,
    Field(json_schema_extra={"format": "bbox", "pattern": f"^{_NUMBER}(,{_NUMBER}){{3}}$"}),
]


class Query(BaseModel):
    """A set of query parameters that refuses unknown ones."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Selected(Query):
    """Something of which parts may be asked for."""

    fields: Annotated[str, StringConstraints(max_length=1_024, pattern=_FIELDS)] | None = Field(
        None, description="Only these members of each object, such as `name,position.lon`"
    )


class Paged(Selected):
    """A list in pages."""

    limit: int = Field(100, ge=1, le=MAX_ITEMS, description="Items per page")
    cursor: str | None = Field(
        None, max_length=1_024, description="`next` of the page before; opaque"
    )


class DeviceQuery(Paged):
    """Which devices."""

    online: bool | None = Field(None, description="Said so by its status channel or the monitor")
    motion: Literal["unknown", "stopped", "moving"] | None = None
    name: Text | None = Field(None, description="Prefix of the name")
    group: Text | None = Field(None, description="Those in this group")
    tag: Text | None = Field(None, description="Those with this tag")
    sort: Sort = Field("name", description="By what; `-` for the other way round")
    bbox: Box | None = Field(None, description="minlon,minlat,maxlon,maxlat of the latest fix")


class LatestQuery(Selected):
    """Which latest positions."""

    limit: int = Field(MAX_ITEMS, ge=1, le=MAX_POSITIONS)
    cursor: str | None = Field(None, max_length=1_024)
    name: Text | None = Field(None, description="Prefix of the device's name")
    device: list[Text] | None = Field(
        None, max_length=MAX_ITEMS, description="Of this device; repeat for several"
    )
    group: Text | None = Field(None, description="Of the devices in this group")
    tag: Text | None = Field(None, description="Of the devices with this tag")
    bbox: Box | None = Field(None, description="minlon,minlat,maxlon,maxlat")
    format: Literal["json", "geojson"] | None = None


class HistoryQuery(Selected):
    """Which part of a device's history."""

    start: Time | None = Field(None, alias="from", description="First time, included")
    end: Time | None = Field(None, alias="to", description="Last time, excluded")
    quality: QualityName | None = Field(
        None, description="Only fixes of this quality; without it, all"
    )
    limit: int = Field(MAX_ITEMS, ge=1, le=MAX_POSITIONS, description="Of a page")
    cursor: str | None = Field(None, max_length=1_024)
    format: Literal["json", "geojson", "ndjson", "csv", "parquet", "gpx", "kml"] | None = Field(
        None, description="`json` and `geojson` come in pages, the others whole"
    )


class EventList(Paged):
    """Events in one order or the other."""

    order: Literal["asc", "desc"] = Field("asc", description="By the cursor of the events")


class EventQuery(EventList):
    """Which events."""

    type: list[Text] | None = Field(None, max_length=50, description="Repeat for several")
    device: Text | None = Field(None, description="Events of this device")
    fence: Text | None = Field(None, description="Events this fence raised")
    start: Time | None = Field(None, alias="from", description="First time, included")
    end: Time | None = Field(None, alias="to", description="Last time, excluded")
    status: Literal["active", "retracted"] | None = None
    since: int | None = Field(
        None, ge=0, le=2**63 - 1, description="Only events behind this `cursor` of an event"
    )


class FeedQuery(Query):
    """What a stream is limited to; all given must fit."""

    device: list[Text] | None = Field(
        None, max_length=MAX_ITEMS, description="Of this device; repeat for several"
    )
    group: Text | None = Field(None, description="Of the devices in this group")
    tag: Text | None = Field(None, description="Of the devices with this tag")
    bbox: str | None = Field(None, description="minlon,minlat,maxlon,maxlat")
    type: list[Text] | None = Field(
        None, max_length=100, description="Events of this type or family (`trip.*`); repeatable"
    )
    fence: list[Text] | None = Field(
        None, max_length=MAX_ITEMS, description="Events of this fence; repeat for several"
    )
    shipment: list[Text] | None = Field(
        None, max_length=MAX_ITEMS, description="This shipment and what carries it; repeatable"
    )
    positions: bool = Field(True, description="Without, only events")  # noqa: FBT003 -- pydantic
    since: int | None = Field(
        None, ge=0, le=2**63 - 1, description="Events behind this cursor; without it, from now on"
    )


class LedgerQuery(Paged):
    """Whose accounts."""

    device: Text | None = None


class DeadLetterQuery(Paged):
    """Which dead letters."""

    reason: Text | None = None
    device: Text | None = None


class AuditQuery(Paged):
    """Which lines of the audit log."""

    actor: Text | None = Field(None, description="Name of the user or key")
    noun: Text | None = Field(None, description="Such as `fences`")
    key: Text | None = Field(None, description="Which of them; with `noun`")
    action: Text | None = Field(None, description="`create`, `update`, `delete`, `export`, ...")
    start: Time | None = Field(None, alias="from", description="First time, included")
    end: Time | None = Field(None, alias="to", description="Last time, excluded")


class MeasurementQuery(Query):
    """Which part of what a device measured."""

    metric: list[Text] | None = Field(None, max_length=100, description="Repeat for several")
    start: Time | None = Field(None, alias="from", description="First time, included")
    end: Time | None = Field(None, alias="to", description="Last time, excluded")
    limit: int = Field(MAX_ITEMS, ge=1, le=MAX_POSITIONS, description="Of a page")
    cursor: str | None = Field(None, max_length=1_024)


class TripQuery(Paged):
    """Which trips."""

    device: Text | None = Field(None, description="Trips of this device")
    start: Time | None = Field(
        None, alias="from", description="Trips that reach to this time or beyond"
    )
    end: Time | None = Field(None, alias="to", description="Trips that began before this time")
    open: bool | None = Field(None, description="Whether the device is still on its way")


class BackfillQuery(Query):
    """How to take a history."""

    source: Literal["backfill"] = Field("backfill", description="What it is")
    alerts: bool = Field(default=False, description="Let rules judge the events it brings about")


class NoQuery(Query):
    """An endpoint without parameters."""


class Liveness(msgspec.Struct, frozen=True):
    """The process answers."""

    status: Literal["ok"] = "ok"


class Readiness(msgspec.Struct, frozen=True):
    """Whether requests can be served, and by part what is missing."""

    status: Literal["ok", "degraded", "unavailable"]
    checks: dict[str, str]


def parse_bbox(text: str | None) -> Bbox | None:
    """The box in a `bbox` parameter.

    Raises:
        Problem: 422, naming `bbox`.
    """
    if text is None:
        return None
    try:
        values = [float(part) for part in text.split(",")]
    except ValueError:
        values = []
    if len(values) != 4:
        raise Problem(422, "bbox: give minlon,minlat,maxlon,maxlat in degrees", field="bbox")
    try:
        return checked_bbox(values)
    except ValueError as exc:
        raise Problem(422, f"bbox: {exc}", field="bbox") from None


def checked_bbox(values: list[float]) -> Bbox:
    """Four numbers as a box; minlon above maxlon crosses the antimeridian.

    Raises:
        ValueError: a value is out of range or the latitudes are reversed.
    """
    box = Bbox(*values)
    # Written so that NaN fails too.
    if not all(-180 <= lon <= 180 for lon in (box.min_lon, box.max_lon)):
        raise ValueError("longitudes reach from -180 to 180, and come first")
    if not all(-90 <= lat <= 90 for lat in (box.min_lat, box.max_lat)):
        raise ValueError("latitudes reach from -90 to 90, and come second")
    if box.min_lat > box.max_lat:
        raise ValueError("minlat is above maxlat")
    return box


def check_range(start: datetime | None, end: datetime | None) -> None:
    """Refuse a range that ends before it starts.

    Raises:
        Problem: 422, naming `from`.
    """
    if start is not None and end is not None and start > end:
        raise Problem(422, "from: it is after `to`", field="from")
