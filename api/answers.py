"""How answers are written: JSON by msgspec, lists as pages, positions also as GeoJSON."""

from typing import Any, Literal

import msgspec
from fastapi import Request, Response

from tracking.feed import PositionUpdate

GEOJSON = "application/geo+json"

_encoder = msgspec.json.Encoder()
_PROPERTIES = tuple(name for name in PositionUpdate.__struct_fields__ if name not in {"lon", "lat"})


def answer(body: object, media_type: str = "application/json") -> Response:
    """Any value as JSON."""
    return Response(_encoder.encode(body), media_type=media_type)


def page(items: list[Any], next_cursor: str | None, **more: object) -> Response:
    """A list, with the cursor of the next page, None on the last."""
    return answer({"items": items, "next": next_cursor, **more})


def positions_page(
    request: Request,
    wanted: Literal["json", "geojson"] | None,
    positions: list[PositionUpdate],
    next_cursor: str | None,
) -> Response:
    """Positions in the format the query or the Accept header asks for; the query wins."""
    accepts = GEOJSON in request.headers.get("accept", "")
    if wanted == "geojson" or (wanted is None and accepts):
        features = [_feature(position) for position in positions]
        return answer(
            {"type": "FeatureCollection", "features": features, "next": next_cursor}, GEOJSON
        )
    return page(positions, next_cursor)


def _feature(position: PositionUpdate) -> dict[str, object]:
    coordinates = [position.lon, position.lat]
    if position.alt_m is not None:
        coordinates.append(position.alt_m)
    return {
        "type": "Feature",
        "geometry": {"type": "Point", "coordinates": coordinates},
        "properties": {name: getattr(position, name) for name in _PROPERTIES},
    }
