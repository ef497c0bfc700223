"""How answers are written: JSON by msgspec, lists as pages, positions also as GeoJSON."""

from collections.abc import Callable, Sequence
from typing import Annotated, Any, Generic, Literal, TypeVar

import msgspec
from fastapi import Request, Response
from msgspec import Meta

from tracking import raw
from tracking.feed import PositionUpdate
from tracking.store.ledger import LedgerRow, LedgerTotals
from tracking.times import Moment

JSON = "application/json"
GEOJSON = "application/geo+json"
CLOUDEVENT = "application/cloudevents+json"
# What is told whole, of which parts may be asked for, and which is tagged and compressed.
JSON_TYPES = frozenset({JSON, GEOJSON, CLOUDEVENT})

T = TypeVar("T")

_encoder = msgspec.json.Encoder()


class Page(msgspec.Struct, Generic[T], frozen=True):
    """A list: ask again with `cursor` set to `next` until it is null."""

    items: list[T]
    next: str | None


class Refusal(msgspec.Struct, frozen=True, omit_defaults=True):
    """One of many that could not be had or done, and why."""

    id: str | None
    detail: str
    field: str | None = None


class Many(msgspec.Struct, Generic[T], frozen=True):
    """What came of a request about many: those it was done to, and those it was not."""

    items: list[T]
    refused: list[Refusal]


class Point(msgspec.Struct, frozen=True):
    """A place, as lon, lat and, where it is known, height."""

    coordinates: Annotated[list[float], Meta(min_length=2, max_length=3)]
    type: Literal["Point"] = "Point"


class PositionProperties(msgspec.Struct, frozen=True):
    """What a position says besides its place."""

    device: str
    fix_time: Moment
    received_at: Moment
    alt_m: float | None
    speed_mps: float | None
    course_deg: float | None
    accuracy_m: float | None
    battery: float | None
    quality: str
    h3: str
    attrs: raw.ObjectOrNull


_PROPERTIES = PositionProperties.__struct_fields__


class PositionFeature(msgspec.Struct, frozen=True):
    """A position as GeoJSON."""

    geometry: Point
    properties: PositionProperties
    type: Literal["Feature"] = "Feature"


class PositionCollection(msgspec.Struct, frozen=True):
    """A page of positions as GeoJSON."""

    features: list[PositionFeature]
    next: str | None
    type: Literal["FeatureCollection"] = "FeatureCollection"


class LedgerPage(Page[LedgerRow], frozen=True):
    """Accounts, and the sum of all."""

    totals: LedgerTotals


def answer(body: object, media_type: str = JSON) -> Response:
    """Any value as JSON."""
    return Response(_encoder.encode(body), media_type=media_type)


def paged(
    found: Sequence[T],
    limit: int,
    cursor: Callable[[T], str],
    told: Callable[[T], object] | None = None,
) -> Response:
    """A page out of what a query for one more than `limit` found; `told` is how each is shown."""
    items = found[:limit]
    more = cursor(items[-1]) if len(found) > limit else None
    return page([told(item) for item in items] if told else list(items), more)


def page(items: list[Any], next_cursor: str | None, **more: object) -> Response:
    """A list, with the cursor of the next page, None on the last."""
    return _linked(answer({"items": items, "next": next_cursor, **more}), next_cursor)


def _linked(response: Response, next_cursor: str | None) -> Response:
    """The same with a link to the next page, which `api.conventions.middleware` completes."""
    if next_cursor is not None:
        response.headers["Link"] = f'<?cursor={next_cursor}>; rel="next"'
    return response


def positions_page(
    request: Request,
    wanted: Literal["json", "geojson"] | None,
    positions: list[PositionUpdate],
    next_cursor: str | None,
) -> Response:
    """Positions in the format the query or the Accept header asks for; the query wins."""
    accepts = GEOJSON in request.headers.get("accept", "")
    if wanted == "geojson" or (wanted is None and accepts):
        features = [feature(position) for position in positions]
        return _linked(answer(PositionCollection(features, next_cursor), GEOJSON), next_cursor)
    return page(positions, next_cursor)


def feature(position: PositionUpdate) -> PositionFeature:
    """A position as GeoJSON has it."""
    coordinates = [position.lon, position.lat]
    if position.alt_m is not None:
        coordinates.append(position.alt_m)
    properties = PositionProperties(*(getattr(position, name) for name in _PROPERTIES))
    return PositionFeature(Point(coordinates), properties)
